/* SPDX-License-Identifier: Apache-2.0
 *
 * Is the mount point fit to be mounted on? Before any thread is started.
 */
#ifndef RFS_FS_MOUNTPOINT_H
#define RFS_FS_MOUNTPOINT_H

#include "base/error.h"

/* The absolute path without symbolic links, to be freed; NULL with *err: not there, no folder, no /dev/fuse, a living
 * replicafs on it. A dead one that an earlier daemon left is detached. `state_dir` must not lie below it. */
char *rfs_mountpoint_prepare(const char *mountpoint, const char *state_dir, struct rfs_error *err);

/* The absolute path of something that need not exist yet, its folder resolved as far as it exists; to be freed. */
char *rfs_absolute_path(const char *path);

#endif
