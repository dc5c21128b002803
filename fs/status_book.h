/* SPDX-License-Identifier: Apache-2.0
 *
 * Who asked, and how each caller's last request ended: what /last_status shows. Kept per session id, so that a script
 * reads its own outcome however many others are at work, and per user, for whoever reads it from a new session.
 * Bounded: the entries longest unused go. Any thread; own lock, nothing is called under it.
 */
#ifndef RFS_FS_STATUS_BOOK_H
#define RFS_FS_STATUS_BOOK_H

#include <sys/types.h>

#include "base/error.h"
#include "base/text.h"

struct rfs_caller {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    pid_t sid; /* 0: not known (another PID namespace, or the caller is gone) */
};

struct rfs_book;

struct rfs_book *rfs_book_new(void);
void rfs_book_free(struct rfs_book *book);

/* `operation` as users know it ("write", "mkdir"); `request` has been masked; err->err 0: it went well. */
struct rfs_outcome {
    const char *operation, *path, *request; /* path and request may be NULL */
    enum rfs_rv rv;
    const struct rfs_error *err; /* msg may say something after success too */
};

void rfs_book_note(struct rfs_book *book, const struct rfs_caller *who, const struct rfs_outcome *outcome);
void rfs_book_render(struct rfs_book *book, const struct rfs_caller *who, struct rfs_text *out);

/* Appends `s` with what is not UTF-8 as \\xHH: names in messages may hold any bytes. */
void rfs_shown(const char *s, struct rfs_text *out);

#endif
