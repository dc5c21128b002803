/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the pending map share: a disk that forgets what was not synced, and a map on a worker of
 * its own, called from the test's thread.
 */
#ifndef TESTS_UNIT_PENDINGMAP_DISK_H
#define TESTS_UNIT_PENDINGMAP_DISK_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/pendingmap_priv.h"

#define PM_REGION 4096u

/* A byte of the file whose eight regions are all clean, all dirty. */
#define PM_CLEAN 0xff
#define PM_DIRTY 0

struct disk {
    pthread_mutex_t lock;
    unsigned pages;
    unsigned char *synced;  /* what is on the medium for certain */
    unsigned char *current; /* what reads would give: every write that was begun */
    struct {
        uint32_t page;
        unsigned char data[PMAP_PAGE];
    } * versions; /* writes since the last sync, the outstanding one among them */
    unsigned n;
    _Atomic unsigned writes, syncs;      /* calls */
    _Atomic unsigned page_writes;        /* pages in them */
    _Atomic int write_error, sync_error; /* errno to fail with, 0 = none */
    unsigned busy;                       /* calls under way */
    bool overlapped;                     /* a call began while another was under way */
    atomic_bool gate_writes, gate_syncs; /* they post at_gate and wait for the gate */
    sem_t at_gate, gate;
    _Atomic unsigned delay_us; /* of every call, to let the worker overtake */
};

struct fixture {
    char base[64];
    char path[128];
    struct rfs_pmap_identity id;
    struct disk disk;
    struct rfs_pmap *map;
    struct rfs_loop *worker;
    struct rfs_iothreads *committer;
    uint64_t random;
};

struct call {
    struct fixture *f;
    uint64_t offset, length;
    bool result;
};

/* A waiter that another thread can wait for. */
struct waiter {
    struct rfs_pmap_wait wait;
    sem_t done;
    bool failed;
    struct rfs_error why;
    struct fixture *f;
    uint64_t offset, length;
    bool durable; /* rfs_pmap_set() said so at once */
};

/* cmocka: a temporary folder, a worker, a committer. */
int pm_setup(void **state);
int pm_teardown(void **state);
void pm_create(struct fixture *f, uint64_t size, bool all_set);
struct rfs_pmap *pm_load_good(struct fixture *f);

/* A new map on the forgetful disk, or on the real file system. */
void pm_start(struct fixture *f, uint64_t size, bool all_set);
void pm_start_real(struct fixture *f, uint64_t size, bool all_set);
/* After pm_start(): as if the process before had written all that is in the file and synced none of it. */
void pm_lose_unsynced(struct fixture *f);
void pm_stop(struct fixture *f);
void pm_call_attach(void *arg);
bool pm_detach(struct fixture *f);
void pm_init_waiter(struct waiter *w, struct fixture *f);
void pm_await(sem_t *sem);
void pm_call_sync(void *arg);

/* Begins a set; the waiter is to be awaited unless it says durable. */
void pm_begin_set(struct fixture *f, struct waiter *w, uint64_t offset, uint64_t length);

/* Sets and waits; true when all was durable before. */
bool pm_set(struct fixture *f, uint64_t offset, uint64_t length);
void pm_clear(struct fixture *f, uint64_t offset, uint64_t length);
void pm_sync_map(struct fixture *f);
void pm_expect_next(struct fixture *f, uint64_t from, uint64_t max, uint64_t offset, uint64_t length);
void pm_expect_none(struct fixture *f, uint64_t from);
bool pm_test_bit(struct fixture *f, uint64_t offset);
uint64_t pm_next_random(struct fixture *f);
void pm_pause_us(unsigned us);

#endif
