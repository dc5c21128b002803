/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that tells the kernel what changed behind its back: entries that are gone, files that pollers wait for.
 * The kernel may hold such a call up until a request of a FUSE thread is answered, so it is made from no other thread
 * and with no lock held. Now and then it also drops old temporary files.
 */
#ifndef RFS_FS_NOTIFIER_H
#define RFS_FS_NOTIFIER_H

#include "handle.h"

struct fuse_session;
struct fuse_pollhandle;

struct rfs_notifier *rfs_notifier_new(struct rfs_fs *fs);
void rfs_notifier_free(struct rfs_notifier *n);

/* From mount to the end of the session; what happens outside is of no interest to the kernel. stop() only once the
 * connection has been aborted or unmounted: the kernel may hold the thread up until then. */
int rfs_notifier_start(struct rfs_notifier *n, struct fuse_session *se);
void rfs_notifier_stop(struct rfs_notifier *n);

/* Any thread. */
void rfs_notifier_changed(struct rfs_notifier *n, enum rfs_kind kind, uint64_t number, const char *name,
                          bool removed);
void rfs_notifier_event(struct rfs_notifier *n);

/* Takes `ph` over: it is notified once at the next change; NULL takes it away. */
void rfs_notifier_arm(struct rfs_notifier *n, struct rfs_handle *h, struct fuse_pollhandle *ph);

#endif
