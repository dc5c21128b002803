/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ask.h"
#include "fuse_ops.h"
#include "handle.h"
#include "model/events.h"
#include "pending.h"
#include "render.h"

#define ROW_TIMEOUT    60.0 /* names of a table never change */
#define OBJECT_TIMEOUT 1.0  /* removal is told to the kernel as well; this bounds what can be missed */
#define FOLDER_TIMEOUT 1.0 /* attributes: the kernel asks for those of every folder on a path, file by file */
#define NAME_BYTES     255

struct rfs_fs *rfs_req_fs(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

struct rfs_caller rfs_req_caller(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    pid_t sid = ctx->pid > 0 ? getsid(ctx->pid) : 0;

    return (struct rfs_caller){.uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid, .sid = sid > 0 ? sid : 0};
}

static void note(fuse_req_t req, const char *operation, struct rfs_node node, const char *name,
                 const struct rfs_error *err)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_text path = RFS_TEXT_INIT;

    rfs_ask_path(fs, node, name, &path);
    rfs_ask_note(fs, &who,
                 &(struct rfs_outcome){
                     .operation = operation, .path = path.data, .rv = err ? err->rv : RFS_RV_OK, .err = err});
    rfs_text_free(&path);
}

void rfs_refuse(fuse_req_t req, const char *operation, struct rfs_node node, const char *name,
                const struct rfs_error *err)
{
    note(req, operation, node, name, err);
    fuse_reply_err(req, err->err);
}

void rfs_allow(fuse_req_t req, const char *operation, struct rfs_node node, const char *name)
{
    note(req, operation, node, name, NULL);
}

mode_t rfs_node_type(struct rfs_fs *fs, struct rfs_node node)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);

    if (node.dir == RFS_DIR_TEMP)
        return S_IFREG;
    if (!node.row)
        return S_IFDIR;
    return row && row->kind != RFS_ROW_LINK ? S_IFREG : S_IFLNK;
}

static struct timespec at(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

static int stat_temp(struct rfs_fs *fs, struct rfs_node node, struct stat *st)
{
    struct rfs_temp_info info;

    if (!rfs_temps_stat(fs->temps, node.number, &info))
        return ENOENT;
    *st = (struct stat){.st_ino = rfs_node_ino(node),
                        .st_mode = S_IFREG | info.mode,
                        .st_nlink = info.linked,
                        .st_uid = info.uid,
                        .st_gid = info.gid,
                        .st_size = (off_t)info.size,
                        .st_blksize = 4096,
                        .st_blocks = (blkcnt_t)((info.size + 511) / 512),
                        .st_atim = at(info.atime_ms),
                        .st_mtim = at(info.mtime_ms),
                        .st_ctim = at(info.ctime_ms)};
    return 0;
}

/* Documents without an object: README and version are as old as the daemon, the others as the last change. */
static uint64_t changed_of(struct rfs_fs *fs, const struct rfs_row *row, uint64_t object_ms)
{
    if (object_ms)
        return object_ms;
    if (row && row->kind == RFS_ROW_EVENTS)
        return atomic_load(&fs->event_ms);
    if (row && (row->document == rfs_render_status || row->document == rfs_render_status_json))
        return atomic_load(&fs->changed_ms);
    return row ? fs->started_ms : atomic_load(&fs->changed_ms);
}

static mode_t mode_of(struct rfs_fs *fs, struct rfs_node node, const struct rfs_row *row)
{
    mode_t type = rfs_node_type(fs, node);

    if (type == S_IFLNK)
        return S_IFLNK | 0777;
    return type | ((type == S_IFDIR ? 0755 : row->mode) & ~fs->umask);
}

/* Everything but the size. */
static int stat_node(struct rfs_fs *fs, struct rfs_node node, struct stat *st)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);
    uint64_t changed;
    bool there;

    if (node.dir == RFS_DIR_TEMP)
        return stat_temp(fs, node, st);
    rfs_service_lock(fs->svc);
    there = rfs_tree_exists(fs->tree, fs->svc, node);
    changed = there ? rfs_tree_changed(fs->tree, fs->svc, node) : 0;
    rfs_service_unlock(fs->svc);
    if (!there)
        return ENOENT;
    changed = changed_of(fs, row, changed);
    *st = (struct stat){.st_ino = rfs_node_ino(node),
                        .st_mode = mode_of(fs, node, row),
                        .st_nlink = 1, /* of a directory: its subdirectories are not counted */
                        .st_uid = fs->uid,
                        .st_gid = fs->gid,
                        .st_blksize = 4096,
                        .st_atim = at(changed),
                        .st_mtim = at(changed),
                        .st_ctim = at(changed)};
    return 0;
}

static int link_text(struct rfs_fs *fs, struct rfs_node node, struct rfs_text *out)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);
    const void *object;
    bool there = false;

    rfs_service_lock(fs->svc);
    object = rfs_tree_object(fs->tree, fs->svc, node);
    if (row && row->link)
        there = object && row->link(fs->svc, object, out);
    else if (!row && node.row && node.dir < RFS_DIR_COUNT && fs->tree->dirs[node.dir].children &&
             fs->tree->dirs[node.dir].children->link)
        there = fs->tree->dirs[node.dir].children->link(fs->svc, node, out);
    rfs_service_unlock(fs->svc);
    return there ? 0 : ENOENT;
}

static int size_of(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who, uint64_t *size)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);
    struct rfs_text text = RFS_TEXT_INIT;
    int rc;

    *size = 0;
    if (!node.row)
        return 0;
    if (!row || row->kind == RFS_ROW_LINK) {
        rc = link_text(fs, node, &text);
        *size = text.len;
        rfs_text_free(&text);
        return rc;
    }
    if (row->kind == RFS_ROW_EVENTS) {
        *size = rfs_events_size(fs->svc->events);
        return 0;
    }
    return rfs_render_size(fs, node, who, size);
}

int rfs_node_stat(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who, struct stat *st)
{
    uint64_t size;
    int rc = stat_node(fs, node, st);

    if (rc || node.dir == RFS_DIR_TEMP)
        return rc;
    rc = size_of(fs, node, who, &size);
    st->st_size = (off_t)size;
    st->st_blocks = st->st_mode & 0444 ? (blkcnt_t)((size + 511) / 512) : 0;
    return rc;
}

static double entry_timeout(struct rfs_fs *fs, struct rfs_node node, const struct rfs_row *row)
{
    if (node.dir == RFS_DIR_TEMP)
        return 0;
    if (!node.row)
        return fs->tree->dirs[node.dir].object > RFS_KIND_SERVICE ? OBJECT_TIMEOUT : ROW_TIMEOUT;
    /* Who opens a control file asks anew which inode is free to write to. */
    if (!row || row->kind == RFS_ROW_LINK || rfs_row_writable(row))
        return 0;
    return ROW_TIMEOUT;
}

/* Sizes and times of files are asked for each time. */
static double attr_timeout(struct rfs_node node)
{
    return node.row || node.dir == RFS_DIR_TEMP ? 0 : FOLDER_TIMEOUT;
}

int rfs_node_entry(struct rfs_fs *fs, struct rfs_node node, struct fuse_entry_param *e)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);
    int rc;

    if (row && rfs_row_writable(row))
        node.salt = rfs_pending_salt(fs, node);
    *e = (struct fuse_entry_param){.ino = rfs_node_pack(node), .generation = 1};
    rc = stat_node(fs, node, &e->attr);
    if (rc)
        return rc;
    e->entry_timeout = entry_timeout(fs, node, row);
    e->attr_timeout = attr_timeout(node);
    if (row && rfs_row_writable(row))
        e->attr.st_size = RFS_ROOMY;
    return 0;
}

int rfs_node_lookup(struct rfs_fs *fs, struct rfs_node dir, const char *name, struct rfs_node *node)
{
    const struct rfs_dir *table = rfs_tree_dir(fs->tree, dir);
    struct rfs_temp_info info;
    bool found;

    /* A longer name is simply not there, so that making it can say what is wrong with it. */
    if (!table || strlen(name) > NAME_BYTES)
        return ENOENT;
    if (rfs_tree_find(fs->tree, dir, name, node))
        return 0;
    if (table->children) {
        rfs_service_lock(fs->svc);
        found = table->children->find(fs->svc, dir.number, name, node);
        rfs_service_unlock(fs->svc);
        if (found)
            return 0;
    }
    if (!rfs_temps_find(fs->temps, rfs_node_ino(dir), name, &info))
        return ENOENT;
    *node = (struct rfs_node){.dir = RFS_DIR_TEMP, .number = info.id};
    return 0;
}

void rfs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct fuse_entry_param e;
    struct rfs_node node;
    int rc = rfs_node_lookup(fs, rfs_node_unpack(parent), name, &node);

    if (!rc)
        rc = rfs_node_entry(fs, node, &e);
    if (rc)
        fuse_reply_err(req, rc);
    else
        fuse_reply_entry(req, &e);
}

void rfs_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct rfs_caller who = rfs_req_caller(req);
    struct stat st;
    struct rfs_node node = rfs_node_unpack(ino);
    int rc = rfs_node_stat(rfs_req_fs(req), node, &who, &st);

    if (rc)
        fuse_reply_err(req, rc);
    else
        fuse_reply_attr(req, &st, attr_timeout(node));
}

/* --- setattr --- */

static uint64_t wanted_ms(const struct timespec *t, bool now)
{
    return now ? rfs_now_ms() : (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_nsec / 1000000;
}

static int set_temp(struct rfs_fs *fs, uint64_t id, const struct stat *attr, int to_set)
{
    uint64_t atime = wanted_ms(&attr->st_atim, to_set & FUSE_SET_ATTR_ATIME_NOW);
    uint64_t mtime = wanted_ms(&attr->st_mtim, to_set & FUSE_SET_ATTR_MTIME_NOW);
    struct rfs_temp_change change = {
        .mode = to_set & FUSE_SET_ATTR_MODE ? &attr->st_mode : NULL,
        .uid = to_set & FUSE_SET_ATTR_UID ? &attr->st_uid : NULL,
        .gid = to_set & FUSE_SET_ATTR_GID ? &attr->st_gid : NULL,
        .atime_ms = to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW) ? &atime : NULL,
        .mtime_ms = to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW) ? &mtime : NULL,
    };
    int rc = to_set & FUSE_SET_ATTR_SIZE ? rfs_temps_truncate(fs->temps, id, (uint64_t)attr->st_size) : 0;

    return rc ? rc : rfs_temps_change(fs->temps, id, &change);
}

static int check_owner(const struct stat *now, const struct stat *attr, int to_set, struct rfs_error *err)
{
    if ((to_set & FUSE_SET_ATTR_MODE) && (attr->st_mode & 07777) != (now->st_mode & 07777))
        return rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM,
                              "the mode is fixed: %04o, not %04o; see -o umask=",
                              (unsigned)now->st_mode & 07777, (unsigned)attr->st_mode & 07777);
    if (((to_set & FUSE_SET_ATTR_UID) && attr->st_uid != now->st_uid) ||
        ((to_set & FUSE_SET_ATTR_GID) && attr->st_gid != now->st_gid))
        return rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM,
                              "the owner is fixed: uid %u, gid %u; mount with -o uid=,gid= to have another",
                              (unsigned)now->st_uid, (unsigned)now->st_gid);
    return 0;
}

/* Programs that write in place cut the file to what they have written (rsync --inplace): through the same open file
 * that changes nothing. */
static int check_size(struct rfs_fs *fs, struct rfs_node node, const struct stat *attr,
                      const struct rfs_handle *h, struct rfs_error *err)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);

    if (!row || !rfs_row_writable(row))
        return rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EACCES,
                              "the file is read-only: it takes no requests");
    if (attr->st_size && !(h && (size_t)attr->st_size == atomic_load(&h->written)))
        return rfs_fail(
            err, RFS_RV_INVALID_PARAMETER,
            "a control file has no size to be set; truncation to 0 is allowed and changes nothing");
    return 0;
}

static void set_node(fuse_req_t req, struct rfs_node node, const struct stat *attr, int to_set,
                     const struct rfs_handle *h)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_error err;
    struct stat st;
    int rc = rfs_node_stat(fs, node, &who, &st);

    if (rc) {
        fuse_reply_err(req, rc);
    } else if (check_owner(&st, attr, to_set, &err)) {
        rfs_refuse(req, "setattr", node, NULL, &err);
    } else if ((to_set & FUSE_SET_ATTR_SIZE) && check_size(fs, node, attr, h, &err)) {
        rfs_refuse(req, "truncate", node, NULL, &err);
    } else {
        if (to_set & FUSE_SET_ATTR_SIZE)
            st.st_size = RFS_ROOMY;
        fuse_reply_attr(req, &st, 0);
    }
}

void rfs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_node node = rfs_node_unpack(ino);
    struct rfs_error err;
    struct stat st;
    int rc;

    if (node.dir != RFS_DIR_TEMP) {
        set_node(req, node, attr, to_set, fi ? (const struct rfs_handle *)(uintptr_t)fi->fh : NULL);
        return;
    }
    rc = set_temp(fs, node.number, attr, to_set);
    if (rc == EFBIG) {
        rfs_fail_errno(&err, RFS_RV_NO_RESOURCES, EFBIG, "a temporary file holds at most %u bytes",
                       RFS_TEMP_MAX_SIZE);
        rfs_refuse(req, "truncate", node, NULL, &err);
    } else if (rc || (rc = stat_temp(fs, node, &st))) {
        fuse_reply_err(req, rc);
    } else {
        fuse_reply_attr(req, &st, 0);
    }
}

void rfs_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct rfs_text text = RFS_TEXT_INIT;
    int rc = link_text(rfs_req_fs(req), rfs_node_unpack(ino), &text);

    if (rc)
        fuse_reply_err(req, rc);
    else
        fuse_reply_readlink(req, text.data);
    rfs_text_free(&text);
}

/* Nothing that could fill up is counted here, and asking touches nothing. */
void rfs_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_BYTES};

    fuse_reply_statfs(req, &st);
}
