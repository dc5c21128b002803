/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects to catalogue records and back: one table of fields a kind. Control thread.
 */
#ifndef RFS_MODEL_RECORD_H
#define RFS_MODEL_RECORD_H

#include "model/model.h"

/* The record's JSON; the caller frees it. */
char *rfs_record_element(const struct rfs_element *el);
char *rfs_record_relationship(const struct rfs_relationship *rel);
char *rfs_record_job(const struct rfs_job *job);

/* Fill a zeroed object (strings are allocated). Unknown keys are ignored, missing ones stay zero. */
int rfs_record_read_element(struct rfs_element *el, const char *json, struct rfs_error *err);
/* source and target elements' numbers and the latest job's come back apart: the caller looks them up. */
struct rfs_relationship_refs {
    uint64_t source, target, job;
};
int rfs_record_read_relationship(struct rfs_relationship *rel, struct rfs_relationship_refs *refs,
                                 const char *json, struct rfs_error *err);
int rfs_record_read_job(struct rfs_job *job, const char *json, struct rfs_error *err);

/* put() of the object as it is, into the open transaction. */
void rfs_record_put_element(struct rfs_service *svc, const struct rfs_element *el);
void rfs_record_put_relationship(struct rfs_service *svc, const struct rfs_relationship *rel);
void rfs_record_put_job(struct rfs_service *svc, const struct rfs_job *job);

#endif
