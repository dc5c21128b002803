/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>

#include "fuse_ops.h"
#include "notifier.h"
#include "pending.h"

#define READ_MAX (1 << 20)

static struct rfs_handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct rfs_handle *)(uintptr_t)fi->fh;
}

/* Written as the kernel takes it: libfuse 3.14 has no field for parallel writes, without which a write that waits would
 * hold up every other writer of the file. */
static int reply_open(fuse_req_t req, const struct rfs_handle *h)
{
    struct fuse_open_out out = {.fh = (uintptr_t)h,
                                .open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES};

    return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static void refuse_open(fuse_req_t req, struct rfs_node node, int rc, int flags)
{
    struct rfs_error err;

    if (rc != EACCES || (flags & O_ACCMODE) == O_RDONLY) {
        fuse_reply_err(req, rc);
        return;
    }
    rfs_fail_errno(&err, RFS_RV_ACCESS_DENIED, EACCES, "the file is read-only: it takes no requests");
    rfs_refuse(req, "open", node, NULL, &err);
}

void rfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_node node = rfs_node_unpack(ino);
    struct rfs_handle *h;
    int rc = rfs_handle_open(rfs_req_fs(req), node, fi->flags, &who, &h);

    if (rc)
        refuse_open(req, node, rc, fi->flags);
    else if (reply_open(req, h))
        rfs_handle_unref(h);
}

void rfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_text text = RFS_TEXT_INIT;
    int rc = rfs_handle_read(handle_of(fi), &who, (uint64_t)off, size < READ_MAX ? size : READ_MAX, &text);

    if (rc)
        fuse_reply_err(req, rc);
    else
        fuse_reply_buf(req, text.data, text.len);
    rfs_text_free(&text);
}

static void write_temp(fuse_req_t req, struct rfs_handle *h, const char *buf, size_t size, off_t off)
{
    struct rfs_error err;
    int rc = rfs_temps_write(h->fs->temps, h->node.number, (uint64_t)off, buf, size, h->append);

    if (!rc) {
        fuse_reply_write(req, size);
        return;
    }
    rfs_fail_errno(&err, rc == EFBIG ? RFS_RV_NO_RESOURCES : RFS_RV_NOT_FOUND, rc,
                   rc == EFBIG ? "a temporary file holds at most %u bytes" : "the temporary file is gone",
                   RFS_TEMP_MAX_SIZE);
    rfs_refuse(req, "write", h->node, NULL, &err);
}

void rfs_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                  struct fuse_file_info *fi)
{
    struct rfs_handle *h = handle_of(fi);
    struct rfs_caller who;

    if (!h->row) {
        write_temp(req, h, buf, size, off);
        return;
    }
    who = rfs_req_caller(req);
    rfs_pending_write(req, h, &who, buf, size);
}

void rfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct rfs_handle *h = handle_of(fi);

    rfs_notifier_arm(h->fs->notifier, h, NULL);
    rfs_pending_release(h);
    rfs_handle_unref(h);
    fuse_reply_err(req, 0);
}

void rfs_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}

/* Armed first, then looked at: a change in between is not missed. */
void rfs_op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
    struct rfs_handle *h = handle_of(fi);
    struct rfs_caller who = rfs_req_caller(req);
    unsigned ready = POLLOUT | POLLWRNORM;
    int changed = 1;

    if (rfs_handle_polled(h)) {
        if (ph)
            rfs_notifier_arm(h->fs->notifier, h, ph);
        changed = rfs_handle_changed(h, &who);
    } else if (ph) {
        fuse_pollhandle_destroy(ph);
    }
    if (changed)
        ready |= POLLIN | POLLRDNORM;
    if (changed < 0)
        ready |= POLLERR | POLLHUP;
    fuse_reply_poll(req, ready);
}
