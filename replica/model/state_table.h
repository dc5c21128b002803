/* SPDX-License-Identifier: Apache-2.0
 *
 * The state tables (reference, sections 4.3 to 4.5): which operation is legal in which CopyState, and where
 * it leads. One table for enforcement, for reading `operation`, for the capabilities and for docs. Constant;
 * any thread.
 */
#ifndef RFS_MODEL_STATE_TABLE_H
#define RFS_MODEL_STATE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/value.h"

struct rfs_cell {
    bool never;     /* n: not valid for this SyncType at all */
    bool legal;     /* false with never false: illegal in this state */
    bool force;     /* !: only with force=1 */
    bool same;      /* =: succeeds, changes nothing */
    bool gone;      /* the relationship goes */
    bool hydrate;   /* h: after filling the target up */
    bool aspect;    /* a: an aspect may remain */
    bool new_point; /* ': a new point in time */
    bool swap;      /* source and target change places */
    uint32_t via;   /* CopyState passed through, 0 = none */
    uint32_t final; /* CopyState at the end; the present one for `same`; 0 when gone */
};

/* Unprepare is Prepare. An unknown combination answers never. */
struct rfs_cell rfs_state_cell(uint32_t sync_type, uint32_t copy_state, uint32_t operation);

/* Is the operation's work on the data there in this version? (Operations whose work comes with a later part
 * are refused as Not Supported and not listed.) */
bool rfs_state_available(uint32_t sync_type, uint32_t operation);

/* The states of a table in its order; returns how many. */
unsigned rfs_state_list(uint32_t sync_type, uint32_t states[16]);

#endif
