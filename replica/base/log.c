/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/text.h"

struct rfs_log {
    bool use_syslog;
    enum rfs_log_level max;
};

struct rfs_log *rfs_log_new(bool use_syslog, enum rfs_log_level max)
{
    struct rfs_log *log = rfs_xcalloc(1, sizeof(*log));

    log->use_syslog = use_syslog;
    log->max = max;
    if (use_syslog)
        openlog("replicafs", LOG_PID, LOG_DAEMON);
    return log;
}

void rfs_log_free(struct rfs_log *log)
{
    if (log && log->use_syslog)
        closelog();
    free(log);
}

void rfs_log(struct rfs_log *log, enum rfs_log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"", "", "", "error", "warning", "notice", "info", "debug"};
    char line[2048];
    va_list ap;

    if (!log || level > log->max)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (log->use_syslog)
        syslog((int)level, "%s", line);
    else
        fprintf(stderr, "replicafs: %s: %s\n", names[level], line);
}
