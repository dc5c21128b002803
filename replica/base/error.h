/* SPDX-License-Identifier: Apache-2.0
 *
 * The one error object.
 *
 * A function that can fail takes `struct rfs_error *err` last, returns -1 (or NULL) on failure and then has
 * set *err; on success *err is untouched. The error is made once, where the failure is first known; callers
 * may put context in front of the message with rfs_error_wrap(); it is logged once, at the top. `err` may be
 * NULL where the caller does not care. Any thread; the object belongs to whoever declared it and owns no
 * memory, so it may be copied by assignment.
 *
 * Message style: names the object, what was asked, why not, and what would work.
 */
#ifndef RFS_BASE_ERROR_H
#define RFS_BASE_ERROR_H

#include <stdint.h>

enum rfs_rv {
#define RV(symbol, number, errno_, text) RFS_RV_##symbol = number,
#include "base/rv.def"
#undef RV
};

struct rfs_error {
    enum rfs_rv rv; /* the method's return value; 0 = no error */
    int err;        /* positive errno for the FUSE reply */
    char msg[1000]; /* one line, no newline, UTF-8 */
};

/* No error. */
#define RFS_ERROR_INIT                                                                                       \
    {                                                                                                        \
        .rv = RFS_RV_OK, .err = 0, .msg = ""                                                                 \
    }

/* Sets *err; errno follows from the table in rv.def. Always returns -1, so `return rfs_fail(err, …)`. */
int rfs_fail(struct rfs_error *err, enum rfs_rv rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with an errno of its own (for example ENAMETOOLONG where the return value is Invalid Parameter).
 */
int rfs_fail_errno(struct rfs_error *err, enum rfs_rv rv, int errno_, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A system call failed with `errno_`: ENOSPC/EDQUOT -> NO_RESOURCES, EACCES/EPERM/EROFS -> ACCESS_DENIED,
 * ETIMEDOUT -> TIMEOUT, else FAILED; errno kept; strerror text appended to the message. Returns -1. */
int rfs_fail_sys(struct rfs_error *err, int errno_, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the message. Returns -1. */
int rfs_error_wrap(struct rfs_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* errno of a return value (0 for 0 and 4096), its standard text, or NULL for an unknown number. */
int rfs_rv_errno(enum rfs_rv rv);
const char *rfs_rv_text(enum rfs_rv rv);

#endif
