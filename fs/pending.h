/* SPDX-License-Identifier: Apache-2.0
 *
 * A request on its way through the service: who waits for it in the kernel, and what becomes of it when that one is
 * interrupted, comes back, or closes the file (design section 3, rule 5).
 *
 * A FUSE thread makes it and lets go; the control thread answers. A signal ends the wait (EINTR) and never the
 * operation: the same bytes written again to the same open file join the request that is under way, or get the outcome
 * that nobody has got yet, once.
 */
#ifndef RFS_FS_PENDING_H
#define RFS_FS_PENDING_H

#include <fuse_lowlevel.h>

#include "handle.h"
#include "model/call.h"

struct rfs_pending;

/* A write(2) to a control file; answers req now or later. */
void rfs_pending_write(fuse_req_t req, struct rfs_handle *h, const struct rfs_caller *who, const char *data,
                       size_t len);

/* Other requests that become a call: mkdir, rmdir, a rename onto a control file. `answer` runs on the control thread
 * with the errno (0: well ended), sends the reply if req is not NULL, and need not free anything. `path` is taken
 * over. */
struct rfs_asked {
    const char *operation;
    struct rfs_text path, request; /* request: masked; data NULL: none to be shown */
    void (*answer)(struct rfs_fs *fs, fuse_req_t req, int err, const struct rfs_asked *asked);
    struct rfs_node node; /* answer()'s */
    uint64_t number;      /* answer()'s */
};
void rfs_pending_submit(fuse_req_t req, const struct rfs_caller *who, struct rfs_asked *asked,
                        struct rfs_call *call);

/* The file is being closed: nobody will read the answer. */
void rfs_pending_release(struct rfs_handle *h);

/* The kernel lets one write at a time into an inode, and a request may wait for hours: while one is under way, who
 * opens the file anew gets another inode of it (with the same st_ino). Returns the salt of a free one. */
unsigned rfs_pending_salt(struct rfs_fs *fs, struct rfs_node node);

#endif
