/* SPDX-License-Identifier: Apache-2.0
 *
 * An open file: the snapshot that its reader goes through, the reply to its last request, and the request under
 * way. Free of FUSE.
 *
 * Counted: the kernel holds one reference from open to release, an outstanding request another. `lock` guards what
 * changes; nothing that waits is called under it, and rendering is done before it is taken.
 */
#ifndef RFS_FS_HANDLE_H
#define RFS_FS_HANDLE_H

#include "fs.h"

struct fuse_pollhandle;

struct rfs_handle {
    struct rfs_fs *fs;
    struct rfs_node node;
    const struct rfs_row *row; /* NULL: a temporary file */
    bool for_reading, for_writing, append;
    _Atomic unsigned refs;
    _Atomic size_t written; /* bytes of the last write */

    pthread_mutex_t lock;     /* from here to the next line */
    struct rfs_text snapshot; /* what was last rendered */
    uint64_t rendered_ms;     /* monotonic */
    bool was_read;            /* the snapshot, from its beginning */
    uint64_t events_pos;      /* how far the log has been read */
    struct rfs_text reply;    /* to the last request */
    bool replied;             /* there was a request */
    bool based;               /* the reply has been read from */
    uint64_t base;            /* the file offset at which it begins */
    char *value;              /* of an attribute, as it was written on this open */
    size_t value_len;
    struct rfs_pending *pending; /* a request under way, or whose outcome nobody has got yet; counted */

    struct fuse_pollhandle *poll;   /* the notifier's, under its lock */
    struct rfs_handle *prev, *next; /* fs->handles, under its lock */
};

/* 0 with *out, or a positive errno: ENOENT, EACCES (modes that must hold for root too). `flags` as of open(2). */
int rfs_handle_open(struct rfs_fs *fs, struct rfs_node node, int flags, const struct rfs_caller *who,
                    struct rfs_handle **out);
struct rfs_handle *rfs_handle_ref(struct rfs_handle *h);
void rfs_handle_unref(struct rfs_handle *h);

/* Appends at most `len` bytes to *out; none: the end. 0 or a positive errno. */
int rfs_handle_read(struct rfs_handle *h, const struct rfs_caller *who, uint64_t offset, size_t len,
                    struct rfs_text *out);

/* The answer to a request: reading begins at its start. */
void rfs_handle_set_reply(struct rfs_handle *h, struct rfs_text *reply); /* takes the text over; lock held */

/* An attribute takes one value per open: programs that write line by line would otherwise end in what the last line
 * says, which may be nothing at all. Keeps the first. The bytes are those of the write, with their newline. */
enum rfs_again { RFS_AGAIN_NO, RFS_AGAIN_NOTHING /* to be ignored */, RFS_AGAIN_OTHER /* to be refused */ };
enum rfs_again rfs_handle_value(struct rfs_handle *h, const char *data, size_t len);

/* Has what a reader would get changed since this handle's last rendering? -ENOENT: its object is gone. */
int rfs_handle_changed(struct rfs_handle *h, const struct rfs_caller *who);
bool rfs_handle_polled(const struct rfs_handle *h); /* does it ever have to wait for a change */

#endif
