/* SPDX-License-Identifier: Apache-2.0
 *
 * Elements: their connection and its changes. Control thread.
 */
#ifndef RFS_MODEL_ELEMENT_H
#define RFS_MODEL_ELEMENT_H

#include "model/link.h"
#include "model/object.h"

/* What a change of url or credentials asks for: NULL = unchanged, "" = reset. */
struct rfs_element_config {
    const char *url, *username, *password, *target_username, *target_password;
    int header_digest; /* -1 unchanged, 0, 1 */
    bool offline_ok;   /* store also what cannot be reached now */
};

/* All or nothing: connects with the new values and stores them when the LUN is known to be good; otherwise
 * everything is as before. done(arg, NULL) or done(arg, err), on the control thread, perhaps from inside. */
void rfs_element_configure(struct rfs_service *svc, struct rfs_element *el,
                           const struct rfs_element_config *config,
                           void (*done)(void *arg, const struct rfs_error *err), void *arg);

/* Moves an unrelated element's volume to another worker: closes it there, opens it here. done comes when it
 * is Online again, or has failed to (err). */
void rfs_element_rehome(struct rfs_service *svc, struct rfs_element *el, struct rfs_worker *home,
                        void (*done)(void *arg, const struct rfs_error *err), void *arg);

/* Stop: a change that waits for a connection is given up, its asker answered. */
void rfs_element_cancel_change(struct rfs_service *svc, struct rfs_element *el);

struct rfs_worker *rfs_least_loaded(struct rfs_service *svc);

#endif
