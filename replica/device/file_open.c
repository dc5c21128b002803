/* SPDX-License-Identifier: Apache-2.0 */
#include "device/file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MAX_TRANSFER     (32u << 20)
#define OPTIMAL_TRANSFER (1u << 20)
#define MAX_RANGE        (1ull << 30) /* of one UNMAP or WRITE_ZEROES: bounds how long one call takes */

const char *rfs_file_path(const char *url)
{
    const char *path = url + strlen("file:");

    return strncmp(path, "///", 3) == 0 ? path + 2 : path; /* the form with an empty host */
}

int rfs_file_check_url(const char *url, struct rfs_error *err)
{
    const char *path = rfs_file_path(url);
    size_t len = strlen(path);

    if (path[0] != '/' || path[1] == '/')
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "url %s: use file:/ABSOLUTE/PATH, with one slash",
                        url);
    if (len == 1 || path[len - 1] == '/')
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "url %s: names a directory; use file:/ABSOLUTE/PATH",
                        url);
    if (len >= PATH_MAX)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "url: the path is longer than %d bytes", PATH_MAX - 1);
    return 0;
}

static enum rfs_device_state refused(struct rfs_file_opened *o, enum rfs_rv rv, const char *path,
                                     const char *why)
{
    rfs_fail(&o->error, rv, "%s: %s", path, why);
    return RFS_DEVICE_REFUSED;
}

/* What goes away by itself is Offline, what somebody has to change is Refused. */
static enum rfs_device_state open_failed(struct rfs_file_opened *o, const char *path, int code)
{
    if (code == EBUSY || code == ETXTBSY)
        return refused(o, RFS_RV_IN_USE, path, "is in use (mounted, or held by another program)");
    rfs_fail_sys(&o->error, code, "%s: cannot be opened", path);
    if (code == ENOENT || code == ENOTDIR)
        o->error.rv = RFS_RV_NOT_FOUND;
    return code == EACCES || code == EPERM || code == ELOOP || code == ENAMETOOLONG ? RFS_DEVICE_REFUSED
                                                                                    : RFS_DEVICE_OFFLINE;
}

/* The kind is looked at before opening, since opening some things (tapes, fifos) does something to them. */
static enum rfs_device_state open_path(struct rfs_file_opened *o, const char *path)
{
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    struct stat st;

    if (stat(path, &st))
        return open_failed(o, path, errno);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return refused(o, RFS_RV_INVALID_PARAMETER, path, "neither a regular file nor a block device");
    o->block_device = S_ISBLK(st.st_mode);
    flags |= o->block_device ? O_EXCL : 0;
    o->fd = open(path, O_RDWR | flags);
    if (o->fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS)) {
        o->fd = open(path, O_RDONLY | flags);
        o->info.write_protected = true;
    }
    return o->fd < 0 ? open_failed(o, path, errno) : RFS_DEVICE_ONLINE;
}

/* An inode's number is used again, often at once, when its file is deleted and another one created; the time of its birth
 * is not. */
static void set_identity(struct rfs_file_opened *o, const struct stat *st)
{
    struct rfs_device_info *info = &o->info;
    struct statx stx;
    int n = snprintf(info->identity, sizeof(info->identity), "file:%u:%u:%" PRIu64, major(st->st_dev),
                     minor(st->st_dev), (uint64_t)st->st_ino);

    if (statx(o->fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) == 0 && stx.stx_mask & STATX_BTIME)
        snprintf(info->identity + n, sizeof(info->identity) - (size_t)n, ":%" PRId64,
                 (int64_t)stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec);
}

static enum rfs_device_state probe_regular(struct rfs_file_opened *o, const char *path, const struct stat *st)
{
    struct flock lock = {.l_type = o->info.write_protected ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    struct rfs_device_info *info = &o->info;

    if (fcntl(o->fd, F_OFD_SETLK, &lock)) {
        if (errno == EAGAIN || errno == EACCES)
            return refused(o, RFS_RV_IN_USE, path, "In Use: another element or program holds a lock on it");
        return open_failed(o, path, errno);
    }
    info->size = (uint64_t)st->st_size;
    info->block_size = 512;
    info->physical_block_size = 4096;
    info->max_unmap = info->max_write_zeroes = MAX_RANGE;
    info->unmap_granularity = 4096;
    info->extent_status = info->unmapped_reads_zero = true;
    strcpy(info->product, "regular file");
    strcpy(info->provisioning, (uint64_t)st->st_blocks * 512 < info->size ? "Thin" : "Thick");
    set_identity(o, st);
    return RFS_DEVICE_ONLINE;
}

/* A queue limit; a partition's stands with its disk. `missing` where sysfs does not say. */
static uint64_t queue_limit(dev_t dev, const char *name, uint64_t missing)
{
    static const char *const forms[] = {"/sys/dev/block/%u:%u/queue/%s", "/sys/dev/block/%u:%u/../queue/%s"};
    uint64_t value = missing;

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char path[128];
        FILE *file;

        snprintf(path, sizeof(path), forms[i], major(dev), minor(dev), name);
        file = fopen(path, "re");
        if (!file)
            continue;
        if (fscanf(file, "%" SCNu64, &value) != 1)
            value = missing;
        fclose(file);
        break;
    }
    return value;
}

static enum rfs_device_state probe_block_device(struct rfs_file_opened *o, const char *path,
                                                const struct stat *st)
{
    struct rfs_device_info *info = &o->info;
    unsigned physical = 0;
    int logical = 0, read_only = 0;

    if (ioctl(o->fd, BLKGETSIZE64, &info->size) || ioctl(o->fd, BLKSSZGET, &logical) ||
        ioctl(o->fd, BLKPBSZGET, &physical) || ioctl(o->fd, BLKROGET, &read_only))
        return open_failed(o, path, errno);
    info->block_size = (uint32_t)logical;
    info->physical_block_size = physical;
    info->write_protected |= read_only != 0;
    info->max_unmap = queue_limit(st->st_rdev, "discard_max_bytes", MAX_RANGE) ? MAX_RANGE : 0;
    info->unmap_granularity = queue_limit(st->st_rdev, "discard_granularity", physical);
    if (info->unmap_granularity < info->block_size)
        info->unmap_granularity = info->block_size;
    info->max_write_zeroes = MAX_RANGE; /* the kernel writes zeros where the device cannot */
    strcpy(info->product, "block device");
    strcpy(info->provisioning, "Unknown");
    snprintf(info->identity, sizeof(info->identity), "bdev:%u:%u", major(st->st_rdev), minor(st->st_rdev));
    return RFS_DEVICE_ONLINE;
}

static enum rfs_device_state check_wanted(const struct rfs_file_wanted *w, struct rfs_file_opened *o)
{
    const struct rfs_device_info *info = &o->info;
    char why[sizeof(info->identity) * 2 + 80];

    if (!info->size || info->size % info->block_size)
        snprintf(why, sizeof(why), "%" PRIu64 " bytes are not a non-zero multiple of %" PRIu32, info->size,
                 info->block_size);
    else if (w->identity && strcmp(w->identity, info->identity) != 0)
        snprintf(why, sizeof(why), "is %s, expected was %s: not the same volume", info->identity,
                 w->identity);
    else if (info->size < w->size)
        snprintf(why, sizeof(why), "has shrunk from %" PRIu64 " to %" PRIu64 " bytes", w->size, info->size);
    else if (w->block_size && w->block_size != info->block_size)
        snprintf(why, sizeof(why), "block size is %" PRIu32 ", expected was %" PRIu32, info->block_size,
                 w->block_size);
    else
        return RFS_DEVICE_ONLINE;
    return refused(o, RFS_RV_INVALID_PARAMETER, w->path, why);
}

static enum rfs_device_state try_open(const struct rfs_file_wanted *w, struct rfs_file_opened *o)
{
    enum rfs_device_state state = open_path(o, w->path);
    struct stat st;

    if (state != RFS_DEVICE_ONLINE)
        return state;
    if (fstat(o->fd, &st))
        return open_failed(o, w->path, errno);
    if (o->block_device != !!S_ISBLK(st.st_mode) || (!o->block_device && !S_ISREG(st.st_mode)))
        return open_failed(o, w->path, EAGAIN); /* replaced between stat and open */
    o->info.max_transfer = MAX_TRANSFER;
    o->info.optimal_transfer = OPTIMAL_TRANSFER;
    o->info.volatile_cache = true; /* the page cache: gone when its write-back fails */
    strcpy(o->info.vendor, "FILE");
    state = o->block_device ? probe_block_device(o, w->path, &st) : probe_regular(o, w->path, &st);
    return state == RFS_DEVICE_ONLINE ? check_wanted(w, o) : state;
}

void rfs_file_try(const struct rfs_file_wanted *wanted, struct rfs_file_opened *opened)
{
    *opened = (struct rfs_file_opened){.fd = -1};
    opened->state = try_open(wanted, opened);
    if (opened->state == RFS_DEVICE_ONLINE || opened->fd < 0)
        return;
    close(opened->fd);
    opened->fd = -1;
}
