/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: replicafs [OPTIONS] [CONFIG] MOUNTPOINT, as people write it and as mount(8) does for fstab.
 */
#ifndef RFS_FS_OPTIONS_H
#define RFS_FS_OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/text.h"

#define RFS_STATE_DIR_DEFAULT "/var/lib/replicafs"
#define RFS_WORKERS_MAX       64u

enum rfs_action { RFS_ACTION_RUN, RFS_ACTION_HELP, RFS_ACTION_VERSION, RFS_ACTION_PRINT_TREE };

struct rfs_options {
    enum rfs_action action;
    char *mountpoint; /* as given */
    char *state_dir;
    unsigned workers; /* 0: by the number of cores */
    bool foreground;
    unsigned verbose; /* how many -v */
    uid_t uid;
    gid_t gid;
    mode_t umask;
    struct rfs_text mount_options; /* for libfuse */
};

/* 0, or -1 with a message that says what is wrong and what would work. `root`: allow_other is the default. Owners
 * default to uid and gid. */
int rfs_options_parse(struct rfs_options *o, int argc, char **argv, bool root, uid_t uid, gid_t gid,
                      struct rfs_text *message);
void rfs_options_free(struct rfs_options *o);

void rfs_options_usage(struct rfs_text *out);

#endif
