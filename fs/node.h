/* SPDX-License-Identifier: Apache-2.0
 *
 * Inode numbers. A node is what its number says: which directory's table, which row, which object. So there is no
 * table of live nodes, numbers are stable over restarts, and a number whose object is gone simply names nothing.
 * Pure functions; any thread.
 */
#ifndef RFS_FS_NODE_H
#define RFS_FS_NODE_H

#include <stdbool.h>
#include <stdint.h>

enum rfs_dir_id {
    RFS_DIR_NONE,
    RFS_DIR_ROOT,
    RFS_DIR_SERVICE,
    RFS_DIR_CAPABILITIES,
    RFS_DIR_ELEMENTS,
    RFS_DIR_ELEMENT,
    RFS_DIR_ELEMENT_RELATIONSHIPS,
    RFS_DIR_RELATIONSHIPS,
    RFS_DIR_RELATIONSHIP,
    RFS_DIR_SETTINGS,
    RFS_DIR_JOBS,
    RFS_DIR_JOB,
    RFS_DIR_AFFECTED,
    RFS_DIR_AFFECTED_ELEMENTS,
    RFS_DIR_AFFECTED_RELATIONSHIPS,
    RFS_DIR_COUNT,
    RFS_DIR_TEMP = 63, /* not a directory: a temporary file; `number` is its id */
};

#define RFS_NODE_SALTS 4096u

struct rfs_node {
    enum rfs_dir_id dir; /* the directory whose table has the row */
    unsigned row;        /* 0: the directory itself; else the row's index + 1 */
    uint64_t number;     /* of the object whose directory it is; 0 where there is none */
    unsigned salt; /* which of several kernel inodes of one file (see rfs_pending_salt); no part of st_ino */
};

/* The number the kernel knows the node by; the root's is 1. */
uint64_t rfs_node_pack(struct rfs_node node);
/* Any number at all gives some node; whether there is such a row and object is for the caller to see. */
struct rfs_node rfs_node_unpack(uint64_t id);

/* What users see as st_ino. */
uint64_t rfs_node_ino(struct rfs_node node);

bool rfs_node_same_file(struct rfs_node a, struct rfs_node b);

#endif
