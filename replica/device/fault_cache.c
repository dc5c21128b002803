/* SPDX-License-Identifier: Apache-2.0
 *
 * The volatile cache is a list of writes in order. A flush writes them to the inner device, a write with FUA
 * those it overlaps, one after another (`jobs`): two of them under way could overtake each other.
 */
#include "device/fault_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"

static void copy_into(const struct rfs_io *io, uint64_t at, const uint8_t *data, uint64_t length)
{
    uint64_t skip = at - io->offset;

    for (int i = 0; i < io->niov && length; i++) {
        uint64_t room = io->iov[i].iov_len, n;

        if (skip >= room) {
            skip -= room;
            continue;
        }
        n = room - skip < length ? room - skip : length;
        if (data)
            memcpy((uint8_t *)io->iov[i].iov_base + skip, data, n);
        else
            memset((uint8_t *)io->iov[i].iov_base + skip, 0, n);
        data = data ? data + n : NULL;
        length -= n;
        skip = 0;
    }
}

static bool is_seen_by(const struct entry *e, const struct request *r)
{
    return (!e->dropped || e->dropped > r->number) &&
           rfs_fault_overlaps(e->offset, e->length, r->io.offset, r->io.length);
}

void rfs_fault_cache_overlay(struct fault *f, const struct request *r)
{
    struct entry *e;

    DL_FOREACH (f->entries, e) {
        uint64_t from = e->offset > r->io.offset ? e->offset : r->io.offset;
        uint64_t to = e->offset + e->length, io_end = r->io.offset + r->io.length;

        if (!is_seen_by(e, r))
            continue;
        to = to < io_end ? to : io_end;
        copy_into(&r->io, from, e->data ? e->data + (from - e->offset) : NULL, to - from);
    }
}

/* What is cached is allocated, whatever the medium says. */
void rfs_fault_cache_clip(struct fault *f, struct request *r)
{
    struct entry *e;

    DL_FOREACH (f->entries, e) {
        if (!r->io.extent.deallocated || !is_seen_by(e, r))
            continue;
        if (e->offset > r->io.offset) {
            if (e->offset - r->io.offset < r->io.extent.length)
                r->io.extent.length = e->offset - r->io.offset;
            continue;
        }
        r->io.extent.deallocated = false;
        if (e->offset + e->length - r->io.offset < r->io.extent.length)
            r->io.extent.length = e->offset + e->length - r->io.offset;
    }
}

static void free_entry(struct fault *f, struct entry *e)
{
    DL_DELETE(f->entries, e);
    free(e->data);
    free(e);
}

void rfs_fault_cache_clear(struct fault *f)
{
    while (f->entries)
        free_entry(f, f->entries);
}

static void add_entry(struct fault *f, const struct request *r)
{
    struct entry *e = rfs_xcalloc(1, sizeof(*e));
    uint64_t done = 0;

    e->number = r->number;
    e->order = ++f->writes;
    e->offset = r->io.offset;
    e->length = r->io.length;
    DL_APPEND(f->entries, e);
    if (r->io.op == RFS_IO_WRITE_ZEROES)
        return;
    e->data = rfs_xmalloc(e->length);
    for (int i = 0; i < r->io.niov; i++) {
        if (r->io.iov[i].iov_len)
            memcpy(e->data + done, r->io.iov[i].iov_base, r->io.iov[i].iov_len);
        done += r->io.iov[i].iov_len;
    }
}

static void stage_done(struct rfs_io *io);

static void stage(struct fault *f, struct entry *e, uint64_t skip, uint64_t length, bool fua)
{
    f->stage_vec = (struct iovec){e->data ? e->data + skip : NULL, length};
    f->stage = (struct rfs_io){.op = e->data ? RFS_IO_WRITE : RFS_IO_WRITE_ZEROES,
                               .fua = fua,
                               .offset = e->offset + skip,
                               .length = length,
                               .iov = &f->stage_vec,
                               .niov = e->data ? 1 : 0,
                               .done = stage_done};
    f->staging = e;
    f->stage_busy = true;
    rfs_device_submit(f->inner, &f->stage);
}

/* A failure belongs to the job that had it written. A write that failed is not to be tried by later flushes.
 */
static void stage_done(struct rfs_io *io)
{
    struct fault *f = RFS_CONTAINER_OF(io, struct fault, stage);
    struct request *job = f->jobs;
    struct entry *e = f->staging;

    f->stage_busy = false;
    f->staging = NULL;
    rfs_fault_turn_later(f);
    if (f->cut)
        return;
    if (io->status == RFS_IO_OK || f->dev.closing)
        e->dropped = ++f->clock;
    if (io->status == RFS_IO_OK || !job || job->lost)
        return;
    if (e->number == job->number)
        free_entry(f, e);
    rfs_fault_finish_with(job, io);
}

static struct entry *next_to_stage(struct fault *f, const struct request *job)
{
    struct entry *e;

    DL_FOREACH (f->entries, e)
        if (!e->dropped && e->number <= job->number &&
            (job->io.op == RFS_IO_FLUSH ||
             rfs_fault_overlaps(e->offset, e->length, job->io.offset, job->io.length)))
            return e;
    return NULL;
}

void rfs_fault_cache_run(struct fault *f)
{
    struct request *job = f->jobs;
    struct entry *e;

    if (!job || f->stage_busy || job->at_inner || job->lost)
        return;
    e = next_to_stage(f, job);
    if (e) {
        stage(f, e, 0, e->length, job->io.op != RFS_IO_FLUSH && job->io.op != RFS_IO_UNMAP);
    } else if (job->io.op == RFS_IO_FLUSH || job->io.op == RFS_IO_UNMAP) {
        rfs_fault_inner_submit(job);
    } else {
        rfs_io_fail(&job->io, RFS_IO_OK, NULL);
        rfs_fault_finish_with(job, &job->io);
    }
}

void rfs_fault_cache_job(struct fault *f, struct request *r)
{
    DL_APPEND2(f->jobs, r, job_prev, job_next);
    rfs_fault_turn_later(f);
}

void rfs_fault_cache_submit(struct request *r)
{
    struct fault *f = r->fault;
    bool is_write = r->io.op == RFS_IO_WRITE || r->io.op == RFS_IO_WRITE_ZEROES;
    struct rfs_io *outer = r->outer;

    if (is_write)
        add_entry(f, r);
    if (r->io.op == RFS_IO_READ || r->io.op == RFS_IO_EXTENT_STATUS) {
        rfs_fault_inner_submit(r);
    } else if (!is_write || r->io.fua || !f->cache_on) {
        rfs_fault_cache_job(f, r);
    } else {
        r->outer = NULL;
        rfs_fault_finish(r);
        rfs_io_complete_later(&f->dev, outer, RFS_IO_OK, NULL);
    }
}

void rfs_fault_cache_forget(struct fault *f)
{
    uint64_t oldest = UINT64_MAX;
    struct request *r;
    struct entry *e, *next;

    DL_FOREACH (f->all, r)
        if (r->at_inner && r->number < oldest)
            oldest = r->number;
    DL_FOREACH_SAFE (f->entries, e, next)
        if (e->dropped && e->dropped <= oldest && e != f->staging)
            free_entry(f, e);
}

/* --- the power cut --- */

/* splitmix64's finisher: any two writes and blocks are decided independently. */
static bool survives(const struct fault *f, const struct entry *e, uint64_t block)
{
    uint64_t x = f->seed + e->order * 0x9e3779b97f4a7c15ull + block * 0xd1b54a32d192ed03ull;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return f->seed && ((x ^ (x >> 31)) & 1);
}

/* The next run of surviving blocks of one write, from `*from` on; its length, 0 if there is none. */
static uint64_t next_run(const struct fault *f, const struct entry *e, uint64_t *from)
{
    uint64_t bs = f->dev.info.block_size, to;

    while (*from < e->length && !survives(f, e, (e->offset + *from) / bs))
        *from += bs;
    for (to = *from; to < e->length && survives(f, e, (e->offset + to) / bs);)
        to += bs;
    return to - *from;
}

/* One step; false: the inner device is writing, come back. */
bool rfs_fault_cache_cut(struct fault *f)
{
    struct entry *next;

    for (struct entry *e = f->cut_at; e; e = next) {
        uint64_t length = e->dropped ? 0 : next_run(f, e, &f->cut_done);

        f->cut_at = e;
        if (length) {
            stage(f, e, f->cut_done, length, false);
            f->cut_done += length;
            return false;
        }
        next = e->next;
        f->cut_done = 0;
    }
    rfs_fault_cache_clear(f);
    f->cut = false;
    return true;
}

/* Closing is not a power cut: what is cached gets to the medium. */
bool rfs_fault_cache_drain(struct fault *f)
{
    struct entry *e;

    DL_FOREACH (f->entries, e) {
        if (e->dropped)
            continue;
        stage(f, e, 0, e->length, false);
        return false;
    }
    return true;
}
