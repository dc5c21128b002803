/* SPDX-License-Identifier: Apache-2.0 */
#include "model/service.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/element.h"
#include "model/events.h"
#include "model/record.h"
#include "model/relationship.h"

/* --- loading: before any other thread knows the model, or on the control thread --- */

static int load_element(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    struct rfs_service *svc = arg;
    struct rfs_element *el = rfs_xcalloc(1, sizeof(*el));

    int rc = rfs_record_read_element(el, json, err);

    if (!rc && !el->o.name)
        rc = rfs_fail(err, RFS_RV_FAILED, "its record has no name");
    if (rc) {
        rfs_free_element(el);
        return rfs_error_wrap(err, "element number %llu", (unsigned long long)number);
    }
    el->o.kind = RFS_KIND_ELEMENT;
    el->o.number = number;
    el->state = el->url ? RFS_element_state_CONNECTING : RFS_element_state_UNCONFIGURED;
    rfs_insert_element(svc, el);
    return 0;
}

static int load_job(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    struct rfs_service *svc = arg;
    struct rfs_job *job = rfs_xcalloc(1, sizeof(*job));
    char name[24];

    if (rfs_record_read_job(job, json, err)) { /* nobody needs it to go on */
        rfs_log(svc->log, RFS_LOG_WARNING, "job number %llu is left out: %s", (unsigned long long)number,
                err->msg);
        rfs_free_job(job);
        return 0;
    }
    snprintf(name, sizeof(name), "%llu", (unsigned long long)number);
    free(job->o.name);
    job->o.kind = RFS_KIND_JOB;
    job->o.number = number;
    job->o.name = rfs_xstrdup(name);
    rfs_insert_job(svc, job);
    return 0;
}

static int load_relationship(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    struct rfs_service *svc = arg;
    struct rfs_relationship *rel = rfs_xcalloc(1, sizeof(*rel));
    struct rfs_relationship_refs refs = {0};

    rel->o.kind = RFS_KIND_RELATIONSHIP;
    rel->o.number = number;
    if (rfs_record_read_relationship(rel, &refs, json, err))
        goto fail;
    rel->source = rfs_element_by_number(svc, refs.source);
    rel->target = rfs_element_by_number(svc, refs.target);
    rel->job = rfs_job_by_number(svc, refs.job);
    if (!rel->source || !rel->target || !rel->o.name) {
        rfs_fail(err, RFS_RV_FAILED, "its source or target element is not in the catalogue");
        goto fail;
    }
    if (rfs_state_cell(rel->sync_type, rel->copy_state, RFS_operation_DETACH).never) {
        rfs_fail(err, RFS_RV_FAILED, "its record has SyncType %u and CopyState %u, which do not go together",
                 rel->sync_type, rel->copy_state);
        goto fail;
    }
    if (rel->job)
        rel->job->relationship = rel;
    rfs_insert_relationship(svc, rel);
    return 0;
fail:
    rfs_free_relationship(rel);
    return rfs_error_wrap(err, "relationship number %llu", (unsigned long long)number);
}

/* --- the state folder itself --- */

/* What a copy of the folder cannot carry: which file the catalogue is, and when that was born. */
static void fingerprint(const struct rfs_service *svc, char *text, size_t size)
{
    char path[PATH_MAX];
    struct statx st;

    snprintf(path, sizeof(path), "%s/catalogue.db", svc->state_dir);
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st))
        memset(&st, 0, sizeof(st));
    snprintf(text, size, "{\"catalogue\":\"%llu:%lld.%09u\"}", (unsigned long long)st.stx_ino,
             (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

static int compare_fingerprint(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    struct rfs_service *svc = arg;
    char now[128];

    fingerprint(svc, now, sizeof(now));
    svc->folder_is_copy = strcmp(now, json) != 0;
    return 0;
}

/* Only when nothing is left to be settled: until then the next start has to find out again. */
static void remember_fingerprint(struct rfs_service *svc)
{
    struct rfs_error err;
    char now[128];

    if (svc->retries)
        return;
    fingerprint(svc, now, sizeof(now));
    rfs_catalogue_begin(svc->catalogue);
    rfs_catalogue_put(svc->catalogue, RFS_CAT_SERVICE, 1, now);
    if (rfs_catalogue_commit(svc->catalogue, &err))
        rfs_log(svc->log, RFS_LOG_WARNING, "%s", err.msg);
}

/* A map file that no relationship names was left by a kill between a commit and an unlink. */
static bool is_orphan(struct rfs_service *svc, const char *name)
{
    unsigned long long number, generation;
    const struct rfs_relationship *rel;
    char exact[64];

    if (sscanf(name, "%llu.%llu", &number, &generation) != 2)
        return false;
    rel = rfs_relationship_by_number(svc, number);
    snprintf(exact, sizeof(exact), "%llu.%llu", number, generation);
    return !rel || rel->map_generation != generation || strcmp(name, exact) != 0;
}

static void remove_orphans(struct rfs_service *svc)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof(path), "%s/maps", svc->state_dir);
    folder = opendir(path);
    while (folder && (entry = readdir(folder)))
        if (is_orphan(svc, entry->d_name))
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
}

static int load(struct rfs_service *svc, struct rfs_error *err)
{
    if (rfs_catalogue_each(svc->catalogue, RFS_CAT_SERVICE, compare_fingerprint, svc, err) ||
        rfs_catalogue_each(svc->catalogue, RFS_CAT_ELEMENT, load_element, svc, err) ||
        rfs_catalogue_each(svc->catalogue, RFS_CAT_JOB, load_job, svc, err) ||
        rfs_catalogue_each(svc->catalogue, RFS_CAT_RELATIONSHIP, load_relationship, svc, err))
        return rfs_error_wrap(err, "the catalogue in %s cannot be loaded", svc->state_dir);
    return 0;
}

/* Elements tied by relationships share a worker. */
static void open_component(struct rfs_service *svc, struct rfs_element *el, struct rfs_worker *home)
{
    if (rfs_link_is_open(el) || !el->url)
        return;
    rfs_link_open(svc, el, el, home);
    if (el->as_target)
        open_component(svc, el->as_target->source, home);
    for (struct rfs_relationship *rel = el->as_source; rel; rel = rel->next_of_source)
        open_component(svc, rel->target, home);
}

/* A job whose relationship did not come back with it, or ended in the same instant as the daemon, has nobody
 * to go on with it. */
static void end_orphan(struct rfs_service *svc, struct rfs_job *job)
{
    struct rfs_job next = *job;
    struct rfs_error why;

    if (rfs_job_finished(job) || job->relationship)
        return;
    rfs_fail(&why, RFS_RV_FAILED, "its relationship is gone");
    rfs_job_end(job, &next, RFS_job_state_TERMINATED, &why);
    rfs_publish_volatile(svc, &(struct rfs_edit){.job = job, .job_next = &next});
}

struct starting {
    struct rfs_service *svc;
    struct rfs_error *err;
    int rc;
};

static void start_on_control(void *arg)
{
    struct starting *st = arg;
    struct rfs_service *svc = st->svc;
    struct rfs_element *el, *etmp;
    struct rfs_relationship *rel, *rtmp;
    struct rfs_job *job, *jtmp;

    svc->tick = rfs_timer_new(svc->control, rfs_jobs_tick, svc);
    svc->reaper = rfs_timer_new(svc->control, rfs_jobs_reap, svc);
    st->rc = load(svc, st->err);
    if (st->rc)
        return;
    remove_orphans(svc);
    HASH_ITER (o.by_number, svc->elements_by_number, el, etmp)
        open_component(svc, el, rfs_least_loaded(svc));
    HASH_ITER (o.by_number, svc->relationships_by_number, rel, rtmp)
        rfs_relationship_restart(svc, rel);
    HASH_ITER (o.by_number, svc->jobs_by_number, job, jtmp)
        end_orphan(svc, job);
    remember_fingerprint(svc);
    rfs_jobs_schedule(svc);
}

/* --- stopping --- */

/* Two steps, each over when what is counted has come down to nothing: pairs first, since they use the
 * volumes. */
struct stopping {
    struct rfs_service *svc;
    bool (*settled)(const struct rfs_service *svc);
    uv_sem_t done;
};

static bool no_pairs(const struct rfs_service *svc)
{
    return svc->live_pairs == 0;
}

static bool no_volumes(const struct rfs_service *svc)
{
    unsigned volumes = 0;

    for (unsigned i = 0; i < svc->worker_count; i++)
        volumes += svc->workers[i].volumes;
    return volumes == 0;
}

static void look(void *arg)
{
    struct stopping *st = arg;

    if (!st->settled(st->svc))
        return;
    st->svc->settle = NULL;
    uv_sem_post(&st->done);
}

static void await_settled(struct stopping *st, bool (*settled)(const struct rfs_service *svc))
{
    st->settled = settled;
    st->svc->settle = look;
    st->svc->settle_arg = st;
    look(st);
}

static void end_all_waits(struct rfs_service *svc)
{
    struct rfs_element *el, *etmp;
    struct rfs_relationship *rel, *rtmp;
    struct rfs_job *job, *jtmp;
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_FAILED, "the service is stopping; the operation itself goes on at its next start");
    HASH_ITER (o.by_number, svc->elements_by_number, el, etmp)
        rfs_waiters_end(&el->o, false, &err);
    HASH_ITER (o.by_number, svc->relationships_by_number, rel, rtmp)
        rfs_waiters_end(&rel->o, false, &err);
    HASH_ITER (o.by_number, svc->jobs_by_number, job, jtmp)
        rfs_waiters_end(&job->o, false, &err);
}

static void ignore(void *arg)
{
    (void)arg;
}

static void park_jobs(void *arg)
{
    struct stopping *st = arg;
    struct rfs_service *svc = st->svc;
    struct rfs_relationship *rel, *tmp;
    struct rfs_element *el, *etmp;

    svc->stopping = true;
    end_all_waits(svc);
    rfs_relationship_retries_end(svc);
    HASH_ITER (o.by_number, svc->elements_by_number, el, etmp)
        rfs_element_cancel_change(svc, el);
    HASH_ITER (o.by_number, svc->relationships_by_number, rel, tmp)
        rfs_link_detach(rel, ignore, NULL);
    await_settled(st, no_pairs);
}

static void close_volumes(void *arg)
{
    struct stopping *st = arg;
    struct rfs_service *svc = st->svc;
    struct rfs_element *el, *tmp;

    HASH_ITER (o.by_number, svc->elements_by_number, el, tmp)
        rfs_link_close(svc, el, NULL, NULL);
    await_settled(st, no_volumes);
}

static void end_timers(void *arg)
{
    struct rfs_service *svc = arg;

    rfs_timer_destroy(svc->tick);
    rfs_timer_destroy(svc->reaper);
}

static void free_model(struct rfs_service *svc)
{
    struct rfs_element *el, *etmp;
    struct rfs_relationship *rel, *rtmp;
    struct rfs_job *job, *jtmp;

    HASH_ITER (o.by_number, svc->relationships_by_number, rel, rtmp) {
        HASH_DELETE(o.by_number, svc->relationships_by_number, rel);
        HASH_DELETE(o.by_name, svc->relationships_by_name, rel);
        rfs_free_relationship(rel);
    }
    HASH_ITER (o.by_number, svc->elements_by_number, el, etmp) {
        HASH_DELETE(o.by_number, svc->elements_by_number, el);
        HASH_DELETE(o.by_name, svc->elements_by_name, el);
        rfs_free_element(el);
    }
    HASH_ITER (o.by_number, svc->jobs_by_number, job, jtmp) {
        HASH_DELETE(o.by_number, svc->jobs_by_number, job);
        rfs_free_job(job);
    }
}

static void step(struct stopping *st, void (*fn)(void *arg))
{
    uv_sem_init(&st->done, 0);
    rfs_loop_call(st->svc->control, fn, st);
    uv_sem_wait(&st->done);
    uv_sem_destroy(&st->done);
}

static void free_threads(struct rfs_service *svc)
{
    for (unsigned i = 0; i < svc->worker_count; i++)
        rfs_loop_stop(svc->workers[i].loop);
    rfs_iothreads_free(svc->committer);
    if (svc->control) {
        rfs_loop_call(svc->control, end_timers, svc);
        rfs_loop_stop(svc->control);
    }
}

static void free_service(struct rfs_service *svc)
{
    free_threads(svc);
    free_model(svc);
    rfs_catalogue_close(svc->catalogue);
    rfs_events_free(svc->events);
    pthread_mutex_destroy(&svc->lock);
    free(svc->workers);
    free(svc->initiator);
    free(svc->state_dir);
    free(svc->mountpoint);
    free(svc);
}

void rfs_service_stop(struct rfs_service *svc)
{
    struct stopping st = {.svc = svc};

    if (!svc)
        return;
    step(&st, park_jobs);
    step(&st, close_volumes);
    rfs_log(svc->log, RFS_LOG_INFO, "stopped");
    free_service(svc);
}

/* --- starting --- */

static void event_added(void *arg)
{
    struct rfs_service *svc = arg;

    if (svc->observer.event)
        svc->observer.event(svc->observer.arg);
}

static unsigned default_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 1 : cores > 4 ? 4 : (unsigned)cores;
}

static int start_threads(struct rfs_service *svc, unsigned workers, struct rfs_error *err)
{
    char name[16];

    svc->control = rfs_loop_start("rfs-control", err);
    if (!svc->control)
        return -1;
    svc->committer = rfs_iothreads_new("rfs-maps", 1);
    svc->workers = rfs_xcalloc(workers, sizeof(*svc->workers));
    for (unsigned i = 0; i < workers; i++) {
        snprintf(name, sizeof(name), "rfs-worker-%u", i % 100);
        svc->workers[i].loop = rfs_loop_start(name, err);
        if (!svc->workers[i].loop)
            return -1;
        svc->worker_count++;
    }
    return 0;
}

static void set_initiator(struct rfs_service *svc)
{
    char iqn[128];

    snprintf(iqn, sizeof(iqn), "iqn.2026-11.io.replicafs:%s", rfs_catalogue_uuid(svc->catalogue));
    svc->initiator = rfs_xstrdup(iqn);
}

static struct rfs_service *give_up(struct rfs_service *svc)
{
    free_service(svc);
    return NULL;
}

struct rfs_service *rfs_service_start(const struct rfs_service_options *options, struct rfs_error *err)
{
    struct rfs_service *svc = rfs_xcalloc(1, sizeof(*svc));
    struct starting st = {.svc = svc, .err = err};

    signal(SIGPIPE, SIG_IGN); /* a target's closed socket is an error, not the end */
    pthread_mutex_init(&svc->lock, NULL);
    svc->log = options->log;
    svc->observer = options->observer;
    svc->volume_maker = options->volume_maker;
    svc->state_dir = rfs_xstrdup(options->state_dir);
    svc->mountpoint = rfs_xstrdup(options->mountpoint);
    svc->started_ms = rfs_now_ms();
    svc->events = rfs_events_new(event_added, svc);
    svc->catalogue = rfs_catalogue_open(svc->state_dir, err);
    if (!svc->catalogue)
        return give_up(svc);
    set_initiator(svc);
    if (start_threads(svc, options->workers ? options->workers : default_workers(), err))
        return give_up(svc);
    rfs_loop_call(svc->control, start_on_control, &st);
    if (st.rc) {
        rfs_service_stop(svc);
        return NULL;
    }
    rfs_event(svc->events, "Started", NULL, NULL, "replicafs %s", RFS_VERSION);
    return svc;
}
