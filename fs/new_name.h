/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names may be made: those of temporary files that programs put in place, and nothing that could be a mistyped
 * control file, into which a request would vanish. Any thread; the service lock not held.
 */
#ifndef RFS_FS_NEW_NAME_H
#define RFS_FS_NEW_NAME_H

#include "fs.h"

/* `exclusive`: O_EXCL, as those give who want a file of their own. 0, or EPERM with what is wrong with the name. */
int rfs_new_name_check(struct rfs_fs *fs, struct rfs_node dir, const char *name, bool exclusive,
                       struct rfs_error *err);

#endif
