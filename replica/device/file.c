/* SPDX-License-Identifier: Apache-2.0
 *
 * A regular file or a local block device. Blocking calls are made on threads of this device's own; the loop
 * keeps all state.
 *
 * The kernel reports a failed write-back once per descriptor, to whichever sync comes first, and a later sync
 * succeeds although the data is gone. So at most one sync is under way per descriptor (others wait and are
 * served together by the next one), and a failed one ends the session: the descriptor is never trusted again.
 */
#include "device/file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#define IO_THREADS         4
#define BACKOFF_FIRST_MS   200
#define BACKOFF_REFUSED_MS 1000
#define BACKOFF_MAX_MS     10000

/* One attempt to open, on the opener thread. */
struct attempt {
    struct rfs_work work;
    int old_fd; /* of the last session, closed first; -1 = none */
    struct rfs_file_opened opened;
};

struct file {
    struct rfs_device dev;
    char *name;
    struct rfs_file_wanted wanted; /* the loop's; the opener's while an attempt is under way */
    struct rfs_log *log;
    struct rfs_iothreads *threads, *opener;
    struct rfs_timer *retry;
    uint64_t backoff_ms;
    struct attempt attempt;
    bool attempting;
    struct rfs_error last_error; /* why it is not Online, to tell only what is new */
    int fd;
    bool block_device;
    atomic_bool ended;   /* the session is over: what has not begun need not begin */
    unsigned in_flight;  /* requests that have not been completed */
    struct req *syncing; /* the requests that the running sync is for */
    struct req *waiting; /* for the next one */
};

struct req {
    struct rfs_work work;
    struct file *file;
    struct rfs_io *io;
    int result;       /* errno, RFS_FILE_…, 0 */
    bool sync_failed; /* and not merely the write before it */
    struct req *next;
};

/* --- the calls, on I/O threads --- */

/* Without this a write behind the end of a file that somebody cut short would grow it again, with a hole in
 * it. */
static int check_end(const struct file *f, const struct rfs_io *io)
{
    struct stat st;

    if (f->block_device)
        return 0;
    if (fstat(f->fd, &st))
        return errno;
    if (st.st_nlink == 0)
        return RFS_FILE_DELETED;
    return (uint64_t)st.st_size < io->offset + io->length ? RFS_FILE_SHRUNK : 0;
}

static int do_read(const struct file *f, struct rfs_io *io)
{
    return rfs_file_transfer(f->fd, io, 0);
}

static int do_write(const struct file *f, struct rfs_io *io)
{
    int code = check_end(f, io);

    return code ? code : rfs_file_transfer(f->fd, io, 0);
}

static int do_sync(const struct file *f)
{
    int code;

    do
        code = fdatasync(f->fd) ? errno : 0;
    while (code == EINTR);
    return code;
}

static int block_range(const struct file *f, const struct rfs_io *io, unsigned long request)
{
    uint64_t range[2] = {io->offset, io->length};

    return ioctl(f->fd, request, range) ? errno : 0;
}

static int do_fallocate(const struct file *f, const struct rfs_io *io, int mode)
{
    int code = check_end(f, io);

    while (!code && fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)io->offset, (off_t)io->length))
        if (errno != EINTR)
            return errno;
    return code;
}

static int do_unmap(const struct file *f, struct rfs_io *io)
{
    return f->block_device ? block_range(f, io, BLKDISCARD) : do_fallocate(f, io, FALLOC_FL_PUNCH_HOLE);
}

static int do_write_zeroes(const struct file *f, struct rfs_io *io)
{
    return f->block_device ? block_range(f, io, BLKZEROOUT) : do_fallocate(f, io, FALLOC_FL_ZERO_RANGE);
}

static int do_extent_status(const struct file *f, struct rfs_io *io)
{
    int code = check_end(f, io);

    return code ? code : rfs_file_extent_status(f->fd, f->dev.info.block_size, io);
}

static int (*const calls[])(const struct file *f, struct rfs_io *io) = {
    [RFS_IO_READ] = do_read,
    [RFS_IO_WRITE] = do_write,
    [RFS_IO_UNMAP] = do_unmap,
    [RFS_IO_WRITE_ZEROES] = do_write_zeroes,
    [RFS_IO_EXTENT_STATUS] = do_extent_status,
};

static void run_call(struct rfs_work *work)
{
    struct req *r = RFS_CONTAINER_OF(work, struct req, work);

    r->result = atomic_load(&r->file->ended) ? ECANCELED : calls[r->io->op](r->file, r->io);
}

/* What is on stable storage under no name is lost all the same. After the sync, so that it holds for what was synced. */
static void check_place(struct req *r)
{
    if (!r->result)
        r->result = rfs_file_check_place(r->file->fd, r->file->wanted.path);
}

static void run_sync(struct rfs_work *work)
{
    struct req *r = RFS_CONTAINER_OF(work, struct req, work);

    r->result = atomic_load(&r->file->ended) ? ECANCELED : do_sync(r->file);
    r->sync_failed = r->result && r->result != ECANCELED;
    check_place(r);
}

/* A lone write with FUA need not sync the whole file. Whether writing or syncing failed shows by writing
 * again. */
static int write_synced(struct req *r)
{
    int code = check_end(r->file, r->io), again;

    if (!code)
        code = rfs_file_transfer(r->file->fd, r->io, RWF_DSYNC);
    if (code <= 0)
        return code;
    again = rfs_file_transfer(r->file->fd, r->io, 0);
    if (code == EOPNOTSUPP || code == ENOSYS || code == EINVAL) {
        code = again ? again : do_sync(r->file);
        r->sync_failed = code && !again;
    } else {
        r->sync_failed = again != code;
    }
    return code;
}

static void run_sync_write(struct rfs_work *work)
{
    struct req *r = RFS_CONTAINER_OF(work, struct req, work);

    r->result = atomic_load(&r->file->ended) ? ECANCELED : write_synced(r);
    check_place(r);
}

/* --- requests, on the loop --- */

static void finish_close(struct file *f);
static void try_again(struct file *f);
static void start_sync(struct file *f);

static const struct {
    int result;
    enum rfs_io_status status;
} statuses[] = {
    {0, RFS_IO_OK},
    {RFS_FILE_SHRUNK, RFS_IO_RANGE},
    {RFS_FILE_DELETED, RFS_IO_LOST},
    {RFS_FILE_REPLACED, RFS_IO_LOST},
    {ECANCELED, RFS_IO_LOST},
    {ENOSPC, RFS_IO_NOSPACE},
    {EDQUOT, RFS_IO_NOSPACE},
    {EROFS, RFS_IO_PROTECTED},
    {EPERM, RFS_IO_PROTECTED},
    {EACCES, RFS_IO_PROTECTED},
    {EBADF, RFS_IO_PROTECTED},
};

static bool is_optional(enum rfs_io_op op)
{
    return op == RFS_IO_UNMAP || op == RFS_IO_WRITE_ZEROES || op == RFS_IO_EXTENT_STATUS;
}

static enum rfs_io_status status_of(const struct rfs_io *io, int result)
{
    if (is_optional(io->op) &&
        (result == EOPNOTSUPP || result == EINVAL || result == ENOTTY || result == ENOSYS))
        return RFS_IO_UNSUPPORTED;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].result == result)
            return statuses[i].status;
    return RFS_IO_ERROR;
}

/* What turned out not to be there is not asked for again. */
static void forget_ability(struct file *f, enum rfs_io_op op)
{
    if (op == RFS_IO_UNMAP)
        f->dev.info.max_unmap = 0;
    else if (op == RFS_IO_WRITE_ZEROES)
        f->dev.info.max_write_zeroes = 0;
    else
        f->dev.info.extent_status = false;
}

/* NULL where strerror() knows better. */
static const char *text_of(int result)
{
    static const struct {
        int result;
        const char *text;
    } texts[] = {
        {RFS_FILE_SHRUNK, "the file ends before"},
        {RFS_FILE_DELETED, "was deleted while it was open"},
        {RFS_FILE_REPLACED, "was replaced or moved away while it was open"},
        {ECANCELED, "the session ended"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].result == result)
            return texts[i].text;
    return NULL;
}

static void set_result(struct file *f, struct rfs_io *io, int result)
{
    enum rfs_io_status status = status_of(io, result);
    char text[128] = "";
    const char *why = text_of(result) ? text_of(result) : strerror_r(result, text, sizeof(text));

    if (status == RFS_IO_UNSUPPORTED)
        forget_ability(f, io->op);
    if (io->op == RFS_IO_FLUSH)
        rfs_io_fail(io, status, "%s: flush: %s", f->wanted.path, why);
    else
        rfs_io_fail(io, status, "%s: %s of %" PRIu64 " bytes at %" PRIu64 ": %s", f->wanted.path,
                    rfs_io_op_name(io->op), io->length, io->offset, why);
}

/* The last request of a session that is over lets the next step begin. */
static void complete(struct req *r, int result)
{
    struct file *f = r->file;
    struct rfs_io *io = r->io;

    free(r);
    set_result(f, io, result);
    io->done(io);
    f->in_flight--;
    if (f->in_flight || !atomic_load(&f->ended))
        return;
    if (f->dev.closing)
        finish_close(f);
    else
        try_again(f);
}

static void complete_all(struct req *list, int result)
{
    while (list) {
        struct req *r = list;

        list = r->next;
        complete(r, result);
    }
}

/* No request is completed here: those that threads still work on must not be told of before they are through.
 */
static void end_session(struct file *f, const struct rfs_error *why)
{
    atomic_store(&f->ended, true);
    f->last_error = *why;
    f->backoff_ms = 0;
    rfs_device_set_state(&f->dev, RFS_DEVICE_OFFLINE, why);
}

/* A session with what the path does not lead to any more is over, and opening again decides what is there now. Returns
 * what is to be told of the request. */
static int judge(struct file *f, int result)
{
    struct rfs_error why;

    if (atomic_load(&f->ended))
        return ECANCELED;
    if (result == RFS_FILE_DELETED || result == RFS_FILE_REPLACED) {
        rfs_fail(&why, RFS_RV_NOT_FOUND, "%s: %s; opening it again", f->wanted.path, text_of(result));
        rfs_log(f->log, RFS_LOG_ERROR, "element %s: %s", f->name, why.msg);
        end_session(f, &why);
    }
    return result;
}

static void sync_done(struct rfs_work *work)
{
    struct req *served = RFS_CONTAINER_OF(work, struct req, work), *lost = NULL;
    struct file *f = served->file;
    int result = judge(f, served->result);
    struct rfs_error why;

    f->syncing = NULL;
    if (served->sync_failed && result != ECANCELED) {
        f->dev.writes_lost++;
        rfs_fail_sys(&why, result, "%s: sync failed, so writes may be lost; opening it again",
                     f->wanted.path);
        rfs_log(f->log, RFS_LOG_ERROR, "element %s: %s", f->name, why.msg);
        end_session(f, &why);
    }
    if (atomic_load(&f->ended)) {
        lost = f->waiting;
        f->waiting = NULL;
    }
    start_sync(f);
    complete_all(served, result);
    complete_all(lost, ECANCELED);
}

static void begin_sync(struct file *f, struct req *list, void (*run)(struct rfs_work *work))
{
    f->syncing = list;
    list->work = (struct rfs_work){.loop = f->dev.loop, .run = run, .done = sync_done};
    rfs_iothreads_submit(f->threads, &list->work);
}

static void start_sync(struct file *f)
{
    struct req *list = f->waiting;

    if (!list || f->syncing)
        return;
    f->waiting = NULL;
    begin_sync(f, list, run_sync);
}

static void join_sync(struct file *f, struct req *r)
{
    r->next = f->waiting;
    f->waiting = r;
    start_sync(f);
}

static void call_done(struct rfs_work *work)
{
    struct req *r = RFS_CONTAINER_OF(work, struct req, work);
    struct file *f = r->file;
    int result = judge(f, r->result);

    if (!result && r->io->fua && (r->io->op == RFS_IO_WRITE || r->io->op == RFS_IO_WRITE_ZEROES))
        join_sync(f, r);
    else
        complete(r, result);
}

static void file_submit(struct rfs_device *dev, struct rfs_io *io)
{
    struct file *f = RFS_CONTAINER_OF(dev, struct file, dev);
    struct req *r = rfs_xcalloc(1, sizeof(*r));

    r->file = f;
    r->io = io;
    f->in_flight++;
    if (io->op == RFS_IO_FLUSH) {
        join_sync(f, r);
    } else if (io->op == RFS_IO_WRITE && io->fua && !f->syncing) {
        begin_sync(f, r, run_sync_write);
    } else {
        r->work = (struct rfs_work){.loop = dev->loop, .run = run_call, .done = call_done};
        rfs_iothreads_submit(f->threads, &r->work);
    }
}

/* --- the opener thread --- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* After a failed sync the cache may hold what the medium does not: it is dropped, so that reads tell the
 * truth. */
static void run_attempt(struct rfs_work *work)
{
    struct attempt *a = RFS_CONTAINER_OF(work, struct attempt, work);
    struct file *f = RFS_CONTAINER_OF(a, struct file, attempt);

    if (a->old_fd >= 0)
        posix_fadvise(a->old_fd, 0, 0, POSIX_FADV_DONTNEED);
    close_fd(&a->old_fd);
    rfs_file_try(&f->wanted, &a->opened);
}

/* --- the session, on the loop --- */

static void attempt_done(struct rfs_work *work);

static void start_attempt(void *arg)
{
    struct file *f = arg;

    f->attempting = true;
    f->attempt.old_fd = f->fd;
    f->fd = -1;
    f->attempt.work = (struct rfs_work){.loop = f->dev.loop, .run = run_attempt, .done = attempt_done};
    rfs_iothreads_submit(f->opener, &f->attempt.work);
}

static void try_again(struct file *f)
{
    uint64_t least = f->dev.state == RFS_DEVICE_REFUSED ? BACKOFF_REFUSED_MS : BACKOFF_FIRST_MS;
    uint32_t random = 0;

    f->backoff_ms = f->backoff_ms * 2 < least ? least : f->backoff_ms * 2;
    if (f->backoff_ms > BACKOFF_MAX_MS)
        f->backoff_ms = BACKOFF_MAX_MS;
    getrandom(&random, sizeof(random), GRND_NONBLOCK);
    rfs_timer_start(f->retry, f->backoff_ms / 2 + random % (f->backoff_ms / 2 + 1));
}

/* From now on it has to be the same one. */
static void adopt(struct file *f, const struct rfs_file_opened *o)
{
    f->fd = o->fd;
    f->block_device = o->block_device;
    f->dev.info = o->info;
    free(f->wanted.identity);
    f->wanted.identity = rfs_xstrdup(o->info.identity);
    f->wanted.size = o->info.size;
    f->wanted.block_size = o->info.block_size;
    f->backoff_ms = 0;
    f->last_error = (struct rfs_error)RFS_ERROR_INIT;
    atomic_store(&f->ended, false);
    rfs_device_set_state(&f->dev, RFS_DEVICE_ONLINE, NULL);
}

static void attempt_failed(struct file *f, const struct rfs_file_opened *o)
{
    if (f->dev.state != o->state || strcmp(f->last_error.msg, o->error.msg) != 0) {
        f->last_error = o->error;
        rfs_log(f->log, RFS_LOG_WARNING, "element %s: %s", f->name, o->error.msg);
        rfs_device_set_state(&f->dev, o->state, &o->error);
    }
    if (!f->dev.closing)
        try_again(f);
}

static void attempt_done(struct rfs_work *work)
{
    struct file *f = RFS_CONTAINER_OF(work, struct file, attempt.work);

    f->attempting = false;
    if (f->dev.closing) {
        f->fd = f->attempt.opened.fd;
        finish_close(f);
    } else if (f->attempt.opened.state == RFS_DEVICE_ONLINE) {
        adopt(f, &f->attempt.opened);
    } else {
        attempt_failed(f, &f->attempt.opened);
    }
}

static void run_last(struct rfs_work *work)
{
    close_fd(&RFS_CONTAINER_OF(work, struct attempt, work)->old_fd);
}

/* All work has been answered, so the threads are idle and joining them does not hold up the loop. */
static void last_done(struct rfs_work *work)
{
    struct attempt *a = RFS_CONTAINER_OF(work, struct attempt, work);
    struct file *f = RFS_CONTAINER_OF(a, struct file, attempt);

    rfs_iothreads_free(f->threads);
    rfs_iothreads_free(f->opener);
    rfs_timer_destroy(f->retry);
    rfs_device_closed(&f->dev);
    free(f->name);
    free(f->wanted.path);
    free(f->wanted.identity);
    free(f);
}

static void finish_close(struct file *f)
{
    if (f->in_flight || f->attempting)
        return;
    f->attempt.old_fd = f->fd;
    f->attempt.work = (struct rfs_work){.loop = f->dev.loop, .run = run_last, .done = last_done};
    rfs_iothreads_submit(f->opener, &f->attempt.work);
}

static void file_close(struct rfs_device *dev)
{
    struct file *f = RFS_CONTAINER_OF(dev, struct file, dev);

    atomic_store(&f->ended, true);
    rfs_timer_stop(f->retry);
    finish_close(f);
}

static const struct rfs_device_ops file_ops = {.kind = "file", .submit = file_submit, .close = file_close};

struct rfs_device *rfs_file_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                 const struct rfs_device_events *events, void *arg, struct rfs_error *err)
{
    struct file *f;

    if (rfs_file_check_url(config->url, err))
        return NULL;
    f = rfs_xcalloc(1, sizeof(*f));
    f->dev = (struct rfs_device){.ops = &file_ops, .loop = loop, .events = events, .events_arg = arg};
    f->name = rfs_xstrdup(config->name ? config->name : "");
    f->wanted.path = rfs_xstrdup(rfs_file_path(config->url));
    f->wanted.identity = rfs_xstrdup(config->expect_identity);
    f->wanted.size = config->expect_size;
    f->wanted.block_size = config->expect_block_size;
    f->log = config->log;
    f->threads = rfs_iothreads_new("rfs-file", IO_THREADS);
    f->opener = rfs_iothreads_new("rfs-file-open", 1);
    f->retry = rfs_timer_new(loop, start_attempt, f);
    f->fd = -1;
    atomic_store(&f->ended, true);
    start_attempt(f);
    return &f->dev;
}
