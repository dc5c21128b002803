/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing the model: control thread only, here and in methods/.
 *
 * The rule: edit a copy, make it durable, publish it. `next` is a copy of the object with the fields to be
 * changed (strings newly allocated); rfs_publish() commits it to the catalogue and only then makes it the
 * object, under the lock; on failure nothing has changed and the copy's new strings are freed. Publishing
 * bumps the generation, tells the observer and looks at the waiters.
 */
#ifndef RFS_MODEL_OBJECT_H
#define RFS_MODEL_OBJECT_H

#include "model/call.h"
#include "model/model.h"

/* Any of the pairs may be NULL; one transaction for all of them. */
struct rfs_edit {
    struct rfs_element *el;
    struct rfs_element *el_next;
    struct rfs_relationship *rel;
    struct rfs_relationship *rel_next;
    struct rfs_job *job;
    struct rfs_job *job_next;
    struct rfs_relationship *new_rel; /* inserted, with its elements tied */
    struct rfs_job *new_job;          /* inserted */
    struct rfs_relationship *gone;    /* deleted from the catalogue; the caller drops the object afterwards */
};
int rfs_publish(struct rfs_service *svc, const struct rfs_edit *edit, struct rfs_error *err);

/* The same for what need not survive (connection states, Partitioned): no transaction, cannot fail. */
void rfs_publish_volatile(struct rfs_service *svc, const struct rfs_edit *edit);

/* New objects, already durable: put them into the hashes and tell. */
void rfs_insert_element(struct rfs_service *svc, struct rfs_element *el);
void rfs_insert_relationship(struct rfs_service *svc,
                             struct rfs_relationship *rel); /* ties it to its elements */
void rfs_insert_job(struct rfs_service *svc, struct rfs_job *job);
/* Take out what is durably gone, tell, end its waiters (`done`: what they waited for has come true; else
 * *err), free. */
void rfs_drop_element(struct rfs_service *svc, struct rfs_element *el);
void rfs_drop_relationship(struct rfs_service *svc, struct rfs_relationship *rel, bool done,
                           const struct rfs_error *err);
void rfs_drop_job(struct rfs_service *svc, struct rfs_job *job);

void rfs_free_element(struct rfs_element *el); /* never inserted, or dropped */
void rfs_free_relationship(struct rfs_relationship *rel);
void rfs_free_job(struct rfs_job *job);

/* Sets or clears what is wrong with an object now (not durable by itself). */
void rfs_set_last_error(struct rfs_service *svc, struct rfs_object *o, const char *message);

/* Sets why its last request was refused, or clears it (NULL) because one was not. Never durable. */
void rfs_set_refusal(struct rfs_service *svc, struct rfs_object *o, const char *message);

/* Generation bump, observer, waiters: for changes made under the lock by hand. */
void rfs_changed(struct rfs_service *svc, struct rfs_object *o);

/* `generation=` of a request: Cache out of date unless it is absent or current. */
int rfs_check_generation(const struct rfs_object *o, const char *path, const struct rfs_request *req,
                         struct rfs_error *err);

/* Waiting. The verdict is asked at once and after each change of the object. */
enum rfs_verdict { RFS_WAIT_MORE, RFS_WAIT_DONE, RFS_WAIT_NEVER };
typedef enum rfs_verdict (*rfs_verdict_fn)(const struct rfs_object *o, uint32_t wanted,
                                           struct rfs_error *err);

/* Ends `call` with ok_rv when the verdict is DONE; with Failed and the verdict's error on NEVER; with Timeout
 * after timeout_ms (0: at once; RFS_WAIT_FOREVER: no limit). The call's reply must be complete. */
void rfs_wait(struct rfs_call *call, struct rfs_object *o, rfs_verdict_fn verdict, uint32_t wanted,
              uint64_t timeout_ms, enum rfs_rv ok_rv);
void rfs_waiters_check(struct rfs_object *o);
void rfs_waiters_end(struct rfs_object *o, bool done, const struct rfs_error *err); /* the object goes */

#define RFS_WAIT_FOREVER UINT64_MAX

extern const rfs_verdict_fn rfs_verdict_element, rfs_verdict_relationship, rfs_verdict_job;

#endif
