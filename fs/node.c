/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#define NUMBER_BITS 36
#define SALT_BITS   12
#define ROW_BITS    10
#define DIR_BITS    6

#define SALT_SHIFT NUMBER_BITS
#define ROW_SHIFT  (SALT_SHIFT + SALT_BITS)
#define DIR_SHIFT  (ROW_SHIFT + ROW_BITS)

#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)

_Static_assert(DIR_SHIFT + DIR_BITS == 64, "the fields fill the number");
_Static_assert(RFS_NODE_SALTS == 1u << SALT_BITS, "salts fit");

#define ROOT_ID 1 /* FUSE_ROOT_ID */

uint64_t rfs_node_pack(struct rfs_node node)
{
    if (node.dir == RFS_DIR_ROOT && !node.row)
        return ROOT_ID;
    return ((uint64_t)node.dir & MASK(DIR_BITS)) << DIR_SHIFT |
           ((uint64_t)node.row & MASK(ROW_BITS)) << ROW_SHIFT |
           ((uint64_t)node.salt & MASK(SALT_BITS)) << SALT_SHIFT | (node.number & MASK(NUMBER_BITS));
}

struct rfs_node rfs_node_unpack(uint64_t id)
{
    if (id == ROOT_ID)
        return (struct rfs_node){.dir = RFS_DIR_ROOT};
    return (struct rfs_node){.dir = (enum rfs_dir_id)(id >> DIR_SHIFT & MASK(DIR_BITS)),
                             .row = (unsigned)(id >> ROW_SHIFT & MASK(ROW_BITS)),
                             .salt = (unsigned)(id >> SALT_SHIFT & MASK(SALT_BITS)),
                             .number = id & MASK(NUMBER_BITS)};
}

uint64_t rfs_node_ino(struct rfs_node node)
{
    node.salt = 0;
    return rfs_node_pack(node);
}

bool rfs_node_same_file(struct rfs_node a, struct rfs_node b)
{
    return a.dir == b.dir && a.row == b.row && a.number == b.number;
}
