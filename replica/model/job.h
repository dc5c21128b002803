/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs: one long-running piece of work of one relationship. Control thread.
 */
#ifndef RFS_MODEL_JOB_H
#define RFS_MODEL_JOB_H

#include "model/object.h"

/* A new job, Running, not yet inserted nor durable; `total` bytes to do. NULL with *err when no number can be
 * had. */
struct rfs_job *rfs_job_new(struct rfs_service *svc, struct rfs_relationship *rel, const char *method,
                            uint32_t operation, uint64_t total, struct rfs_error *err);

/* Changes `next` (an edited copy of `job`) to an end state; `why` NULL where it ended well. */
void rfs_job_end(const struct rfs_job *job, struct rfs_job *next, uint32_t job_state,
                 const struct rfs_error *why);

/* Starts the progress tick if a job runs; arms the reaper for the next finished job. Idle otherwise. */
void rfs_jobs_schedule(struct rfs_service *svc);
void rfs_jobs_tick(void *svc);
void rfs_jobs_reap(void *svc);

/* Durable removal of a finished job. */
int rfs_job_delete(struct rfs_service *svc, struct rfs_job *job, struct rfs_error *err);

#endif
