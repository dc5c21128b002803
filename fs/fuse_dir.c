/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "fuse_ops.h"

/* What one opendir (or rewinddir) saw: entries that come or go meanwhile shift nothing. */
struct entry {
    char *name;
    struct rfs_node node;
};

struct rfs_listing {
    struct rfs_fs *fs;
    struct rfs_listing *prev, *next; /* fs->listings */
    pthread_mutex_t lock;            /* one descriptor may be read by several threads */
    bool filled;
    struct entry *entries;
    size_t count, room;
};

static void clear(struct rfs_listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->entries[i].name);
    l->count = 0;
    l->filled = false;
}

static void add(void *arg, const char *name, struct rfs_node node)
{
    struct rfs_listing *l = arg;

    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 32;
        l->entries = rfs_xrealloc(l->entries, l->room * sizeof(*l->entries));
    }
    l->entries[l->count++] = (struct entry){.name = rfs_xstrdup(name), .node = node};
}

static void add_temp(void *arg, const char *name, uint64_t id)
{
    add(arg, name, (struct rfs_node){.dir = RFS_DIR_TEMP, .number = id});
}

static void fill(struct rfs_fs *fs, struct rfs_node dir, struct rfs_listing *l)
{
    const struct rfs_dir *table = rfs_tree_dir(fs->tree, dir);

    clear(l);
    add(l, ".", dir);
    add(l, "..", rfs_tree_parent(fs->tree, dir));
    rfs_service_lock(fs->svc);
    for (size_t i = 0; i < table->count; i++) {
        struct rfs_node node = rfs_tree_row_node(fs->tree, dir, i);

        if (table->rows[i].kind != RFS_ROW_LINK || rfs_tree_exists(fs->tree, fs->svc, node))
            add(l, table->rows[i].name, node);
    }
    if (table->children)
        table->children->list(fs->svc, dir.number, add, l);
    rfs_service_unlock(fs->svc);
    rfs_temps_list(fs->temps, rfs_node_ino(dir), add_temp, l);
    l->filled = true;
}

static bool directory_there(struct rfs_fs *fs, struct rfs_node node)
{
    bool there;

    rfs_service_lock(fs->svc);
    there = rfs_tree_exists(fs->tree, fs->svc, node);
    rfs_service_unlock(fs->svc);
    return there;
}

static struct rfs_listing *make(struct rfs_fs *fs)
{
    struct rfs_listing *l = rfs_xcalloc(1, sizeof(*l));

    l->fs = fs;
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_lock(&fs->list_lock);
    DL_APPEND(fs->listings, l);
    pthread_mutex_unlock(&fs->list_lock);
    return l;
}

static void destroy(struct rfs_listing *l)
{
    pthread_mutex_lock(&l->fs->list_lock);
    DL_DELETE(l->fs->listings, l);
    pthread_mutex_unlock(&l->fs->list_lock);
    clear(l);
    pthread_mutex_destroy(&l->lock);
    free(l->entries);
    free(l);
}

void rfs_listings_free(struct rfs_fs *fs)
{
    while (fs->listings)
        destroy(fs->listings);
}

void rfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_node node = rfs_node_unpack(ino);
    struct rfs_listing *l;

    if (!rfs_tree_dir(fs->tree, node) || !directory_there(fs, node)) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    l = make(fs);
    fi->fh = (uintptr_t)l;
    if (fuse_reply_open(req, fi))
        destroy(l);
}

static size_t put_plain(fuse_req_t req, char *buf, size_t room, struct rfs_fs *fs, const struct entry *e,
                        off_t next)
{
    struct stat st = {.st_ino = rfs_node_ino(e->node), .st_mode = rfs_node_type(fs, e->node)};

    return fuse_add_direntry(req, buf, room, e->name, &st, next);
}

/* An entry without an inode is a name only, as for the dots and what has gone since. */
static size_t put_plus(fuse_req_t req, char *buf, size_t room, struct rfs_fs *fs, const struct entry *e,
                       off_t next)
{
    struct fuse_entry_param param = {0};
    bool dots = !strcmp(e->name, ".") || !strcmp(e->name, "..");

    if (dots || rfs_node_entry(fs, e->node, &param)) {
        param = (struct fuse_entry_param){0};
        param.attr.st_ino = rfs_node_ino(e->node);
        param.attr.st_mode = rfs_node_type(fs, e->node);
    }
    return fuse_add_direntry_plus(req, buf, room, e->name, &param, next);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
                 size_t (*put)(fuse_req_t req, char *buf, size_t room, struct rfs_fs *fs,
                               const struct entry *e, off_t next))
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_listing *l = (struct rfs_listing *)(uintptr_t)fi->fh;
    char *buf = rfs_xmalloc(size);
    size_t used = 0;

    pthread_mutex_lock(&l->lock);
    if (!off || !l->filled)
        fill(fs, rfs_node_unpack(ino), l);
    for (size_t i = (size_t)off; i < l->count; i++) {
        size_t n = put(req, buf + used, size - used, fs, &l->entries[i], (off_t)i + 1);

        if (n > size - used)
            break;
        used += n;
    }
    pthread_mutex_unlock(&l->lock);
    fuse_reply_buf(req, buf, used);
    free(buf);
}

void rfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    list(req, ino, size, off, fi, put_plain);
}

void rfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    list(req, ino, size, off, fi, put_plus);
}

void rfs_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    destroy((struct rfs_listing *)(uintptr_t)fi->fh);
    fuse_reply_err(req, 0);
}

void rfs_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    fuse_reply_err(req, 0);
}
