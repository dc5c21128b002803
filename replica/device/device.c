/* SPDX-License-Identifier: Apache-2.0 */
#include "device/device.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *scheme;
    struct rfs_device *(*open)(struct rfs_loop *loop, const struct rfs_device_config *config,
                               const struct rfs_device_events *events, void *arg, struct rfs_error *err);
    int (*check_url)(const char *url, struct rfs_error *err);
} makers[] = {
    {"iscsi://", rfs_iscsi_open, rfs_iscsi_check_url},
    {"file:", rfs_file_open, rfs_file_check_url},
};

/* Index into makers[], or -1. */
static int find_maker(const char *url, struct rfs_error *err)
{
    for (size_t i = 0; url && i < ARRAY_LEN(makers); i++)
        if (strncasecmp(url, makers[i].scheme, strlen(makers[i].scheme)) == 0)
            return (int)i;
    /* The url is not repeated in full: an unknown form may hold credentials anywhere. */
    return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                    "url: not a known form; use iscsi://HOST[:PORT]/IQN/LUN or file:/ABSOLUTE/PATH");
}

struct rfs_device *rfs_device_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                   const struct rfs_device_events *events, void *arg, struct rfs_error *err)
{
    int maker = find_maker(config->url, err);

    return maker < 0 ? NULL : makers[maker].open(loop, config, events, arg, err);
}

int rfs_device_check_url(const char *url, struct rfs_error *err)
{
    int maker = find_maker(url, err);

    return maker < 0 ? -1 : makers[maker].check_url(url, err);
}

const char *rfs_device_url_path(const char *url)
{
    return url && strncasecmp(url, "file:", strlen("file:")) == 0 ? rfs_file_path(url) : NULL;
}

static const char *const state_names[] = {
    [RFS_DEVICE_CONNECTING] = "Connecting",
    [RFS_DEVICE_ONLINE] = "Online",
    [RFS_DEVICE_OFFLINE] = "Offline",
    [RFS_DEVICE_REFUSED] = "Refused",
};

const char *rfs_device_state_name(enum rfs_device_state state)
{
    return (size_t)state < ARRAY_LEN(state_names) ? state_names[state] : "Unknown";
}

static const char *const op_names[] = {
    [RFS_IO_READ] = "read",
    [RFS_IO_WRITE] = "write",
    [RFS_IO_FLUSH] = "flush",
    [RFS_IO_UNMAP] = "unmap",
    [RFS_IO_WRITE_ZEROES] = "write zeroes",
    [RFS_IO_EXTENT_STATUS] = "extent status",
};

const char *rfs_io_op_name(enum rfs_io_op op)
{
    return (size_t)op < ARRAY_LEN(op_names) ? op_names[op] : "unknown operation";
}

/* The errno is given here and not by rv.def: a host's read past the end is EIO, a write to a read-only LUN
 * EROFS. */
static const struct {
    enum rfs_rv rv;
    int err;
} status_table[] = {
    [RFS_IO_OK] = {RFS_RV_OK, 0},
    [RFS_IO_LOST] = {RFS_RV_FAILED, EIO},
    [RFS_IO_TIMEOUT] = {RFS_RV_TIMEOUT, ETIMEDOUT},
    [RFS_IO_ERROR] = {RFS_RV_FAILED, EIO},
    [RFS_IO_NOSPACE] = {RFS_RV_NO_RESOURCES, ENOSPC},
    [RFS_IO_PROTECTED] = {RFS_RV_ACCESS_DENIED, EROFS},
    [RFS_IO_RANGE] = {RFS_RV_FAILED, EIO},
    [RFS_IO_UNSUPPORTED] = {RFS_RV_NOT_SUPPORTED, EOPNOTSUPP},
};

static void set_result(struct rfs_io *io, enum rfs_io_status status, const char *fmt, va_list ap)
{
    char text[sizeof(io->error.msg)] = "";

    io->status = status;
    if (status == RFS_IO_OK) {
        io->error = (struct rfs_error)RFS_ERROR_INIT;
        return;
    }
    if (fmt)
        vsnprintf(text, sizeof(text), fmt, ap);
    rfs_fail_errno(&io->error, status_table[status].rv, status_table[status].err, "%s",
                   *text ? text : rfs_rv_text(status_table[status].rv));
}

void rfs_io_fail(struct rfs_io *io, enum rfs_io_status status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_result(io, status, fmt, ap);
    va_end(ap);
}

static void run_done(struct rfs_task *task)
{
    struct rfs_io *io = RFS_CONTAINER_OF(task, struct rfs_io, task);

    io->done(io);
}

void rfs_io_complete_later(struct rfs_device *dev, struct rfs_io *io, enum rfs_io_status status,
                           const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_result(io, status, fmt, ap);
    va_end(ap);
    io->task.run = run_done;
    rfs_loop_post(dev->loop, &io->task);
}

static bool is_supported(const struct rfs_device_info *info, enum rfs_io_op op)
{
    switch (op) {
    case RFS_IO_UNMAP:
        return info->max_unmap > 0;
    case RFS_IO_WRITE_ZEROES:
        return info->max_write_zeroes > 0;
    case RFS_IO_EXTENT_STATUS:
        return info->extent_status;
    default:
        return true;
    }
}

/* A vector shorter than `length` would have the device write past the caller's memory. */
static bool vector_fits(const struct rfs_io *io)
{
    uint64_t sum = 0;

    if (io->op != RFS_IO_READ && io->op != RFS_IO_WRITE)
        return true;
    for (int i = 0; i < io->niov; i++)
        sum += io->iov[i].iov_len;
    return sum == io->length;
}

static enum rfs_io_status check_range(const struct rfs_device_info *info, const struct rfs_io *io,
                                      const char **why)
{
    if (io->length > info->size || io->offset > info->size - io->length) {
        *why = "beyond the end of the device";
        return RFS_IO_RANGE;
    }
    if (info->block_size && (io->offset % info->block_size || io->length % info->block_size)) {
        *why = "not a multiple of the block size";
        return RFS_IO_ERROR;
    }
    if (!vector_fits(io)) {
        *why = "the buffers do not hold as many bytes as are asked for";
        return RFS_IO_ERROR;
    }
    if (!io->length && io->op == RFS_IO_EXTENT_STATUS) {
        *why = "an empty range has no extent";
        return RFS_IO_ERROR;
    }
    return RFS_IO_OK;
}

static enum rfs_io_status check_io(const struct rfs_device *dev, const struct rfs_io *io, const char **why)
{
    if (dev->closing || dev->state != RFS_DEVICE_ONLINE) {
        *why = dev->closing ? "the device is being closed" : rfs_device_state_name(dev->state);
        return RFS_IO_LOST;
    }
    if ((size_t)io->op >= ARRAY_LEN(op_names)) {
        *why = "no such operation";
        return RFS_IO_ERROR;
    }
    if (!is_supported(&dev->info, io->op)) {
        *why = "the device does not know this operation";
        return RFS_IO_UNSUPPORTED;
    }
    return io->op == RFS_IO_FLUSH ? RFS_IO_OK : check_range(&dev->info, io, why);
}

void rfs_device_submit(struct rfs_device *dev, struct rfs_io *io)
{
    const char *why = NULL;
    enum rfs_io_status status = check_io(dev, io, &why);

    if (status != RFS_IO_OK)
        rfs_io_complete_later(dev, io, status, "%s of %" PRIu64 " bytes at %" PRIu64 ": %s",
                              rfs_io_op_name(io->op), io->length, io->offset, why);
    else if (!io->length && io->op != RFS_IO_FLUSH)
        rfs_io_complete_later(dev, io, RFS_IO_OK, NULL);
    else
        dev->ops->submit(dev, io);
}

void rfs_device_close(struct rfs_device *dev, void (*closed)(void *arg), void *arg)
{
    dev->closing = true;
    dev->closed = closed;
    dev->closed_arg = arg;
    dev->ops->close(dev);
}

void rfs_device_set_state(struct rfs_device *dev, enum rfs_device_state state, const struct rfs_error *why)
{
    dev->state = state;
    if (dev->closing || !dev->events || !dev->events->state)
        return;
    dev->events->state(dev->events_arg, state,
                       state == RFS_DEVICE_OFFLINE || state == RFS_DEVICE_REFUSED ? why : NULL);
}

void rfs_device_closed(struct rfs_device *dev)
{
    if (dev->closed)
        dev->closed(dev->closed_arg);
}
