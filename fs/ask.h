/* SPDX-License-Identifier: Apache-2.0
 *
 * From the bytes that were written to a control file to a call of the service, and from the call's outcome to the reply
 * and the caller's last_status. Free of FUSE; any thread, the service lock not held.
 */
#ifndef RFS_FS_ASK_H
#define RFS_FS_ASK_H

#include "fs.h"

/* NULL with *err: too long, an interior newline, bad syntax … The file takes requests: required. */
struct rfs_call *rfs_ask_call(struct rfs_fs *fs, struct rfs_node node, const char *data, size_t len,
                              struct rfs_error *err);

/* The request as it may be shown, secrets masked. */
void rfs_ask_masked(const struct rfs_row *row, const char *data, size_t len, struct rfs_text *out);

/* For a request that was not understood: where one may hold a secret, there is no telling which word it is. */
void rfs_ask_hide(const struct rfs_row *row, struct rfs_text *shown);

/* "elements/a", or with a name "elements/a/NAME"; bytes that are not UTF-8 escaped. */
void rfs_ask_path(struct rfs_fs *fs, struct rfs_node node, const char *name, struct rfs_text *out);

/* return_value=, message= and the call's own lines (`lines` may be NULL). */
void rfs_ask_reply(enum rfs_rv rv, const struct rfs_error *err, const struct rfs_text *lines,
                   struct rfs_text *out);

/* Leaves the outcome in the caller's last_status, and a failure in the log. */
void rfs_ask_note(struct rfs_fs *fs, const struct rfs_caller *who, const struct rfs_outcome *outcome);

#endif
