/* SPDX-License-Identifier: Apache-2.0
 *
 * The FUSE operations, by file: fuse_attr.c (nodes and their attributes), fuse_dir.c (listing), fuse_name.c (making,
 * removing and renaming names), fuse_file.c (open files), fuse_ops.c (the table, the session). Each operation is called
 * on a FUSE thread, never waits for the model's work, and answers its request exactly once, now or from pending.c.
 */
#ifndef RFS_FS_FUSE_OPS_H
#define RFS_FS_FUSE_OPS_H

#include <fuse_lowlevel.h>

#include "fs.h"

/* How large control files are for the kernel when it looks them up: it lets parallel writes through only below the end
 * of a file. stat() never sees this, since attributes are not cached. */
#define RFS_ROOMY (1 << 20)

struct rfs_fs *rfs_req_fs(fuse_req_t req);
struct rfs_caller rfs_req_caller(fuse_req_t req);

/* Attributes of a node as stat shows them: 0 or ENOENT. */
int rfs_node_stat(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who, struct stat *st);
/* What a lookup answers. Costs no rendering. 0 or ENOENT. */
int rfs_node_entry(struct rfs_fs *fs, struct rfs_node node, struct fuse_entry_param *e);
/* The node called `name` in `dir`: 0 or ENOENT. */
int rfs_node_lookup(struct rfs_fs *fs, struct rfs_node dir, const char *name, struct rfs_node *node);
mode_t rfs_node_type(struct rfs_fs *fs, struct rfs_node node); /* S_IFDIR, S_IFREG, S_IFLNK */

/* Answers req with err->err and leaves the reason in the caller's last_status. `name` may be NULL. */
void rfs_refuse(fuse_req_t req, const char *operation, struct rfs_node node, const char *name,
                const struct rfs_error *err);
/* The same, well ended: notes it, sends nothing. */
void rfs_allow(fuse_req_t req, const char *operation, struct rfs_node node, const char *name);

void rfs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void rfs_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void rfs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void rfs_op_readlink(fuse_req_t req, fuse_ino_t ino);
void rfs_op_statfs(fuse_req_t req, fuse_ino_t ino);

void rfs_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void rfs_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void rfs_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void rfs_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void rfs_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

void rfs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void rfs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void rfs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void rfs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void rfs_op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void rfs_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void rfs_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                   const char *newname, unsigned int flags);
void rfs_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *fi);

void rfs_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void rfs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void rfs_op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                  struct fuse_file_info *fi);
void rfs_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void rfs_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void rfs_op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);

#endif
