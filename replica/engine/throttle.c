/* SPDX-License-Identifier: Apache-2.0
 *
 * A token bucket that may run into debt: whoever finds it above zero may take what he needs, so a chunk
 * larger than the bucket gets through, and the next one waits until that is paid.
 */
#include "engine/pair_priv.h"

#define BURST_MS 100 /* what an idle time saves up */

void rfs_throttle_set(struct rfs_throttle *t, uint64_t rate, uint64_t now)
{
    if (rate > INT64_MAX / 2000)
        rate = 0; /* more than any device does: no limit */
    if (rate == t->rate)
        return;
    t->rate = rate;
    t->tokens = (int64_t)rate; /* debts made at the old rate are not paid at the new one; above zero: go */
    t->at_ms = now;
}

static void refill(struct rfs_throttle *t, uint64_t now)
{
    uint64_t ms = now > t->at_ms ? now - t->at_ms : 0;
    int64_t burst = (int64_t)t->rate * BURST_MS;

    t->at_ms = now;
    if (t->tokens >= burst)
        return;
    if (ms >= (uint64_t)(burst - t->tokens) / t->rate)
        t->tokens = burst;
    else
        t->tokens += (int64_t)(t->rate * ms);
}

uint64_t rfs_throttle_when(struct rfs_throttle *t, uint64_t now)
{
    if (!t->rate)
        return 0;
    refill(t, now);
    return t->tokens > 0 ? 0 : now + (uint64_t)-t->tokens / t->rate + 1;
}

void rfs_throttle_spend(struct rfs_throttle *t, uint64_t bytes)
{
    if (t->rate)
        t->tokens -= (int64_t)bytes * 1000;
}
