/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ask.h"
#include "fuse_ops.h"
#include "new_name.h"
#include "pending.h"

static int not_allowed(struct rfs_error *err, const char *why)
{
    return rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM, "%s", why);
}

static struct rfs_asked asked_for(struct rfs_fs *fs, const char *operation, struct rfs_node dir,
                                  const char *name)
{
    struct rfs_asked asked = {.operation = operation, .node = dir};

    rfs_ask_path(fs, dir, name, &asked.path);
    return asked;
}

/* --- mkdir, rmdir --- */

/* Control thread, no lock held. */
static void answer_mkdir(struct rfs_fs *fs, fuse_req_t req, int err, const struct rfs_asked *asked)
{
    const char *name = strrchr(asked->path.data, '/');
    struct fuse_entry_param e;
    struct rfs_node node;

    if (!req)
        return;
    if (!err)
        err = rfs_node_lookup(fs, asked->node, name ? name + 1 : asked->path.data, &node);
    if (!err)
        err = rfs_node_entry(fs, node, &e);
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_entry(req, &e);
}

static int check_mkdir(struct rfs_fs *fs, struct rfs_node parent, const struct rfs_dir *dir, const char *name,
                       struct rfs_error *err)
{
    struct rfs_node there;

    if (!dir->children || !dir->children->create)
        return not_allowed(err, dir->children ? dir->children->no_create : "no folders can be made here");
    if (rfs_name_check("element", name, err))
        return -1;
    if (!rfs_node_lookup(fs, parent, name, &there))
        return rfs_fail_errno(err, RFS_RV_IN_USE, EEXIST, "%s/%s exists", dir->path, name);
    return 0;
}

void rfs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_node node = rfs_node_unpack(parent);
    const struct rfs_dir *dir = rfs_tree_dir(fs->tree, node);
    struct rfs_asked asked;
    struct rfs_call *call;
    struct rfs_error err;

    if (!dir) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    if (check_mkdir(fs, node, dir, name, &err)) {
        rfs_refuse(req, "mkdir", node, name, &err);
        return;
    }
    asked = asked_for(fs, "mkdir", node, name);
    asked.answer = answer_mkdir;
    call = rfs_call_new(fs->svc, dir->children->create);
    call->value = rfs_xstrdup(name);
    rfs_pending_submit(req, &who, &asked, call);
}

static void answer_plain(struct rfs_fs *fs, fuse_req_t req, int err, const struct rfs_asked *asked)
{
    if (req)
        fuse_reply_err(req, err);
}

static int check_rmdir(struct rfs_fs *fs, struct rfs_node parent, const struct rfs_dir *dir, const char *name,
                       struct rfs_node *node, struct rfs_error *err)
{
    if (rfs_node_lookup(fs, parent, name, node))
        return rfs_fail(err, RFS_RV_NOT_FOUND, "there is no such folder");
    if (rfs_node_type(fs, *node) != S_IFDIR)
        return rfs_fail_errno(err, RFS_RV_INVALID_PARAMETER, ENOTDIR, "this is no folder");
    if (!dir->children || !dir->children->remove)
        return not_allowed(err, dir->children ? dir->children->no_remove
                                              : "this folder is a fixed part of the tree");
    return 0;
}

void rfs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_node dir_node = rfs_node_unpack(parent), node;
    const struct rfs_dir *dir = rfs_tree_dir(fs->tree, dir_node);
    struct rfs_asked asked;
    struct rfs_call *call;
    struct rfs_error err;

    if (!dir) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    if (check_rmdir(fs, dir_node, dir, name, &node, &err)) {
        rfs_refuse(req, "rmdir", dir_node, name, &err);
        return;
    }
    asked = asked_for(fs, "rmdir", dir_node, name);
    asked.answer = answer_plain;
    call = rfs_call_new(fs->svc, dir->children->remove);
    call->object = node.number;
    rfs_pending_submit(req, &who, &asked, call);
}

/* --- temporary files --- */

static int make_temp(fuse_req_t req, struct rfs_node dir, const char *name, bool exclusive,
                     struct fuse_entry_param *e, struct rfs_node *node, struct rfs_error *err)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct rfs_temp_info info;
    struct rfs_node there;
    int rc;

    if (!rfs_tree_dir(fs->tree, dir))
        return rfs_fail(err, RFS_RV_NOT_FOUND, "there is no such folder");
    if (!rfs_node_lookup(fs, dir, name, &there))
        return rfs_fail_errno(err, RFS_RV_IN_USE, EEXIST, "the name is taken");
    if (strlen(name) <= RFS_TEMP_NAME_MAX && rfs_new_name_check(fs, dir, name, exclusive, err))
        return -1;
    rc = rfs_temps_create(fs->temps, rfs_node_ino(dir), name, ctx->uid, ctx->gid, &info);
    if (rc == ENAMETOOLONG)
        return rfs_fail_errno(err, RFS_RV_INVALID_PARAMETER, rc, "the name has more than %u bytes",
                              RFS_TEMP_NAME_MAX);
    if (rc == ENOSPC)
        return rfs_fail_errno(err, RFS_RV_NO_RESOURCES, rc,
                              "there are %u temporary files already; each goes %u s after its last use",
                              RFS_TEMP_MAX_COUNT, RFS_TEMP_KEEP_MS / 1000);
    if (rc)
        return rfs_fail_errno(err, RFS_RV_IN_USE, rc, "the name is taken");
    *node = (struct rfs_node){.dir = RFS_DIR_TEMP, .number = info.id};
    rc = rfs_node_entry(fs, *node, e);
    return rc ? rfs_fail(err, RFS_RV_NOT_FOUND, "the file is gone again") : 0;
}

void rfs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct rfs_node dir = rfs_node_unpack(parent), node;
    struct fuse_entry_param e;
    struct rfs_error err;
    int rc = (mode & S_IFMT) == S_IFREG
                 ? make_temp(req, dir, name, true, &e, &node, &err) /* mknod(2) knows no other way */
                 : not_allowed(&err, "only regular (temporary) files can be made here");

    if (rc) {
        rfs_refuse(req, "create", dir, name, &err);
        return;
    }
    rfs_allow(req, "create", dir, name);
    fuse_reply_entry(req, &e);
}

void rfs_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *fi)
{
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_node dir = rfs_node_unpack(parent), node;
    struct rfs_handle *h = NULL;
    struct fuse_entry_param e;
    struct rfs_error err;
    int rc = make_temp(req, dir, name, fi->flags & O_EXCL, &e, &node, &err);

    if (!rc && rfs_handle_open(rfs_req_fs(req), node, fi->flags, &who, &h))
        rc = rfs_fail(&err, RFS_RV_NOT_FOUND, "the file is gone again");
    if (rc) {
        rfs_refuse(req, "create", dir, name, &err);
        return;
    }
    rfs_allow(req, "create", dir, name);
    fi->fh = (uintptr_t)h;
    fi->direct_io = 1;
    fi->noflush = 1;
    if (fuse_reply_create(req, &e, fi))
        rfs_handle_unref(h);
}

static bool is_temp(struct rfs_fs *fs, struct rfs_node dir, const char *name, struct rfs_node *node)
{
    return !rfs_node_lookup(fs, dir, name, node) && node->dir == RFS_DIR_TEMP;
}

void rfs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_node dir = rfs_node_unpack(parent), node;
    struct rfs_error err;

    if (is_temp(fs, dir, name, &node) && !rfs_temps_unlink(fs->temps, rfs_node_ino(dir), name)) {
        rfs_allow(req, "unlink", dir, name);
        fuse_reply_err(req, 0);
        return;
    }
    not_allowed(
        &err, "this is a fixed part of the tree; only temporary files can be removed. rmdir removes elements "
              "and finished jobs, Detach a relationship");
    rfs_refuse(req, "unlink", dir, name, &err);
}

void rfs_op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
    struct rfs_error err;

    not_allowed(&err, "symbolic links cannot be made here");
    rfs_refuse(req, "symlink", rfs_node_unpack(parent), name, &err);
}

void rfs_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    struct rfs_error err;

    not_allowed(&err, "hard links cannot be made here; copy or rename a temporary file instead");
    rfs_refuse(req, "link", rfs_node_unpack(newparent), newname, &err);
}

/* --- rename --- */

struct renaming {
    struct rfs_node from_dir, to_dir, from, to;
    const char *name, *newname;
    bool noreplace, to_exists;
};

static int check_rename(struct rfs_fs *fs, struct renaming *r, unsigned flags, struct rfs_error *err)
{
    const struct rfs_row *row;

    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "names cannot be exchanged here");
    if (!is_temp(fs, r->from_dir, r->name, &r->from))
        return not_allowed(err, "only temporary files can be renamed; this is a fixed part of the tree");
    if (!rfs_tree_dir(fs->tree, r->to_dir))
        return rfs_fail(err, RFS_RV_NOT_FOUND, "there is no such folder");
    r->to_exists = !rfs_node_lookup(fs, r->to_dir, r->newname, &r->to);
    /* A rename puts a request in place: what was meant for a file that is not there must not vanish. */
    if (!r->to_exists && strlen(r->newname) <= RFS_TEMP_NAME_MAX)
        return rfs_new_name_check(fs, r->to_dir, r->newname, false, err);
    if (!r->to_exists || r->to.dir == RFS_DIR_TEMP)
        return 0;
    if (r->noreplace)
        return rfs_fail_errno(err, RFS_RV_IN_USE, EEXIST, "the new name exists, and is not to be replaced");
    row = rfs_tree_row(fs->tree, r->to);
    if (!row || !rfs_row_writable(row))
        return not_allowed(err, "the new name takes no requests: it is read-only, a link or a folder");
    return 0;
}

/* The temporary file has been used up when its content was taken. */
static void answer_rename(struct rfs_fs *fs, fuse_req_t req, int err, const struct rfs_asked *asked)
{
    if (!err)
        rfs_temps_drop(fs->temps, asked->number);
    if (req)
        fuse_reply_err(req, err);
}

/* Put in place: one write of the file's content. */
static void rename_onto(fuse_req_t req, const struct renaming *r)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_caller who = rfs_req_caller(req);
    struct rfs_asked asked = asked_for(fs, "rename", r->to_dir, r->newname);
    struct rfs_text content = RFS_TEXT_INIT;
    struct rfs_error err;
    struct rfs_call *call;

    rfs_text_puts(&content, "");
    rfs_temps_read(fs->temps, r->from.number, 0, RFS_TEMP_MAX_SIZE, &content);
    rfs_ask_masked(rfs_tree_row(fs->tree, r->to), content.data, content.len, &asked.request);
    call = rfs_ask_call(fs, r->to, content.data, content.len, &err);
    explicit_bzero(content.data, content.len);
    rfs_text_free(&content);
    if (call) {
        asked.answer = answer_rename;
        asked.number = r->from.number;
        rfs_pending_submit(req, &who, &asked, call);
        return;
    }
    rfs_ask_hide(rfs_tree_row(fs->tree, r->to), &asked.request);
    rfs_ask_note(fs, &who,
                 &(struct rfs_outcome){.operation = "rename",
                                       .path = asked.path.data,
                                       .request = asked.request.data,
                                       .rv = err.rv,
                                       .err = &err});
    rfs_text_free(&asked.path);
    rfs_text_free(&asked.request);
    fuse_reply_err(req, err.err);
}

static void rename_temp(fuse_req_t req, const struct renaming *r)
{
    struct rfs_fs *fs = rfs_req_fs(req);
    struct rfs_error err;
    int rc = rfs_temps_rename(fs->temps, rfs_node_ino(r->from_dir), r->name, rfs_node_ino(r->to_dir),
                              r->newname, r->noreplace);

    if (!rc) {
        rfs_allow(req, "rename", r->to_dir, r->newname);
        fuse_reply_err(req, 0);
        return;
    }
    rfs_fail_errno(&err, RFS_RV_INVALID_PARAMETER, rc, "the temporary file cannot be called so: %s",
                   strerror(rc));
    rfs_refuse(req, "rename", r->to_dir, r->newname, &err);
}

void rfs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                   const char *newname, unsigned int flags)
{
    struct renaming r = {.from_dir = rfs_node_unpack(parent),
                         .to_dir = rfs_node_unpack(newparent),
                         .name = name,
                         .newname = newname,
                         .noreplace = flags & RENAME_NOREPLACE};
    struct rfs_error err;

    if (check_rename(rfs_req_fs(req), &r, flags, &err))
        rfs_refuse(req, "rename", r.from_dir, name, &err);
    else if (r.to_exists && r.to.dir != RFS_DIR_TEMP)
        rename_onto(req, &r);
    else
        rename_temp(req, &r);
}
