/* SPDX-License-Identifier: Apache-2.0
 *
 * What fault.c (session, rules) and fault_cache.c (volatile cache, power cut) share. On the device's loop
 * only.
 */
#ifndef RFS_DEVICE_FAULT_PRIV_H
#define RFS_DEVICE_FAULT_PRIV_H

#include "device/fault.h"

struct rule {
    struct rfs_fault_rule rule;
    uint64_t left; /* calls until it acts, of a rule with nth */
    struct rule *prev, *next;
};

struct entry {
    uint64_t number; /* clock at entry */
    uint64_t order;  /* counts writes only, so that the same writes and seed give the same power cut */
    uint64_t offset, length;
    uint8_t *data;    /* NULL: zeros */
    uint64_t dropped; /* clock when the inner device had it (kept for reads that began before); 0: cached */
    struct entry *prev, *next;
};

struct request {
    struct rfs_io io;     /* what the inner device is given */
    struct rfs_io *outer; /* NULL: a flush of our own */
    struct fault *fault;
    uint64_t number;
    struct iovec vec; /* the altered copy of a write; iov_base NULL = none */
    struct rfs_timer *delay;
    bool at_inner, lost;
    struct request *prev, *next;
    struct request *job_prev, *job_next;
};

struct fault {
    struct rfs_device dev;
    struct rfs_device *inner;
    struct rule *rules;
    struct request *all, *jobs;
    struct entry *entries;
    uint64_t calls, clock, writes;
    struct rfs_timer *outage;
    bool down, inner_online, cache_on, cut, inner_closing;
    uint64_t seed;
    bool announce, tell_changed; /* events to come */
    enum rfs_device_state announce_state;
    struct rfs_error why;
    bool turn_posted;
    struct rfs_task turn_task;
    struct rfs_io stage; /* the one write from the cache to the inner device */
    struct iovec stage_vec;
    struct entry *staging;
    bool stage_busy;
    struct entry *cut_at; /* where the power cut has got to */
    uint64_t cut_done;
};

static inline bool rfs_fault_overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b ? b - a < a_len : a - b < b_len;
}

/* fault.c */
void rfs_fault_turn_later(struct fault *f);
void rfs_fault_inner_submit(struct request *r);
/* Frees it and calls done(). The result is `result`, or stands in the outer request already. */
void rfs_fault_finish_with(struct request *r, const struct rfs_io *result);
void rfs_fault_finish(struct request *r);

/* fault_cache.c */
void rfs_fault_cache_submit(struct request *r);
/* Puts it in line with what else writes the cache out; one step of the first in line. */
void rfs_fault_cache_job(struct fault *f, struct request *r);
void rfs_fault_cache_run(struct fault *f);
/* What the inner device answered, as it has to look with the cache over it: a read, an extent status. */
void rfs_fault_cache_overlay(struct fault *f, const struct request *r);
void rfs_fault_cache_clip(struct fault *f, struct request *r);
/* Frees what was written out and no read under way can miss; everything. */
void rfs_fault_cache_forget(struct fault *f);
void rfs_fault_cache_clear(struct fault *f);
/* One step of a power cut, of writing everything out; false: the inner device is writing, come back. */
bool rfs_fault_cache_cut(struct fault *f);
bool rfs_fault_cache_drain(struct fault *f);

#endif
