/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include <stdlib.h>
#include <utlist.h>

#include "handle.h"
#include "notifier.h"

struct rfs_fs *rfs_fs_new(struct rfs_log *log, uid_t uid, gid_t gid, mode_t umask)
{
    struct rfs_fs *fs = rfs_xcalloc(1, sizeof(*fs));

    fs->log = log;
    fs->uid = uid;
    fs->gid = gid;
    fs->umask = umask;
    fs->started_ms = rfs_now_ms();
    atomic_init(&fs->changed_ms, fs->started_ms);
    atomic_init(&fs->event_ms, fs->started_ms);
    pthread_mutex_init(&fs->list_lock, NULL);
    pthread_mutex_init(&fs->json.lock, NULL);
    fs->tree = rfs_tree_new();
    fs->temps = rfs_temps_new();
    fs->book = rfs_book_new();
    fs->notifier = rfs_notifier_new(fs);
    return fs;
}

void rfs_fs_free(struct rfs_fs *fs)
{
    struct rfs_handle *h, *tmp;

    if (!fs)
        return;
    DL_FOREACH_SAFE (fs->handles, h, tmp)
        rfs_handle_unref(h);
    rfs_listings_free(fs);
    rfs_notifier_free(fs->notifier);
    rfs_book_free(fs->book);
    rfs_temps_free(fs->temps);
    rfs_tree_free(fs->tree);
    rfs_text_free(&fs->json.text);
    pthread_mutex_destroy(&fs->json.lock);
    pthread_mutex_destroy(&fs->list_lock);
    free(fs);
}

static void on_changed(void *arg, enum rfs_kind kind, uint64_t number, const char *name, bool removed)
{
    struct rfs_fs *fs = arg;

    atomic_store(&fs->changed_ms, rfs_now_ms());
    rfs_notifier_changed(fs->notifier, kind, number, name, removed);
}

static void on_event(void *arg)
{
    struct rfs_fs *fs = arg;

    atomic_store(&fs->event_ms, rfs_now_ms());
    rfs_notifier_event(fs->notifier);
}

struct rfs_observer rfs_fs_observer(struct rfs_fs *fs)
{
    return (struct rfs_observer){.changed = on_changed, .event = on_event, .arg = fs};
}
