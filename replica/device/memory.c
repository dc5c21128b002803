/* SPDX-License-Identifier: Apache-2.0 */
#include "device/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* What unmapped blocks read as where zeros are not promised: callers that rely on zeros shall notice. */
#define UNMAPPED_BYTE 0xa5

struct memory {
    struct rfs_device dev;
    uint8_t *bytes, *own_bytes;
    uint8_t *allocated, *own_allocated; /* one byte a block; NULL: not tracked */
    struct rfs_io *head, **tail;        /* submitted, in order, linked by next */
    bool running;                       /* run_task is posted */
    struct rfs_task online_task, run_task, close_task;
};

static void copy_data(struct memory *m, const struct rfs_io *io)
{
    uint8_t *at = m->bytes + io->offset;

    for (int i = 0; i < io->niov; i++) {
        size_t n = io->iov[i].iov_len;

        if (!n)
            continue;
        if (io->op == RFS_IO_READ)
            memcpy(io->iov[i].iov_base, at, n);
        else
            memcpy(at, io->iov[i].iov_base, n);
        at += n;
    }
}

static void set_allocated(struct memory *m, const struct rfs_io *io, uint8_t value)
{
    uint32_t bs = m->dev.info.block_size;

    if (m->allocated)
        memset(m->allocated + io->offset / bs, value, io->length / bs);
}

static void do_read(struct memory *m, struct rfs_io *io)
{
    copy_data(m, io);
}

static void do_write(struct memory *m, struct rfs_io *io)
{
    copy_data(m, io);
    set_allocated(m, io, 1);
}

static void do_flush(struct memory *m, struct rfs_io *io)
{
    (void)m;
    (void)io;
}

static void do_unmap(struct memory *m, struct rfs_io *io)
{
    if (io->length > m->dev.info.max_unmap) {
        rfs_io_fail(io, RFS_IO_ERROR, "unmap of %llu bytes at %llu: more than the device takes",
                    (unsigned long long)io->length, (unsigned long long)io->offset);
        return;
    }
    memset(m->bytes + io->offset, m->dev.info.unmapped_reads_zero ? 0 : UNMAPPED_BYTE, io->length);
    set_allocated(m, io, 0);
}

static void do_write_zeroes(struct memory *m, struct rfs_io *io)
{
    if (io->length > m->dev.info.max_write_zeroes) {
        rfs_io_fail(io, RFS_IO_ERROR, "write zeroes of %llu bytes at %llu: more than the device takes",
                    (unsigned long long)io->length, (unsigned long long)io->offset);
        return;
    }
    memset(m->bytes + io->offset, 0, io->length);
    set_allocated(m, io, 1);
}

static void do_extent_status(struct memory *m, struct rfs_io *io)
{
    uint32_t bs = m->dev.info.block_size;
    uint64_t first = io->offset / bs, end = (io->offset + io->length) / bs, i = first + 1;

    while (i < end && !m->allocated[i] == !m->allocated[first])
        i++;
    io->extent.length = (i - first) * bs;
    io->extent.deallocated = !m->allocated[first];
}

static void (*const ops[])(struct memory *m, struct rfs_io *io) = {
    [RFS_IO_READ] = do_read,
    [RFS_IO_WRITE] = do_write,
    [RFS_IO_FLUSH] = do_flush,
    [RFS_IO_UNMAP] = do_unmap,
    [RFS_IO_WRITE_ZEROES] = do_write_zeroes,
    [RFS_IO_EXTENT_STATUS] = do_extent_status,
};

static void run_one(struct memory *m, struct rfs_io *io)
{
    if (m->dev.closing) {
        rfs_io_fail(io, RFS_IO_LOST, "%s: the device was closed", rfs_io_op_name(io->op));
    } else {
        rfs_io_fail(io, RFS_IO_OK, NULL);
        ops[io->op](m, io);
    }
    io->done(io);
}

/* A request takes effect here and not in submit(), so that callers that reuse a buffer too early are caught.
 * What done() submits waits for the next turn; what done() frees or closes must not touch the list under way.
 */
static void run_queue(struct rfs_task *task)
{
    struct memory *m = RFS_CONTAINER_OF(task, struct memory, run_task);
    struct rfs_io *io = m->head;

    m->head = NULL;
    m->tail = &m->head;
    m->running = false;
    while (io) {
        struct rfs_io *next = io->next;

        run_one(m, io);
        io = next;
    }
}

static void memory_submit(struct rfs_device *dev, struct rfs_io *io)
{
    struct memory *m = RFS_CONTAINER_OF(dev, struct memory, dev);

    io->next = NULL;
    *m->tail = io;
    m->tail = &io->next;
    if (m->running)
        return;
    m->running = true;
    rfs_loop_post(dev->loop, &m->run_task);
}

static void run_close(struct rfs_task *task)
{
    struct memory *m = RFS_CONTAINER_OF(task, struct memory, close_task);

    rfs_device_closed(&m->dev);
    free(m->own_bytes);
    free(m->own_allocated);
    free(m);
}

/* Tasks of one poster run in order: the queue's turn, if there is one, comes before this one. */
static void memory_close(struct rfs_device *dev)
{
    struct memory *m = RFS_CONTAINER_OF(dev, struct memory, dev);

    rfs_loop_post(dev->loop, &m->close_task);
}

static void run_online(struct rfs_task *task)
{
    struct memory *m = RFS_CONTAINER_OF(task, struct memory, online_task);

    rfs_device_set_state(&m->dev, RFS_DEVICE_ONLINE, NULL);
}

static void set_info(struct memory *m, const struct rfs_memory_options *o)
{
    struct rfs_device_info *info = &m->dev.info;

    info->size = o->size;
    info->block_size = info->physical_block_size = o->block_size ? o->block_size : 512;
    info->max_transfer = 32 << 20;
    info->max_unmap = o->max_unmap;
    info->unmap_granularity = info->block_size;
    info->max_write_zeroes = o->max_write_zeroes;
    info->extent_status = o->extent_status;
    info->unmapped_reads_zero = o->unmapped_reads_zero;
    strcpy(info->vendor, "RFS");
    strcpy(info->product, "MEMORY");
    strcpy(info->provisioning, o->max_unmap ? "Thin" : "Thick");
    if (o->identity)
        snprintf(info->identity, sizeof(info->identity), "%s", o->identity);
    else
        snprintf(info->identity, sizeof(info->identity), "memory:%p", (void *)m);
}

/* Own memory begins as deallocated; the caller's has content, and is allocated unless he says otherwise. */
static void set_memory(struct memory *m, const struct rfs_memory_options *o)
{
    uint64_t blocks = o->size / m->dev.info.block_size;

    m->bytes = o->bytes;
    if (!m->bytes)
        m->bytes = m->own_bytes = rfs_xcalloc(1, o->size);
    if (!o->extent_status)
        return;
    m->allocated = o->bytes ? o->allocated : NULL;
    if (!m->allocated) {
        m->allocated = m->own_allocated = rfs_xcalloc(1, blocks);
        memset(m->allocated, o->bytes != NULL, blocks);
    }
}

static const struct rfs_device_ops memory_ops = {
    .kind = "memory", .submit = memory_submit, .close = memory_close};

struct rfs_device *rfs_memory_open(struct rfs_loop *loop, const struct rfs_memory_options *options,
                                   const struct rfs_device_events *events, void *arg)
{
    struct memory *m = rfs_xcalloc(1, sizeof(*m));

    m->dev = (struct rfs_device){.ops = &memory_ops, .loop = loop, .events = events, .events_arg = arg};
    m->tail = &m->head;
    m->online_task.run = run_online;
    m->run_task.run = run_queue;
    m->close_task.run = run_close;
    set_info(m, options);
    set_memory(m, options);
    rfs_loop_post(loop, &m->online_task);
    return &m->dev;
}
