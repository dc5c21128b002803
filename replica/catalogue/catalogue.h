/* SPDX-License-Identifier: Apache-2.0
 *
 * The durable memory of the model: records of objects, changed in transactions.
 *
 * A record is one object's properties as a JSON object, under a kind (element, relationship, job, service)
 * and a number that is never used twice. Nothing here knows what the properties mean, so that a second
 * implementation (etcd, design section 9) needs only these calls.
 *
 * Threads: the control thread only, once opened. Calls block for as long as the disk takes; when
 * rfs_catalogue_commit() returns 0 the change survives a power cut (SQLite, WAL, synchronous=FULL). One
 * daemon per state folder: the lock is taken here and held until close.
 */
#ifndef RFS_CATALOGUE_CATALOGUE_H
#define RFS_CATALOGUE_CATALOGUE_H

#include <stdint.h>

#include "base/error.h"

struct rfs_catalogue;

enum rfs_catalogue_kind {
    RFS_CAT_SERVICE = 1, /* one record, number 1 */
    RFS_CAT_ELEMENT = 2,
    RFS_CAT_RELATIONSHIP = 3,
    RFS_CAT_JOB = 4,
    RFS_CAT_GROUP = 5,
    RFS_CAT_ASPECT = 6,
    RFS_CAT_PEER = 7,
};

/* Opens or creates `folder`/catalogue.db; makes the folder (0700, its mode is corrected) and its subfolders
 * maps/, digests/, journal/, pool/. Fails with In Use (EBUSY, naming the holder's pid) when another daemon
 * has the folder, Not Supported when a newer version wrote it; migrates an older one. */
struct rfs_catalogue *rfs_catalogue_open(const char *folder, struct rfs_error *err);
void rfs_catalogue_close(struct rfs_catalogue *cat);

const char *rfs_catalogue_uuid(const struct rfs_catalogue *cat); /* of the folder, made once: 36 characters */

/* Calls fn for every record of the kind in the order of numbers; stops at a non-zero return and returns it.
 */
int rfs_catalogue_each(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind,
                       int (*fn)(void *arg, uint64_t number, const char *json, struct rfs_error *err),
                       void *arg, struct rfs_error *err);

/* A number of the kind that was never given out before, also not before a crash. Durable with the next commit
 * that uses it; a number got and not used is lost, which is fine. */
int rfs_catalogue_number(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t *number,
                         struct rfs_error *err);

/* One transaction at a time: begin, any puts and deletes, commit. A failed put makes commit fail; after a
 * failed commit nothing of the transaction happened. ENOSPC and a read-only folder become NO_RESOURCES /
 * ACCESS_DENIED with the folder's name. */
void rfs_catalogue_begin(struct rfs_catalogue *cat);
void rfs_catalogue_put(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t number,
                       const char *json);
void rfs_catalogue_delete(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t number);
int rfs_catalogue_commit(struct rfs_catalogue *cat, struct rfs_error *err);

#endif
