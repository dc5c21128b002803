/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's log: one object made in main and handed down; any thread may write to it.
 * Lines go to stderr (foreground) or to syslog; libsystemd is not needed for either, since the journal takes
 * both.
 */
#ifndef RFS_BASE_LOG_H
#define RFS_BASE_LOG_H

#include <stdbool.h>

enum rfs_log_level {
    RFS_LOG_ERROR = 3,
    RFS_LOG_WARNING = 4,
    RFS_LOG_NOTICE = 5,
    RFS_LOG_INFO = 6,
    RFS_LOG_DEBUG = 7
};

struct rfs_log;

/* `use_syslog`: syslog(3) as replicafs/daemon; else one line each on stderr. Messages above `max` are
 * dropped. */
struct rfs_log *rfs_log_new(bool use_syslog, enum rfs_log_level max);
void rfs_log_free(struct rfs_log *log);

/* NULL log: nothing happens (unit tests). Secrets never go in here: callers mask them (design section 3, rule
 * 2). */
void rfs_log(struct rfs_log *log, enum rfs_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
