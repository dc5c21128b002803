/* SPDX-License-Identifier: Apache-2.0
 *
 * The service: everything below the tree, from start to stop.
 */
#ifndef RFS_MODEL_SERVICE_H
#define RFS_MODEL_SERVICE_H

#include "model/model.h"

struct rfs_service_options {
    const char *state_dir;
    const char *mountpoint; /* absolute, may be NULL */
    unsigned workers;       /* 0: one a core, at most 4 */
    struct rfs_log *log;    /* may be NULL */
    struct rfs_observer observer;
    struct rfs_volume_maker *volume_maker; /* tests; NULL otherwise */
};

/* Opens the catalogue, starts the threads, loads the model, begins to connect elements and to go on with
 * jobs. Blocks; main thread. NULL with *err; nothing is left behind then. */
struct rfs_service *rfs_service_start(const struct rfs_service_options *options, struct rfs_error *err);

/* Parks jobs (their maps saved, to go on at the next start), closes volumes and the catalogue, ends all
 * threads. No call may be outstanding or come any more except those that are finished on the way (waiting
 * ones with EIO). Blocks. */
void rfs_service_stop(struct rfs_service *svc);

#endif
