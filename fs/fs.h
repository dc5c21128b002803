/* SPDX-License-Identifier: Apache-2.0
 *
 * What the file system's parts share: one object, made before the service and freed after it.
 *
 * Threads: FUSE threads run the operations; the control thread brings answers and changes (rfs_pending, the observer);
 * the notifier thread talks to the kernel where that may block. Locks, in the order in which they may nest:
 * handle, pending; cache, service, temps; each of the others alone.
 */
#ifndef RFS_FS_FS_H
#define RFS_FS_FS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/log.h"
#include "model/model.h"
#include "status_book.h"
#include "temp.h"
#include "tree.h"

struct rfs_handle;
struct rfs_pending;
struct rfs_listing;
struct rfs_notifier;

/* A document that costs something, kept while nothing has changed, at most a second. */
struct rfs_cache {
    pthread_mutex_t lock; /* held while rendering too: others wait for that one rendering */
    bool valid;
    uint64_t generation, made_ms;
    struct rfs_text text;
};

struct rfs_fs {
    struct rfs_service *svc; /* set once, before the first FUSE operation */
    struct rfs_log *log;
    struct rfs_tree *tree;
    struct rfs_temps *temps;
    struct rfs_book *book;
    struct rfs_notifier *notifier;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    uint64_t started_ms;
    _Atomic uint64_t changed_ms, event_ms; /* wall clock of the last change and event */
    struct rfs_cache json;

    pthread_mutex_t list_lock; /* the lists; a leaf */
    struct rfs_handle *handles;
    struct rfs_listing *listings; /* open directories */
    struct rfs_pending *pendings; /* requests that have not been answered by the service */
    _Atomic unsigned pending_count;
};

struct rfs_fs *rfs_fs_new(struct rfs_log *log, uid_t uid, gid_t gid, mode_t umask);
/* After the service has stopped and the session has ended: frees what the kernel did not come back to release. */
void rfs_fs_free(struct rfs_fs *fs);

void rfs_listings_free(struct rfs_fs *fs); /* fuse_dir.c's part of it */

/* For rfs_service_options. */
struct rfs_observer rfs_fs_observer(struct rfs_fs *fs);

#endif
