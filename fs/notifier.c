/* SPDX-License-Identifier: Apache-2.0 */
#include "notifier.h"

#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#define SWEEP_SECONDS 5

struct note {
    enum rfs_kind kind; /* 0: the events */
    uint64_t number;
    char *name; /* of the entry that is gone, or NULL */
    struct note *next;
};

struct rfs_notifier {
    struct rfs_fs *fs;
    struct fuse_session *se; /* set before there is a thread */
    pthread_mutex_t lock;    /* from here, and `poll` of the handles; fs->list_lock is taken inside */
    pthread_cond_t wake;
    pthread_t thread;
    bool started; /* there is a thread to be joined */
    bool running;
    unsigned armed;
    struct note *notes, *last;
};

struct rfs_notifier *rfs_notifier_new(struct rfs_fs *fs)
{
    struct rfs_notifier *n = rfs_xcalloc(1, sizeof(*n));
    pthread_condattr_t attr;

    n->fs = fs;
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->wake, &attr);
    pthread_condattr_destroy(&attr);
    return n;
}

static void free_note(struct note *note)
{
    free(note->name);
    free(note);
}

void rfs_notifier_free(struct rfs_notifier *n)
{
    struct note *note;

    if (!n)
        return;
    while ((note = n->notes)) {
        n->notes = note->next;
        free_note(note);
    }
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static enum rfs_dir_id folder_of(enum rfs_kind kind)
{
    switch (kind) {
    case RFS_KIND_ELEMENT:
        return RFS_DIR_ELEMENTS;
    case RFS_KIND_RELATIONSHIP:
        return RFS_DIR_RELATIONSHIPS;
    case RFS_KIND_JOB:
        return RFS_DIR_JOBS;
    case RFS_KIND_SERVICE:
        break;
    }
    return RFS_DIR_NONE;
}

static bool concerns(const struct rfs_notifier *n, const struct rfs_handle *h, const struct note *note)
{
    if (!note->kind)
        return h->row->kind == RFS_ROW_EVENTS;
    return h->node.number == note->number && n->fs->tree->dirs[h->node.dir].object == note->kind;
}

/* Takes the poll handles of those files that the note concerns. All at once: a poller that is woken for nothing comes
 * straight back, and must not be met again in the same round. */
static size_t take_polls(struct rfs_notifier *n, const struct note *note, struct fuse_pollhandle ***out)
{
    struct rfs_handle *h;
    size_t count = 0;

    pthread_mutex_lock(&n->lock);
    *out = rfs_xcalloc(n->armed + 1, sizeof(**out));
    pthread_mutex_lock(&n->fs->list_lock);
    for (h = n->armed ? n->fs->handles : NULL; h; h = h->next)
        if (h->poll && concerns(n, h, note)) {
            (*out)[count++] = h->poll;
            h->poll = NULL;
            n->armed--;
        }
    pthread_mutex_unlock(&n->fs->list_lock);
    pthread_mutex_unlock(&n->lock);
    return count;
}

static void tell(struct rfs_notifier *n, const struct note *note)
{
    struct fuse_pollhandle **polls;
    enum rfs_dir_id folder = folder_of(note->kind);
    size_t count;

    if (note->name && folder)
        fuse_lowlevel_notify_inval_entry(n->se, rfs_node_pack((struct rfs_node){.dir = folder}), note->name,
                                         strlen(note->name));
    count = take_polls(n, note, &polls);
    for (size_t i = 0; i < count; i++) {
        fuse_lowlevel_notify_poll(polls[i]);
        fuse_pollhandle_destroy(polls[i]);
    }
    free(polls);
}

/* The next note, or NULL when it is time for a sweep or for the end. Lock held. */
static struct note *await(struct rfs_notifier *n)
{
    struct timespec until;
    struct note *note;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SWEEP_SECONDS;
    while (n->running && !n->notes)
        if (pthread_cond_timedwait(&n->wake, &n->lock, &until))
            break;
    note = n->running ? n->notes : NULL;
    if (note) {
        n->notes = note->next;
        if (!n->notes)
            n->last = NULL;
    }
    return note;
}

static void *run(void *arg)
{
    struct rfs_notifier *n = arg;
    struct note *note;
    bool running;

    do {
        pthread_mutex_lock(&n->lock);
        note = await(n);
        running = n->running;
        pthread_mutex_unlock(&n->lock);
        if (note) {
            tell(n, note);
            free_note(note);
        } else {
            rfs_temps_expire(n->fs->temps, rfs_mono_ms());
        }
    } while (running);
    return NULL;
}

/* The lock is held over the making: the thread begins by taking it, so that it, stop() and those who add notes see
 * either none of this or all of it. */
int rfs_notifier_start(struct rfs_notifier *n, struct fuse_session *se)
{
    int rc;

    pthread_mutex_lock(&n->lock);
    n->se = se;
    n->running = true;
    rc = pthread_create(&n->thread, NULL, run, n);
    if (rc)
        n->running = false;
    else
        pthread_setname_np(n->thread, "rfs-notifier");
    n->started = !rc;
    pthread_mutex_unlock(&n->lock);
    return rc;
}

/* True: the thread was told to end, and is the caller's to join. */
static bool end(struct rfs_notifier *n, pthread_t *thread)
{
    bool started;

    pthread_mutex_lock(&n->lock);
    started = n->started;
    *thread = n->thread;
    n->started = n->running = false;
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->lock);
    return started;
}

void rfs_notifier_stop(struct rfs_notifier *n)
{
    struct rfs_handle *h;
    pthread_t thread;

    if (!end(n, &thread))
        return;
    pthread_join(thread, NULL);
    DL_FOREACH (n->fs->handles, h)
        rfs_notifier_arm(n, h, NULL);
}

static void add(struct rfs_notifier *n, enum rfs_kind kind, uint64_t number, const char *name)
{
    struct note *note;

    pthread_mutex_lock(&n->lock);
    if (n->running && (name || n->armed)) {
        note = rfs_xcalloc(1, sizeof(*note));
        *note = (struct note){.kind = kind, .number = number, .name = rfs_xstrdup(name)};
        *(n->last ? &n->last->next : &n->notes) = note;
        n->last = note;
        pthread_cond_signal(&n->wake);
    }
    pthread_mutex_unlock(&n->lock);
}

void rfs_notifier_changed(struct rfs_notifier *n, enum rfs_kind kind, uint64_t number, const char *name,
                          bool removed)
{
    add(n, kind, number, removed ? name : NULL);
}

void rfs_notifier_event(struct rfs_notifier *n)
{
    add(n, 0, 0, NULL);
}

void rfs_notifier_arm(struct rfs_notifier *n, struct rfs_handle *h, struct fuse_pollhandle *ph)
{
    struct fuse_pollhandle *old;

    pthread_mutex_lock(&n->lock);
    old = h->poll;
    h->poll = ph;
    n->armed += (ph != NULL);
    n->armed -= (old != NULL);
    pthread_mutex_unlock(&n->lock);
    if (old)
        fuse_pollhandle_destroy(old);
}
