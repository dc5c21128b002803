/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of an iSCSI device: how each becomes a command, and what an answer means. Data goes straight
 * between the caller's vector and the socket.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"
#include "device/iscsi_priv.h"

#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))
#define BACKOFF_FIRST_MS  20
#define BACKOFF_MAX_MS    1000
#define ATTENTIONS        32 /* unit attentions one command puts up with */
#define ABORTS            5
#define NOPS_MISSED       3
#define STATUS_DESCRIPTOR 16 /* bytes of one LBA status descriptor */
#define STATUS_MAX        32 /* descriptors asked for */
/* In io->tries: what is under way is the flush behind a write without FUA. */
#define FLUSH_PHASE (1u << 31)
#define RETRIED     (1u << 30)
#define TRIES_MASK  0xffffu

/* libiscsi takes the caller's vector as it is. */
_Static_assert(sizeof(struct iovec) == sizeof(struct scsi_iovec), "vectors differ");
_Static_assert(offsetof(struct iovec, iov_len) == offsetof(struct scsi_iovec, iov_len), "vectors differ");

static void on_command(struct iscsi_context *ctx, int status, void *data, void *arg);

void rfs_iscsi_task_free(struct scsi_task *task)
{
    if (task)
        scsi_free_scsi_task(task);
}

/* --- commands --- */

static struct scsi_iovec *vector(const struct rfs_io *io)
{
    return (struct scsi_iovec *)(void *)io->iov;
}

static struct scsi_task *issue_read(struct rfs_iscsi *dev, struct rfs_io *io)
{
    uint32_t bs = dev->base.info.block_size;

    return iscsi_read16_iov_task(dev->session->ctx, dev->lun, io->offset / bs, (uint32_t)io->length, (int)bs,
                                 0, 0, 0, 0, 0, on_command, io, vector(io), io->niov);
}

static struct scsi_task *issue_write(struct rfs_iscsi *dev, struct rfs_io *io)
{
    uint32_t bs = dev->base.info.block_size;

    return iscsi_write16_iov_task(dev->session->ctx, dev->lun, io->offset / bs, NULL, (uint32_t)io->length,
                                  (int)bs, 0, 0, io->fua && dev->dpofua, 0, 0, on_command, io, vector(io),
                                  io->niov);
}

static struct scsi_task *issue_flush(struct rfs_iscsi *dev, struct rfs_io *io)
{
    if (dev->sync10)
        return iscsi_synchronizecache10_task(dev->session->ctx, dev->lun, 0, 0, 0, 0, on_command, io);
    return iscsi_synchronizecache16_task(dev->session->ctx, dev->lun, 0, 0, 0, 0, on_command, io);
}

static struct scsi_task *issue_unmap(struct rfs_iscsi *dev, struct rfs_io *io)
{
    uint32_t bs = dev->base.info.block_size;
    struct unmap_list list = {.lba = io->offset / bs, .num = (uint32_t)(io->length / bs)};

    return iscsi_unmap_task(dev->session->ctx, dev->lun, 0, 0, &list, 1, on_command, io);
}

static struct scsi_task *issue_zeroes(struct rfs_iscsi *dev, struct rfs_io *io)
{
    uint32_t bs = dev->base.info.block_size;

    return iscsi_writesame16_task(dev->session->ctx, dev->lun, io->offset / bs, dev->zeroes, bs,
                                  (uint32_t)(io->length / bs), 0, 0, 0, 0, on_command, io);
}

static struct scsi_task *issue_status(struct rfs_iscsi *dev, struct rfs_io *io)
{
    return iscsi_get_lba_status_task(dev->session->ctx, dev->lun, io->offset / dev->base.info.block_size,
                                     8 + STATUS_MAX * STATUS_DESCRIPTOR, on_command, io);
}

static struct scsi_task *(*const issuers[])(struct rfs_iscsi *, struct rfs_io *) = {
    [RFS_IO_READ] = issue_read,   [RFS_IO_WRITE] = issue_write,         [RFS_IO_FLUSH] = issue_flush,
    [RFS_IO_UNMAP] = issue_unmap, [RFS_IO_WRITE_ZEROES] = issue_zeroes, [RFS_IO_EXTENT_STATUS] = issue_status,
};

static const char *name_of(const struct rfs_iscsi *dev)
{
    return dev->config.name;
}

/* On the in-flight list already. False if libiscsi would not take it: then it is off the list. */
static void issue(struct rfs_iscsi *dev, struct rfs_io *io)
{
    struct scsi_task *task = io->tries & FLUSH_PHASE ? issue_flush(dev, io) : issuers[io->op](dev, io);

    dev->session->dirty = true;
    if (task)
        return;
    DL_DELETE(dev->inflight, io);
    rfs_io_complete_later(&dev->base, io, RFS_IO_ERROR, "element %s: %s: %s", name_of(dev),
                          rfs_io_op_name(io->op), rfs_iscsi_reason(dev->session->ctx));
}

static uint64_t limit_of(const struct rfs_iscsi *dev, enum rfs_io_op op)
{
    const struct rfs_device_info *info = &dev->base.info;

    switch (op) {
    case RFS_IO_READ:
    case RFS_IO_WRITE:
        return info->max_transfer;
    case RFS_IO_UNMAP:
        return info->max_unmap;
    case RFS_IO_WRITE_ZEROES:
        return info->max_write_zeroes;
    default:
        return UINT64_MAX;
    }
}

void rfs_iscsi_submit(struct rfs_device *base, struct rfs_io *io)
{
    struct rfs_iscsi *dev = RFS_CONTAINER_OF(base, struct rfs_iscsi, base);
    uint64_t limit = limit_of(dev, io->op);

    if (io->length > limit) {
        rfs_io_complete_later(base, io, RFS_IO_ERROR,
                              "element %s: %s of %" PRIu64 " bytes at %" PRIu64 ": at most %" PRIu64
                              " in one request",
                              name_of(dev), rfs_io_op_name(io->op), io->length, io->offset, limit);
        return;
    }
    if (!dev->session || dev->session->failed) { /* ended inside this very turn: the state follows */
        rfs_io_complete_later(base, io, RFS_IO_LOST, "element %s: the session has ended", name_of(dev));
        return;
    }
    if (io->op == RFS_IO_FLUSH && dev->no_sync) {
        rfs_io_complete_later(base, io, RFS_IO_OK, NULL);
        return;
    }
    io->priv = dev;
    io->tries = 0;
    io->started_ms = rfs_iscsi_now(dev);
    DL_APPEND(dev->inflight, io);
    issue(dev, io);
}

/* --- answers --- */

static void finish(struct rfs_iscsi *dev, struct rfs_io *io)
{
    DL_DELETE(dev->inflight, io);
    io->done(io);
}

static void finish_ok(struct rfs_iscsi *dev, struct rfs_io *io)
{
    io->status = RFS_IO_OK;
    io->error.rv = RFS_RV_OK;
    io->error.err = 0;
    io->error.msg[0] = '\0';
    finish(dev, io);
}

static void finish_failed(struct rfs_iscsi *dev, struct rfs_io *io, enum rfs_io_status status,
                          const char *why)
{
    if (io->op == RFS_IO_FLUSH)
        rfs_io_fail(io, status, "element %s: flush: %s", name_of(dev), why);
    else
        rfs_io_fail(io, status, "element %s: %s of %" PRIu64 " bytes at %" PRIu64 "%s: %s", name_of(dev),
                    rfs_io_op_name(io->op), io->length, io->offset,
                    io->tries & FLUSH_PHASE ? ", flush behind it" : "", why);
    finish(dev, io);
}

static void wait_a_little(struct rfs_iscsi *dev, struct rfs_io *io, const char *why)
{
    if (rfs_iscsi_now(dev) - io->started_ms >= dev->config.command_timeout_ms) {
        finish_failed(dev, io, RFS_IO_ERROR, why);
        return;
    }
    io->tries |= RETRIED;
    DL_DELETE(dev->inflight, io);
    DL_APPEND(dev->waiting, io);
    if (rfs_timer_active(dev->backoff))
        return;
    dev->backoff_ms = dev->backoff_ms ? dev->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (dev->backoff_ms > BACKOFF_MAX_MS)
        dev->backoff_ms = BACKOFF_MAX_MS;
    rfs_timer_start(dev->backoff, dev->backoff_ms);
}

void rfs_iscsi_backoff_over(void *arg)
{
    struct rfs_iscsi *dev = arg;
    struct rfs_io *io, *next, *list = dev->waiting;

    dev->waiting = NULL;
    DL_FOREACH_SAFE (list, io, next) {
        DL_DELETE(list, io);
        DL_APPEND(dev->inflight, io);
        issue(dev, io);
    }
}

/* Counts one more attempt; false when it was the last. */
static bool try_again(struct rfs_io *io, unsigned limit)
{
    if ((io->tries & TRIES_MASK) >= limit)
        return false;
    io->tries = (io->tries + 1) | RETRIED;
    return true;
}

/* A flush that the target does not know is none that is needed, if nothing is volatile. */
static bool flush_unsupported(struct rfs_iscsi *dev, struct rfs_io *io)
{
    if (!dev->sync10) {
        dev->sync10 = true;
        issue(dev, io);
        return true;
    }
    if (dev->base.info.volatile_cache)
        return false;
    dev->no_sync = true;
    finish_ok(dev, io);
    return true;
}

/* The command is not known, so it is not offered any more. */
static void forget_operation(struct rfs_iscsi *dev, enum rfs_io_op op)
{
    if (op == RFS_IO_UNMAP)
        dev->base.info.max_unmap = 0;
    else if (op == RFS_IO_WRITE_ZEROES)
        dev->base.info.max_write_zeroes = 0;
    else
        dev->base.info.extent_status = false;
}

static bool is_optional(enum rfs_io_op op)
{
    return op == RFS_IO_UNMAP || op == RFS_IO_WRITE_ZEROES || op == RFS_IO_EXTENT_STATUS;
}

static void refused(struct rfs_iscsi *dev, struct rfs_io *io, enum rfs_io_status status,
                    const struct rfs_iscsi_sense *sense)
{
    uint64_t block = sense->has_info ? sense->info : io->offset / dev->base.info.block_size;
    bool flushing = io->op == RFS_IO_FLUSH || io->tries & FLUSH_PHASE;
    char why[220];

    if (status == RFS_IO_UNSUPPORTED && flushing && flush_unsupported(dev, io))
        return;
    if (status == RFS_IO_UNSUPPORTED && is_optional(io->op) && !flushing)
        forget_operation(dev, io->op);
    else if (status == RFS_IO_UNSUPPORTED)
        status = RFS_IO_ERROR;
    /* tgt 1.0.85 says LBA OUT OF RANGE to legal requests near the end: no answer to WRITE SAME is trusted. */
    if (io->op == RFS_IO_WRITE_ZEROES && !flushing && (status == RFS_IO_ERROR || status == RFS_IO_RANGE))
        status = RFS_IO_UNSUPPORTED;
    if (flushing)
        snprintf(why, sizeof(why), "%s", sense->text);
    else
        snprintf(why, sizeof(why), "%s at block %" PRIu64, sense->text, block);
    finish_failed(dev, io, status, why);
}

static void reset_seen(struct rfs_iscsi *dev, struct rfs_io *io, const struct rfs_iscsi_sense *sense)
{
    if (!dev->base.info.volatile_cache && try_again(io, ATTENTIONS)) {
        issue(dev, io);
        return;
    }
    rfs_iscsi_fail(dev->session, RFS_DEVICE_OFFLINE, RFS_RV_FAILED,
                   "the LUN was reset (%s) and its write cache is volatile: connecting anew", sense->text);
}

static void check_condition(struct rfs_iscsi *dev, struct rfs_io *io, const struct scsi_task *task)
{
    struct rfs_iscsi_sense sense;
    enum rfs_io_status why;

    rfs_iscsi_sense(task, &sense);
    if (sense.deferred && sense.key > SCSI_SENSE_RECOVERED_ERROR) {
        dev->base.writes_lost++;
        rfs_iscsi_fail(dev->session, RFS_DEVICE_OFFLINE, RFS_RV_FAILED,
                       "a write that had been acknowledged has failed (%s): connecting anew", sense.text);
        return;
    }
    switch (rfs_iscsi_judge(&sense, &why)) {
    case RFS_ISCSI_DONE:
        finish_ok(dev, io);
        break;
    case RFS_ISCSI_CAPACITY:
        rfs_iscsi_reread_capacity(dev->session);
        /* fall through */
    case RFS_ISCSI_ATTENTION:
        if (try_again(io, ATTENTIONS))
            issue(dev, io);
        else
            refused(dev, io, RFS_IO_ERROR, &sense);
        break;
    case RFS_ISCSI_ABORTED:
        if (!try_again(io, ABORTS)) {
            refused(dev, io, RFS_IO_ERROR, &sense);
            break;
        }
        /* fall through */
    case RFS_ISCSI_WAIT:
        wait_a_little(dev, io, sense.text);
        break;
    case RFS_ISCSI_RESET:
        reset_seen(dev, io, &sense);
        break;
    case RFS_ISCSI_ANOTHER:
        rfs_iscsi_fail(dev->session, RFS_DEVICE_OFFLINE, RFS_RV_FAILED,
                       "the LUN has changed (%s): connecting anew", sense.text);
        break;
    case RFS_ISCSI_FAIL:
        refused(dev, io, why, &sense);
        break;
    }
}

/* Merges what belongs together of the descriptors; whatever makes no sense counts as mapped, which is always
 * safe. */
static void take_extent(struct rfs_iscsi *dev, struct rfs_io *io, struct scsi_task *task)
{
    struct scsi_get_lba_status *list = scsi_datain_unmarshall(task);
    uint32_t bs = dev->base.info.block_size;
    uint64_t first = io->offset / bs, last = first + io->length / bs, next = first;
    bool deallocated = false;

    for (uint32_t i = 0; list && i < list->num_descriptors && next < last; i++) {
        const struct scsi_lba_status_descriptor *d = &list->descriptors[i];
        bool gone = d->provisioning == SCSI_PROVISIONING_TYPE_DEALLOCATED ||
                    d->provisioning == SCSI_PROVISIONING_TYPE_ANCHORED; /* SBC-4: 3 mapped, 4 unknown */

        if (d->lba > next || d->lba + d->num_blocks <= next || (next > first && gone != deallocated))
            break;
        deallocated = gone;
        next = d->lba + d->num_blocks;
    }
    if (next == first || next > last)
        next = last;
    io->extent.length = (next - first) * bs;
    io->extent.deallocated = deallocated;
}

static void good(struct rfs_iscsi *dev, struct rfs_io *io, struct scsi_task *task)
{
    bool flushed = io->op == RFS_IO_FLUSH || io->tries & FLUSH_PHASE;
    bool data = io->op == RFS_IO_READ || io->op == RFS_IO_WRITE;

    dev->backoff_ms = 0;
    if (data && !flushed && task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL && task->residual) {
        finish_failed(dev, io, RFS_IO_ERROR,
                      "the target transferred another number of bytes than was asked for");
        return;
    }
    if (io->op == RFS_IO_EXTENT_STATUS)
        take_extent(dev, io, task);
    if (io->fua && !flushed && dev->base.info.volatile_cache && !dev->no_sync &&
        (io->op == RFS_IO_WRITE_ZEROES || (io->op == RFS_IO_WRITE && !dev->dpofua))) {
        io->tries |= FLUSH_PHASE;
        issue(dev, io);
        return;
    }
    finish_ok(dev, io);
}

static void answered(struct rfs_iscsi *dev, struct rfs_io *io, int status, struct scsi_task *task)
{
    char text[200];

    switch (status) {
    case SCSI_STATUS_GOOD:
    case SCSI_STATUS_CONDITION_MET:
        good(dev, io, task);
        break;
    case SCSI_STATUS_CHECK_CONDITION:
        check_condition(dev, io, task);
        break;
    case SCSI_STATUS_BUSY:
    case SCSI_STATUS_TASK_SET_FULL:
        wait_a_little(dev, io, rfs_iscsi_status_text(status, task, text, sizeof(text)));
        break;
    case SCSI_STATUS_TASK_ABORTED:
        if (try_again(io, ABORTS))
            wait_a_little(dev, io, rfs_iscsi_status_text(status, task, text, sizeof(text)));
        else
            finish_failed(dev, io, RFS_IO_ERROR, rfs_iscsi_status_text(status, task, text, sizeof(text)));
        break;
    case SCSI_STATUS_RESERVATION_CONFLICT:
        finish_failed(dev, io, RFS_IO_PROTECTED, rfs_iscsi_status_text(status, task, text, sizeof(text)));
        break;
    case SCSI_STATUS_CANCELLED: /* libiscsi gave the session up; the request ends when it is torn down */
        rfs_iscsi_lost(dev->session);
        break;
    default:
        finish_failed(dev, io, RFS_IO_ERROR, rfs_iscsi_status_text(status, task, text, sizeof(text)));
    }
}

static void on_command(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    struct rfs_io *io = arg;
    struct scsi_task *task = data;
    struct rfs_iscsi *dev = io->priv;

    /* Of a session that is ending nothing is believed any more: its requests have an unknown effect. */
    if (dev->session && dev->session->ctx == ctx && !dev->session->dead && !dev->session->failed)
        answered(dev, io, status, task);
    rfs_iscsi_task_free(task);
}

/* --- the end of a session --- */

/* A request that was issued again has waited for its turn before: twice the time. */
static bool is_overdue(const struct rfs_iscsi *dev, const struct rfs_io *io, uint64_t now)
{
    uint64_t limit = dev->config.command_timeout_ms;

    return now - io->started_ms >= (io->tries & RETRIED ? 2 * limit : limit);
}

static unsigned overdue_requests(const struct rfs_iscsi *dev, const struct rfs_io **first)
{
    uint64_t now = rfs_iscsi_now(dev);
    const struct rfs_io *io;
    unsigned n = 0;

    DL_FOREACH (dev->inflight, io) {
        if (is_overdue(dev, io, now) && !n++)
            *first = io;
    }
    return n;
}

static void abandon_list(struct rfs_iscsi *dev, struct rfs_io **list, const char *why)
{
    uint64_t now = rfs_iscsi_now(dev);
    struct rfs_io *io, *next;

    DL_FOREACH_SAFE (*list, io, next) {
        DL_DELETE(*list, io);
        rfs_io_complete_later(&dev->base, io,
                              !dev->base.closing && is_overdue(dev, io, now) ? RFS_IO_TIMEOUT : RFS_IO_LOST,
                              "%s of %" PRIu64 " bytes at %" PRIu64 ": %s", rfs_io_op_name(io->op),
                              io->length, io->offset, why);
    }
}

void rfs_iscsi_abandon(struct rfs_iscsi *dev, const char *why)
{
    rfs_timer_stop(dev->backoff);
    dev->backoff_ms = 0;
    abandon_list(dev, &dev->inflight, why);
    abandon_list(dev, &dev->waiting, why);
}

/* --- a changed capacity --- */

static void capacity_changed(struct rfs_iscsi *dev, uint64_t size, uint32_t block_size)
{
    if (block_size != dev->base.info.block_size || size < dev->base.info.size) {
        rfs_iscsi_fail(dev->session, RFS_DEVICE_OFFLINE, RFS_RV_FAILED,
                       "the LUN's capacity changed from %" PRIu64 " to %" PRIu64 " bytes: connecting anew",
                       dev->base.info.size, size);
        return;
    }
    if (size == dev->base.info.size)
        return;
    dev->base.info.size = dev->expect_size = size;
    if (!dev->base.closing && dev->base.events && dev->base.events->changed)
        dev->base.events->changed(dev->base.events_arg);
}

/* A unit attention is told once: one that comes here is heard of nowhere else. */
static void capacity_refused(struct rfs_iscsi_session *s, const struct scsi_task *task)
{
    struct rfs_iscsi_sense sense;
    enum rfs_io_status unused;
    enum rfs_iscsi_verdict verdict;

    rfs_iscsi_sense(task, &sense);
    verdict = rfs_iscsi_judge(&sense, &unused);
    s->dev->base.writes_lost += sense.deferred;
    if (sense.deferred || verdict == RFS_ISCSI_ANOTHER ||
        (verdict == RFS_ISCSI_RESET && s->dev->base.info.volatile_cache))
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED,
                       "the LUN was reset or has changed (%s): connecting anew", sense.text);
    else if (s->rereads++ < ATTENTIONS)
        rfs_iscsi_reread_capacity(s);
}

static void on_capacity(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    struct rfs_iscsi_session *s = arg;
    struct scsi_task *task = data;
    struct scsi_readcapacity16 *cap;

    (void)ctx;
    s->rereading = false;
    if (!s->dead && !s->failed && s->phase == RFS_ISCSI_READY) {
        cap = status ? NULL : scsi_datain_unmarshall(task);
        if (cap)
            capacity_changed(s->dev, (cap->returned_lba + 1) * cap->block_length, cap->block_length);
        else if (status == SCSI_STATUS_CHECK_CONDITION)
            capacity_refused(s, task);
    }
    rfs_iscsi_task_free(task);
}

void rfs_iscsi_reread_capacity(struct rfs_iscsi_session *s)
{
    if (s->rereading)
        return;
    s->dirty = true;
    s->rereading = iscsi_readcapacity16_task(s->ctx, s->dev->lun, on_capacity, s) != NULL;
}

/* --- keeping alive --- */

static void on_nop(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    (void)ctx, (void)status, (void)data, (void)arg; /* that bytes came in is all that counts */
}

static void keep_alive(struct rfs_iscsi_session *s)
{
    uint64_t every = s->dev->config.keepalive_ms, quiet = rfs_iscsi_now(s->dev) - s->heard_ms;

    if (quiet < every * (s->nops + 1))
        return;
    if (s->nops == NOPS_MISSED) {
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_TIMEOUT,
                       "%s has been silent for %" PRIu64 " ms and left %u keep-alive requests unanswered",
                       s->dev->addrs.portal[s->dev->addr], quiet, s->nops);
        return;
    }
    s->nops++;
    s->dirty = true;
    iscsi_nop_out_async(s->ctx, on_nop, NULL, 0, NULL);
}

void rfs_iscsi_tick(void *arg)
{
    struct rfs_iscsi *dev = arg;
    const struct rfs_io *io = NULL;
    unsigned late = overdue_requests(dev, &io);
    uint32_t shorter = dev->config.keepalive_ms < dev->config.command_timeout_ms
                           ? dev->config.keepalive_ms
                           : dev->config.command_timeout_ms;

    rfs_timer_start(dev->tick, shorter / 4 + 1);
    if (late)
        rfs_iscsi_fail(dev->session, RFS_DEVICE_OFFLINE, RFS_RV_TIMEOUT,
                       "%u commands were not answered within %u ms (the first: %s of %" PRIu64
                       " bytes at %" PRIu64 "): connecting anew",
                       late, dev->config.command_timeout_ms, rfs_io_op_name(io->op), io->length, io->offset);
    else
        keep_alive(dev->session);
}
