/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers of the method table, one file a family. Control thread; each ends its call once, now or later.
 */
#ifndef RFS_METHODS_HANDLERS_H
#define RFS_METHODS_HANDLERS_H

#include "methods/method.h"
#include "model/relationship.h"

void rfs_attach_replica(struct rfs_call *call);
void rfs_modify_replica_synchronization(struct rfs_call *call);
void rfs_relationship_operation(struct rfs_call *call);
void rfs_relationship_wait(struct rfs_call *call);
void rfs_get_replication_relationships(struct rfs_call *call);
void rfs_element_set(struct rfs_call *call);
void rfs_element_wait(struct rfs_call *call);
void rfs_job_request_state(struct rfs_call *call);
void rfs_job_wait(struct rfs_call *call);

/* One legal operation a line, those that need it marked force=1. The lock held. */
void rfs_legal_operations(const struct rfs_relationship *rel, struct rfs_text *out);

/* Ends the call after a relationship operation: job and synchronization lines; waits first where the request
 * says so. */
void rfs_finish_operated(struct rfs_call *call, enum rfs_rv rv, struct rfs_relationship *rel,
                         struct rfs_job *job);

#endif
