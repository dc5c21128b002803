/* SPDX-License-Identifier: Apache-2.0 */
#include "temp.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct temp {
    struct rfs_temp_info info;
    uint64_t parent;
    char *name; /* NULL: unlinked, alive because it is open */
    char *data; /* info.size bytes */
    unsigned opens;
    uint64_t used_ms; /* monotonic */
    struct temp *prev, *next;
};

struct rfs_temps {
    pthread_mutex_t lock; /* everything below */
    uint64_t last_id;
    unsigned count;
    struct temp *list;
};

struct rfs_temps *rfs_temps_new(void)
{
    struct rfs_temps *temps = rfs_xcalloc(1, sizeof(*temps));

    pthread_mutex_init(&temps->lock, NULL);
    return temps;
}

/* What is put in place may be a password. */
static void forget_data(struct temp *t)
{
    if (t->data)
        explicit_bzero(t->data, t->info.size);
    free(t->data);
    t->data = NULL;
}

static void destroy(struct rfs_temps *temps, struct temp *t)
{
    DL_DELETE(temps->list, t);
    temps->count--;
    forget_data(t);
    free(t->name);
    free(t);
}

void rfs_temps_free(struct rfs_temps *temps)
{
    if (!temps)
        return;
    while (temps->list)
        destroy(temps, temps->list);
    pthread_mutex_destroy(&temps->lock);
    free(temps);
}

static struct temp *by_name(struct rfs_temps *temps, uint64_t parent, const char *name)
{
    struct temp *t;

    DL_FOREACH (temps->list, t)
        if (t->parent == parent && t->name && !strcmp(t->name, name))
            return t;
    return NULL;
}

static struct temp *by_id(struct rfs_temps *temps, uint64_t id)
{
    struct temp *t;

    DL_FOREACH (temps->list, t)
        if (t->info.id == id)
            return t;
    return NULL;
}

static void unlink_temp(struct rfs_temps *temps, struct temp *t)
{
    if (!t->opens) {
        destroy(temps, t);
        return;
    }
    free(t->name);
    t->name = NULL;
    t->info.linked = false;
}

static unsigned expire(struct rfs_temps *temps, uint64_t mono_ms)
{
    struct temp *t, *tmp;
    unsigned n = 0;

    DL_FOREACH_SAFE (temps->list, t, tmp)
        if (!t->opens && mono_ms >= t->used_ms + RFS_TEMP_KEEP_MS) {
            destroy(temps, t);
            n++;
        }
    return n;
}

unsigned rfs_temps_expire(struct rfs_temps *temps, uint64_t mono_ms)
{
    unsigned n;

    pthread_mutex_lock(&temps->lock);
    n = expire(temps, mono_ms);
    pthread_mutex_unlock(&temps->lock);
    return n;
}

static struct temp *make(struct rfs_temps *temps, uint64_t parent, const char *name, uid_t uid, gid_t gid)
{
    struct temp *t = rfs_xcalloc(1, sizeof(*t));
    uint64_t now = rfs_now_ms();

    t->info = (struct rfs_temp_info){.id = ++temps->last_id,
                                     .mode = 0600,
                                     .uid = uid,
                                     .gid = gid,
                                     .atime_ms = now,
                                     .mtime_ms = now,
                                     .ctime_ms = now,
                                     .linked = true};
    t->parent = parent;
    t->name = rfs_xstrdup(name);
    t->used_ms = rfs_mono_ms();
    DL_APPEND(temps->list, t);
    temps->count++;
    return t;
}

int rfs_temps_create(struct rfs_temps *temps, uint64_t parent, const char *name, uid_t uid, gid_t gid,
                     struct rfs_temp_info *info)
{
    int rc = 0;

    if (strlen(name) > RFS_TEMP_NAME_MAX)
        return ENAMETOOLONG;
    pthread_mutex_lock(&temps->lock);
    expire(temps, rfs_mono_ms());
    if (by_name(temps, parent, name))
        rc = EEXIST;
    else if (temps->count >= RFS_TEMP_MAX_COUNT)
        rc = ENOSPC;
    else
        *info = make(temps, parent, name, uid, gid)->info;
    pthread_mutex_unlock(&temps->lock);
    return rc;
}

bool rfs_temps_find(struct rfs_temps *temps, uint64_t parent, const char *name, struct rfs_temp_info *info)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_name(temps, parent, name);
    if (t)
        *info = t->info;
    pthread_mutex_unlock(&temps->lock);
    return t != NULL;
}

bool rfs_temps_stat(struct rfs_temps *temps, uint64_t id, struct rfs_temp_info *info)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t)
        *info = t->info;
    pthread_mutex_unlock(&temps->lock);
    return t != NULL;
}

void rfs_temps_list(struct rfs_temps *temps, uint64_t parent,
                    void (*emit)(void *arg, const char *name, uint64_t id), void *arg)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    DL_FOREACH (temps->list, t)
        if (t->parent == parent && t->name)
            emit(arg, t->name, t->info.id);
    pthread_mutex_unlock(&temps->lock);
}

int rfs_temps_open(struct rfs_temps *temps, uint64_t id)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t)
        t->opens++;
    pthread_mutex_unlock(&temps->lock);
    return t ? 0 : ENOENT;
}

void rfs_temps_close(struct rfs_temps *temps, uint64_t id)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t) {
        t->opens--;
        t->used_ms = rfs_mono_ms();
        if (!t->name)
            unlink_temp(temps, t);
    }
    pthread_mutex_unlock(&temps->lock);
}

int rfs_temps_read(struct rfs_temps *temps, uint64_t id, uint64_t offset, size_t len, struct rfs_text *out)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t && offset < t->info.size) {
        size_t left = t->info.size - (size_t)offset;

        rfs_text_append(out, t->data + offset, len < left ? len : left);
        t->used_ms = rfs_mono_ms();
    }
    pthread_mutex_unlock(&temps->lock);
    return t ? 0 : ENOENT;
}

/* A new block rather than realloc(): that could leave a copy of a password behind. */
static void resize(struct temp *t, size_t size)
{
    char *data = size ? rfs_xcalloc(1, size) : NULL;
    size_t keep = size < t->info.size ? size : t->info.size;

    if (keep)
        memcpy(data, t->data, keep);
    forget_data(t);
    t->data = data;
    t->info.size = size;
}

static void touch(struct temp *t)
{
    t->info.mtime_ms = t->info.ctime_ms = rfs_now_ms();
    t->used_ms = rfs_mono_ms();
}

static int write_temp(struct temp *t, uint64_t offset, const char *data, size_t len)
{
    if (offset > RFS_TEMP_MAX_SIZE || len > RFS_TEMP_MAX_SIZE - offset)
        return EFBIG;
    if (offset + len > t->info.size)
        resize(t, (size_t)offset + len);
    if (len)
        memcpy(t->data + offset, data, len);
    touch(t);
    return 0;
}

int rfs_temps_write(struct rfs_temps *temps, uint64_t id, uint64_t offset, const char *data, size_t len,
                    bool append)
{
    struct temp *t;
    int rc = ENOENT;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t)
        rc = write_temp(t, append ? t->info.size : offset, data, len);
    pthread_mutex_unlock(&temps->lock);
    return rc;
}

int rfs_temps_truncate(struct rfs_temps *temps, uint64_t id, uint64_t size)
{
    struct temp *t;

    if (size > RFS_TEMP_MAX_SIZE)
        return EFBIG;
    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t) {
        resize(t, (size_t)size);
        touch(t);
    }
    pthread_mutex_unlock(&temps->lock);
    return t ? 0 : ENOENT;
}

static void apply(struct temp *t, const struct rfs_temp_change *c)
{
    if (c->mode)
        t->info.mode = *c->mode & 07777;
    if (c->uid)
        t->info.uid = *c->uid;
    if (c->gid)
        t->info.gid = *c->gid;
    if (c->atime_ms)
        t->info.atime_ms = *c->atime_ms;
    if (c->mtime_ms)
        t->info.mtime_ms = *c->mtime_ms;
    t->info.ctime_ms = rfs_now_ms();
    t->used_ms = rfs_mono_ms();
}

int rfs_temps_change(struct rfs_temps *temps, uint64_t id, const struct rfs_temp_change *change)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t)
        apply(t, change);
    pthread_mutex_unlock(&temps->lock);
    return t ? 0 : ENOENT;
}

int rfs_temps_unlink(struct rfs_temps *temps, uint64_t parent, const char *name)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_name(temps, parent, name);
    if (t)
        unlink_temp(temps, t);
    pthread_mutex_unlock(&temps->lock);
    return t ? 0 : ENOENT;
}

void rfs_temps_drop(struct rfs_temps *temps, uint64_t id)
{
    struct temp *t;

    pthread_mutex_lock(&temps->lock);
    t = by_id(temps, id);
    if (t)
        unlink_temp(temps, t);
    pthread_mutex_unlock(&temps->lock);
}

static int rename_temp(struct rfs_temps *temps, struct temp *t, uint64_t newparent, const char *newname,
                       bool noreplace)
{
    struct temp *other = by_name(temps, newparent, newname);

    if (other == t)
        return noreplace ? EEXIST : 0;
    if (other && noreplace)
        return EEXIST;
    if (other)
        unlink_temp(temps, other);
    free(t->name);
    t->name = rfs_xstrdup(newname);
    t->parent = newparent;
    t->info.ctime_ms = rfs_now_ms();
    t->used_ms = rfs_mono_ms();
    return 0;
}

int rfs_temps_rename(struct rfs_temps *temps, uint64_t parent, const char *name, uint64_t newparent,
                     const char *newname, bool noreplace)
{
    struct temp *t;
    int rc = ENOENT;

    if (strlen(newname) > RFS_TEMP_NAME_MAX)
        return ENAMETOOLONG;
    pthread_mutex_lock(&temps->lock);
    t = by_name(temps, parent, name);
    if (t)
        rc = rename_temp(temps, t, newparent, newname, noreplace);
    pthread_mutex_unlock(&temps->lock);
    return rc;
}
