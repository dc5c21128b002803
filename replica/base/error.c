/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    enum rfs_rv rv;
    int err;
    const char *text;
} rv_table[] = {
#define RV(symbol, number, errno_, text) {RFS_RV_##symbol, errno_, text},
#include "base/rv.def"
#undef RV
};

int rfs_rv_errno(enum rfs_rv rv)
{
    for (size_t i = 0; i < sizeof(rv_table) / sizeof(rv_table[0]); i++)
        if (rv_table[i].rv == rv)
            return rv_table[i].err;
    return EIO;
}

const char *rfs_rv_text(enum rfs_rv rv)
{
    for (size_t i = 0; i < sizeof(rv_table) / sizeof(rv_table[0]); i++)
        if (rv_table[i].rv == rv)
            return rv_table[i].text;
    return NULL;
}

/* One line, whatever a library's text or a user's bytes put into it. */
static void one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
}

static int set(struct rfs_error *err, enum rfs_rv rv, int errno_, const char *fmt, va_list ap)
{
    char msg[sizeof(err->msg)]; /* err->msg may itself be an argument */

    if (!err)
        return -1;
    vsnprintf(msg, sizeof(msg), fmt, ap);
    one_line(msg);
    err->rv = rv;
    err->err = errno_;
    memcpy(err->msg, msg, sizeof(msg));
    return -1;
}

int rfs_fail(struct rfs_error *err, enum rfs_rv rv, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set(err, rv, rfs_rv_errno(rv), fmt, ap);
    va_end(ap);
    return -1;
}

int rfs_fail_errno(struct rfs_error *err, enum rfs_rv rv, int errno_, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set(err, rv, errno_, fmt, ap);
    va_end(ap);
    return -1;
}

static enum rfs_rv rv_of_errno(int errno_)
{
    switch (errno_) {
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
        return RFS_RV_NO_RESOURCES;
    case EACCES:
    case EPERM:
    case EROFS:
        return RFS_RV_ACCESS_DENIED;
    case ETIMEDOUT:
        return RFS_RV_TIMEOUT;
    default:
        return RFS_RV_FAILED;
    }
}

int rfs_fail_sys(struct rfs_error *err, int errno_, const char *fmt, ...)
{
    char text[128] = "";
    const char *why = strerror_r(errno_, text, sizeof(text)); /* the GNU form: may or may not use text */
    va_list ap;

    va_start(ap, fmt);
    set(err, rv_of_errno(errno_), errno_, fmt, ap);
    va_end(ap);
    if (err) {
        size_t len = strlen(err->msg);

        snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", why);
    }
    return -1;
}

int rfs_error_wrap(struct rfs_error *err, const char *fmt, ...)
{
    char head[400], whole[sizeof(err->msg) + sizeof(head) + 2];
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(head, sizeof(head), fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof(whole), "%s: %s", head, err->msg);
    one_line(whole);
    whole[sizeof(err->msg) - 1] = '\0';
    memcpy(err->msg, whole, strlen(whole) + 1);
    return -1;
}
