/* SPDX-License-Identifier: Apache-2.0
 *
 * Relationships: what the engine's events and requested operations make of them. Control thread.
 */
#ifndef RFS_MODEL_RELATIONSHIP_H
#define RFS_MODEL_RELATIONSHIP_H

#include "model/job.h"
#include "model/link.h"
#include "model/object.h"
#include "model/state_table.h"

/* Kill of a job is no operation of the standard's ModifyReplicaSynchronization, but acts like one. */
#define RFS_OPERATION_KILL 0x10000u

struct rfs_operate {
    uint32_t operation;
    bool force;
    const char *method; /* for a job that is started */
};

/* Carries out an operation as the state table says. done() comes once, perhaps from inside: rv 0 or 4096 with
 * `job` (or NULL) and the relationship, which is NULL when it is gone; else err. */
typedef void (*rfs_operated_fn)(void *arg, enum rfs_rv rv, struct rfs_relationship *rel, struct rfs_job *job,
                                const struct rfs_error *err);
void rfs_relationship_operate(struct rfs_service *svc, struct rfs_relationship *rel,
                              const struct rfs_operate *what, rfs_operated_fn done, void *arg);

/* Is it legal now? The cell, or -1 with *err as the operation would answer. */
int rfs_relationship_check(const struct rfs_relationship *rel, uint32_t operation, bool force,
                           struct rfs_cell *cell, struct rfs_error *err);

/* Creates relationship and, unless it rests in `initial` (Initialized, Inactive, Prepared), its first job,
 * durably; starts copying. Both elements are Online and homed on one worker. The map is made here. NULL with
 * *err. */
struct rfs_relationship_spec {
    const char *name;
    struct rfs_element *source, *target;
    uint32_t sync_type, mode, copy_type, initial; /* initial: 0 = start */
    struct rfs_settings settings;
    const char *method;
};
struct rfs_relationship *rfs_relationship_create(struct rfs_service *svc,
                                                 const struct rfs_relationship_spec *spec,
                                                 struct rfs_error *err);

/* A line in the events about this relationship. */
void rfs_relationship_event(struct rfs_service *svc, const struct rfs_relationship *rel, const char *type,
                            const char *message);

/* Start-up: attaches the engine and goes on with what was under way. */
void rfs_relationship_restart(struct rfs_service *svc, struct rfs_relationship *rel);

/* The engine could not be attached for `why`: tried again until it is. */
void rfs_relationship_reattach_later(struct rfs_service *svc, struct rfs_relationship *rel,
                                     const struct rfs_error *why);
/* Stop: what is waiting to be tried again is not any more. */
void rfs_relationship_retries_end(struct rfs_service *svc);

/* An element's connection changed: relationships that wait for it follow. */
void rfs_relationships_of_element_changed(struct rfs_service *svc, struct rfs_element *el,
                                          const struct rfs_error *why);

#endif
