/* SPDX-License-Identifier: Apache-2.0
 *
 * What relationship.c and recovery.c share. Control thread.
 */
#ifndef RFS_MODEL_RELATIONSHIP_PRIV_H
#define RFS_MODEL_RELATIONSHIP_PRIV_H

#include "model/relationship.h"

typedef void (*rfs_again_fn)(struct rfs_service *svc, struct rfs_relationship *rel,
                             const struct rfs_error *why);

/* Calls again(svc, rel, why) a little later, unless the relationship has gone on or been changed since; `failure` becomes
 * its last error. */
void rfs_relationship_retry_later(struct rfs_service *svc, struct rfs_relationship *rel,
                                  const struct rfs_error *failure, rfs_again_fn again,
                                  const struct rfs_error *why);

/* UnSynchronized, or Partitioned on the way there. */
bool rfs_relationship_needs_copy(const struct rfs_relationship *rel);

/* The present CopyState to the log and the events. */
void rfs_relationship_log_state(struct rfs_service *svc, const struct rfs_relationship *rel, const char *why);

/* What becomes of a Suspend that nobody asked for; arg: the service. */
void rfs_relationship_suspended_by_loss(void *arg, enum rfs_rv rv, struct rfs_relationship *rel,
                                        struct rfs_job *job, const struct rfs_error *err);

#endif
