/* SPDX-License-Identifier: Apache-2.0
 *
 * From a row to the text that a reader gets. Any FUSE thread; the service lock must not be held.
 */
#ifndef RFS_FS_RENDER_H
#define RFS_FS_RENDER_H

#include "fs.h"

/* Appends what reading the file gives: 0, or ENOENT when its object is gone. Not for directories, links, temporary
 * files and RFS_ROW_EVENTS. */
int rfs_render_node(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who,
                    struct rfs_text *out);

/* Its size alone. A write-only file shows what it takes: below its end the kernel lets writes through in parallel. */
int rfs_render_size(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who, uint64_t *size);

/* Documents of the root. */
void rfs_render_readme(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out);
void rfs_render_version(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out);
void rfs_render_last_status(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out);
void rfs_render_status(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out);
void rfs_render_status_json(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out);

/* The tree as markdown, for --print-tree and docs/tree.md. */
void rfs_print_tree(const struct rfs_tree *tree, struct rfs_text *out);

#endif
