/* SPDX-License-Identifier: Apache-2.0
 *
 * The objects of the model and who may touch them.
 *
 * One thread, the control thread, changes the model: it checks a request, makes the change durable in the
 * catalogue (blocking, no lock held), then changes the objects under the service lock. Other threads (FUSE)
 * read the objects under the service lock, for as long as a rendering takes. The control thread reads without
 * the lock. The lock is never held across block I/O, a catalogue commit, waiting, or a FUSE reply. Progress
 * is read from atomics.
 *
 * Everything below is "written by the control thread under the lock" unless it says otherwise.
 */
#ifndef RFS_MODEL_MODEL_H
#define RFS_MODEL_MODEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "catalogue/catalogue.h"
#include "engine/pair.h"
#include "engine/pendingmap.h"
#include "engine/volume.h"
#include "model/value.h"

struct rfs_call;
struct rfs_waiter;
struct rfs_service;

enum rfs_kind { RFS_KIND_SERVICE = 1, RFS_KIND_ELEMENT = 2, RFS_KIND_RELATIONSHIP = 3, RFS_KIND_JOB = 4 };

/* What every object starts with. Numbers are never used twice within a kind. */
struct rfs_object {
    enum rfs_kind kind;
    uint64_t number;
    char *name;          /* a job's is its number */
    uint64_t generation; /* grows with every change that a reader could see, progress apart */
    uint64_t changed_ms; /* wall clock of the last change */
    uint64_t created_ms;
    char *last_error;           /* what is wrong with it now; NULL = nothing */
    char *last_refusal;         /* why its last request was refused; gone with the next one that is not */
    struct rfs_waiter *waiters; /* control thread only */
    UT_hash_handle by_number, by_name;
};

struct rfs_worker {
    struct rfs_loop *loop;
    unsigned volumes; /* homed here */
};

struct rfs_relationship;
struct rfs_job;

struct rfs_element {
    struct rfs_object o;
    char *url, *username, *password, *target_username, *target_password; /* NULL = not set */
    bool header_digest;
    uint32_t state; /* enum rfs_element_state */
    bool known;     /* info was read at least once: it is remembered over restarts */
    struct rfs_device_info info;
    struct rfs_worker *home;   /* NULL while there is no volume */
    struct rfs_volume *volume; /* set while open; calls to it on home's loop only, its stats any thread */
    struct rfs_relationship *as_target; /* the one that writes it, or NULL */
    struct rfs_relationship *as_source; /* list through next_of_source */
    unsigned open_files;                /* hosts' opens of `data` (host-writes issue) */
    struct rfs_element_change *change;  /* control thread only: a change of url or credentials under way */
    const char *busy;              /* control thread only: the operation under way that wants it for itself */
    struct rfs_element_link *link; /* control thread only: see link.h */
};

/* Settings of a relationship: ReplicationSettingData and ours; one file each under settings/. setting.h has
 * the table. */
struct rfs_settings {
    uint32_t copy_recovery_mode; /* enum rfs_copy_recovery_mode */
    uint32_t copy_priority;      /* enum rfs_copy_priority */
    uint32_t verify;             /* enum rfs_verify_mode: same numbers as rfs_verify */
    uint64_t rate_limit;         /* bytes per second, 0 = none */
    uint64_t region_size;        /* bytes; fixed at creation */
    uint64_t max_requests;       /* chunks in flight */
    uint64_t max_transfer;       /* bytes of a chunk */
    bool detect_zeroes;
    bool failed_copy_stops_host_io;
};

/* What the catalogue says, while the object claims less because something could not be made durable. */
struct rfs_truth {
    bool held;
    uint32_t copy_state, progress_status;
    bool target_consistent;
};

struct rfs_relationship {
    struct rfs_object o;
    struct rfs_element *source, *target;
    struct rfs_relationship *next_of_source;
    uint64_t size; /* bytes replicated: the source's size when it was created */
    uint32_t sync_type, mode, copy_type;
    uint32_t copy_state, requested_copy_state, progress_status;
    bool target_consistent;
    struct rfs_settings settings;
    uint64_t when_established, when_activated, when_deactivated, when_suspended, when_synced,
        when_synchronized; /* ms */
    uint64_t map_generation;
    struct rfs_pmap *map;    /* counters any thread, under the lock */
    struct rfs_pair *pair;   /* stats any thread, under the lock; calls on the home's loop only */
    struct rfs_job *job;     /* latest; NULL when removed */
    uint32_t last_job_state; /* 0 = never had one */
    char *last_job_error;
    uint64_t mismatch_count;
    const char *busy; /* control thread only: the operation under way */
    bool waiting;     /* control thread only: the pair waits for `waiting_for` to be Online */
    enum rfs_side waiting_for;
    bool map_lost;                      /* control thread only: the map's file is not to be believed */
    struct rfs_truth truth;             /* control thread only */
    struct rfs_relationship_link *link; /* control thread only: see link.h */
};

struct rfs_job {
    struct rfs_object o;
    uint32_t job_state;                    /* enum rfs_job_state */
    uint32_t operation;                    /* enum rfs_operation, or 0 = the initial copy of AttachReplica */
    char *method_name;                     /* AttachReplica, ModifyReplicaSynchronization */
    struct rfs_relationship *relationship; /* NULL when it is gone */
    char *relationship_name, *source_name, *target_name;
    uint64_t source_number, target_number, relationship_number;
    uint64_t bytes_total; /* what there was to do at the start */
    uint64_t bytes_done;  /* when not running; while running total less the map's unsaved bytes:
                             rfs_job_progress() */
    uint64_t start_ms, end_ms, suspended_ms;
    uint32_t error_code; /* a return value; 0 = none */
    char *error_description;
    bool lost; /* waits for an element to come back */
    bool delete_on_completion;
    uint64_t time_before_removal; /* seconds */
    uint64_t rate;                /* bytes/s, smoothed, by the control thread's tick */
    uint64_t rate_bytes, rate_ms; /* the tick's last sample */
    uint64_t high_water;          /* bytes_done never shown lower than this */
};

/* Called on the control thread after a change has become visible; `kind`/`number` say whose, name is its name
 * (for kernel cache invalidation when `removed`). Never with the lock held. */
struct rfs_observer {
    void (*changed)(void *arg, enum rfs_kind kind, uint64_t number, const char *name, bool removed);
    void (*event)(void *arg); /* a line was added to the events */
    void *arg;
};

struct rfs_events;

struct rfs_service {
    pthread_mutex_t
        lock; /* the service lock; leaf except for a FUSE thread's temp-file lock, which is taken after it */
    struct rfs_log *log;
    char *state_dir;
    char *mountpoint;                /* absolute; for names given as paths under the mount; may be NULL */
    struct rfs_catalogue *catalogue; /* control thread only */
    struct rfs_loop *control;
    struct rfs_iothreads *committer;
    struct rfs_worker *workers;
    unsigned worker_count;
    uint64_t started_ms;
    struct rfs_events *events; /* has its own lock; see events.h */
    struct rfs_observer observer;
    struct rfs_element *elements_by_number, *elements_by_name; /* uthash heads: o.by_number, o.by_name */
    struct rfs_relationship *relationships_by_number, *relationships_by_name;
    struct rfs_job *jobs_by_number;
    uint64_t generation;       /* grows with every change of anything */
    char *initiator;           /* IQN */
    struct rfs_timer *tick;    /* progress of running jobs; not armed when there is none */
    struct rfs_timer *reaper;  /* removes finished jobs when their time is over */
    bool stopping;             /* control thread only, as the next three */
    unsigned live_pairs;       /* made and not yet gone */
    void (*settle)(void *arg); /* stopping: called when a pair or a volume has gone */
    void *settle_arg;
    struct rfs_retry *retries; /* what could not be made durable and is tried again */
    bool folder_is_copy; /* the state folder was restored from a backup or copied since the last start */
    struct rfs_volume_maker *volume_maker; /* NULL = devices by url; tests put theirs here */
};

void rfs_service_lock(struct rfs_service *svc);
void rfs_service_unlock(struct rfs_service *svc);

/* By name or number; the lock held, or on the control thread. NULL: none. */
struct rfs_element *rfs_element_by_name(struct rfs_service *svc, const char *name);
struct rfs_element *rfs_element_by_number(struct rfs_service *svc, uint64_t number);
struct rfs_relationship *rfs_relationship_by_name(struct rfs_service *svc, const char *name);
struct rfs_relationship *rfs_relationship_by_number(struct rfs_service *svc, uint64_t number);
struct rfs_job *rfs_job_by_number(struct rfs_service *svc, uint64_t number);

/* Progress of a job now: the lock held, or on the control thread. percent 0..100, eta in seconds (UINT64_MAX:
 * not known), elapsed in ms. */
struct rfs_job_progress {
    uint64_t bytes_total, bytes_done, bytes_per_second, eta, elapsed_ms;
    unsigned percent;
};
void rfs_job_progress(const struct rfs_job *job, struct rfs_job_progress *out);
bool rfs_job_finished(const struct rfs_job *job);

/* [A-Za-z0-9_][A-Za-z0-9._-]*, at most 200 bytes; EINVAL (ENAMETOOLONG beyond) with a message naming `what`.
 */
int rfs_name_check(const char *what, const char *name, struct rfs_error *err);

#endif
