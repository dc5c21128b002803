/* SPDX-License-Identifier: Apache-2.0
 *
 * The mount: from a file system object and a mount point to a served session and back. Main thread.
 */
#ifndef RFS_FS_SESSION_H
#define RFS_FS_SESSION_H

#include "fs.h"

struct rfs_session;

/* Mounts; `options` are mount options for libfuse, comma-separated. Signals that end the program are handled from here
 * on. NULL with *err. */
struct rfs_session *rfs_session_new(struct rfs_fs *fs, const char *mountpoint, const char *options,
                                    struct rfs_error *err);

/* Serves until a signal, fusermount3 -u or umount. `ready` is called once, just before. 0, or -1 with *err. */
int rfs_session_serve(struct rfs_session *s, void (*ready)(void *arg), void *arg, struct rfs_error *err);

/* After the service has stopped: unmounts if that has not been done, so that whoever still waits gets an error. */
void rfs_session_free(struct rfs_session *s);

#endif
