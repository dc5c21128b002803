/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/link.h"
#include "model/setting.h"

/* The control thread's and the worker's shared handle on one pair; made by attach, gone after detach. Fields
 * belong to the control thread unless marked. */
struct rfs_relationship_link {
    struct rfs_service *svc;
    struct rfs_relationship *rel;
    struct rfs_loop *worker;
    struct rfs_pair *pair;                    /* worker */
    struct rfs_pmap *map;                     /* worker */
    struct rfs_element_link *source, *target; /* worker looks at their volumes */
    struct rfs_pair_settings first_settings;  /* worker, at the making */
    struct rfs_pmap_wait map_wait;            /* worker */
    bool running;
    unsigned epoch;        /* grows at each run and stop: events of an older one are not delivered */
    unsigned worker_epoch; /* worker */
    bool stop_sent, detach_after_stop;
    bool map_failed;
    void (*stopped)(void *arg, bool complete);
    void *stopped_arg;
    void (*detached)(void *arg);
    void *detached_arg;
};

enum message_kind {
    MADE,
    RUN,
    CONFIGURE,
    STOP,
    STOPPED,
    DETACH,
    DETACHED,
    COPIED,
    LOST,
    RESUMED,
    FAILED,
    MISMATCH
};

struct message {
    struct rfs_task task;
    enum message_kind kind;
    struct rfs_relationship_link *link;
    unsigned epoch;
    struct rfs_pair_settings settings;
    enum rfs_side side;
    struct rfs_error why;
    bool complete, map_failed;
    uint64_t offset, length;
};

static void on_worker(struct rfs_task *task);
static void on_control(struct rfs_task *task);

static void post_message(struct rfs_relationship_link *link, const struct message *what, bool to_worker)
{
    struct message *m = rfs_xmalloc(sizeof(*m));

    *m = *what;
    m->link = link;
    m->task.run = to_worker ? on_worker : on_control;
    rfs_loop_post(to_worker ? link->worker : link->svc->control, &m->task);
}

/* --- worker: events of the pair --- */

static void pair_copied(void *arg)
{
    struct rfs_relationship_link *link = arg;

    post_message(link, &(struct message){.kind = COPIED, .epoch = link->worker_epoch}, false);
}

static void pair_lost(void *arg, enum rfs_side side, const struct rfs_error *why)
{
    struct rfs_relationship_link *link = arg;

    post_message(
        link, &(struct message){.kind = LOST, .epoch = link->worker_epoch, .side = side, .why = *why}, false);
}

static void pair_resumed(void *arg)
{
    struct rfs_relationship_link *link = arg;

    post_message(link, &(struct message){.kind = RESUMED, .epoch = link->worker_epoch}, false);
}

static void pair_failed(void *arg, enum rfs_side side, const struct rfs_error *why)
{
    struct rfs_relationship_link *link = arg;

    post_message(link,
                 &(struct message){.kind = FAILED, .epoch = link->worker_epoch, .side = side, .why = *why},
                 false);
}

static void pair_mismatch(void *arg, uint64_t offset, uint64_t length)
{
    struct rfs_relationship_link *link = arg;

    post_message(
        link,
        &(struct message){.kind = MISMATCH, .epoch = link->worker_epoch, .offset = offset, .length = length},
        false);
}

static const struct rfs_pair_events pair_events = {.copied = pair_copied,
                                                   .lost = pair_lost,
                                                   .resumed = pair_resumed,
                                                   .failed = pair_failed,
                                                   .mismatch = pair_mismatch};

/* --- worker: orders --- */

static void make_pair(struct rfs_relationship_link *link)
{
    rfs_pmap_attach(link->map, link->worker, link->svc->committer);
    link->pair = rfs_pair_new(rfs_link_volume(link->source), rfs_link_volume(link->target), link->map,
                              &link->first_settings, &pair_events, link);
    post_message(link, &(struct message){.kind = MADE}, false);
}

static void pair_stopped(void *arg, bool complete)
{
    struct rfs_relationship_link *link = arg;

    post_message(link,
                 &(struct message){
                     .kind = STOPPED, .complete = complete, .map_failed = rfs_pmap_error(link->map) != NULL},
                 false);
}

static void map_detached(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    struct rfs_relationship_link *link = RFS_CONTAINER_OF(wait, struct rfs_relationship_link, map_wait);
    struct message m = {.kind = DETACHED};

    if (err)
        m.why = *err;
    post_message(link, &m, false);
}

static void pair_stopped_for_detach(void *arg, bool complete)
{
    struct rfs_relationship_link *link = arg;

    rfs_pair_free(link->pair);
    link->pair = NULL;
    link->map_wait.done = map_detached;
    rfs_pmap_detach(link->map, &link->map_wait);
}

static void on_worker(struct rfs_task *task)
{
    struct message *m = RFS_CONTAINER_OF(task, struct message, task);
    struct rfs_relationship_link *link = m->link;

    switch (m->kind) {
    case MADE:
        make_pair(link);
        break;
    case RUN:
        link->worker_epoch = m->epoch;
        rfs_pair_run(link->pair);
        break;
    case CONFIGURE:
        rfs_pair_configure(link->pair, &m->settings);
        break;
    case STOP:
        rfs_pair_stop(link->pair, pair_stopped, link);
        break;
    case DETACH:
        rfs_pair_stop(link->pair, pair_stopped_for_detach, link);
        break;
    default:
        break;
    }
    free(m);
}

/* --- control: what comes back --- */

static void now_made(struct rfs_relationship_link *link)
{
    if (!link->rel)
        return;
    rfs_service_lock(link->svc);
    link->rel->pair = link->pair;
    rfs_service_unlock(link->svc);
}

static void now_stopped(struct rfs_relationship_link *link, bool complete)
{
    void (*stopped)(void *arg, bool complete) = link->stopped;

    link->stopped = NULL;
    link->stop_sent = false;
    if (link->detach_after_stop)
        post_message(link, &(struct message){.kind = DETACH}, true);
    stopped(link->stopped_arg, complete);
}

static void now_detached(struct rfs_relationship_link *link)
{
    void (*detached)(void *arg) = link->detached;
    void *arg = link->detached_arg;

    struct rfs_service *svc = link->svc;

    rfs_pmap_free(link->map);
    free(link);
    svc->live_pairs--;
    detached(arg);
    if (svc->settle)
        svc->settle(svc->settle_arg);
}

static void deliver_event(const struct message *m)
{
    struct rfs_relationship_link *link = m->link;

    if (!link->rel || m->epoch != link->epoch)
        return;
    if (m->kind == COPIED || m->kind == FAILED)
        link->running = false;
    if (m->kind == COPIED)
        rfs_relationship_on_copied(link->svc, link->rel);
    else if (m->kind == LOST)
        rfs_relationship_on_lost(link->svc, link->rel, m->side, &m->why);
    else if (m->kind == RESUMED)
        rfs_relationship_on_resumed(link->svc, link->rel);
    else if (m->kind == FAILED)
        rfs_relationship_on_failed(link->svc, link->rel, m->side, &m->why);
    else if (m->kind == MISMATCH)
        rfs_relationship_on_mismatch(link->svc, link->rel, m->offset, m->length);
}

static void on_control(struct rfs_task *task)
{
    struct message *m = RFS_CONTAINER_OF(task, struct message, task);

    if (m->kind == MADE)
        now_made(m->link);
    else if (m->kind == STOPPED) {
        m->link->map_failed = m->map_failed;
        now_stopped(m->link, m->complete);
    } else if (m->kind == DETACHED)
        now_detached(m->link);
    else
        deliver_event(m);
    free(m);
}

/* --- control: the map's file --- */

static void map_path(const struct rfs_service *svc, uint64_t number, uint64_t generation, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/maps/%llu.%llu", svc->state_dir, (unsigned long long)number,
             (unsigned long long)generation);
}

static void map_identity(const struct rfs_service *svc, const struct rfs_relationship *rel,
                         struct rfs_pmap_identity *id)
{
    snprintf(id->owner, sizeof(id->owner), "%s/%llu", rfs_catalogue_uuid(svc->catalogue),
             (unsigned long long)rel->o.number);
    id->generation = rel->map_generation;
    id->size = rel->size;
    id->region_size = (uint32_t)rel->settings.region_size;
}

int rfs_link_map_create(struct rfs_service *svc, const struct rfs_relationship *rel, bool all_set,
                        struct rfs_error *err)
{
    struct rfs_pmap_identity id = {0};
    char path[PATH_MAX];

    map_path(svc, rel->o.number, rel->map_generation, path);
    map_identity(svc, rel, &id);
    return rfs_pmap_create(path, &id, all_set, err);
}

void rfs_link_map_remove(struct rfs_service *svc, const struct rfs_relationship *rel, uint64_t generation)
{
    char path[PATH_MAX];

    map_path(svc, rel->o.number, generation, path);
    unlink(path);
}

static struct rfs_pmap *load_map(struct rfs_service *svc, struct rfs_relationship *rel, bool *lost_map,
                                 struct rfs_error *err)
{
    struct rfs_pmap_identity id = {0};
    struct rfs_error why;
    struct rfs_pmap *map;
    char path[PATH_MAX];

    map_path(svc, rel->o.number, rel->map_generation, path);
    map_identity(svc, rel, &id);
    map = rfs_pmap_load(path, &id, &why);
    if (map)
        return map;
    rfs_log(svc->log, RFS_LOG_WARNING, "relationships/%s: %s; everything counts as not copied", rel->o.name,
            why.msg);
    *lost_map = true;
    if (rfs_pmap_create(path, &id, true, err))
        return NULL;
    return rfs_pmap_load(path, &id, err);
}

/* --- control: calls --- */

int rfs_link_attach(struct rfs_service *svc, struct rfs_relationship *rel, bool *lost_map,
                    struct rfs_error *err)
{
    struct rfs_relationship_link *link;
    struct rfs_pmap *map = load_map(svc, rel, lost_map, err);

    if (!map)
        return -1;
    link = rfs_xcalloc(1, sizeof(*link));
    link->svc = svc;
    link->rel = rel;
    link->worker = rel->source->home->loop;
    link->map = map;
    link->source = rel->source->link;
    link->target = rel->target->link;
    rfs_settings_to_pair(&rel->settings, &link->first_settings);
    rfs_service_lock(svc);
    rel->link = link;
    rel->map = map;
    rfs_service_unlock(svc);
    svc->live_pairs++;
    post_message(link, &(struct message){.kind = MADE}, true);
    return 0;
}

bool rfs_link_attached(const struct rfs_relationship *rel)
{
    return rel->link != NULL;
}

bool rfs_link_map_failed(const struct rfs_relationship *rel)
{
    return rel->link && rel->link->map_failed;
}

void rfs_link_run(struct rfs_relationship *rel)
{
    struct rfs_relationship_link *link = rel->link;

    link->running = true;
    link->epoch++;
    post_message(link, &(struct message){.kind = RUN, .epoch = link->epoch}, true);
}

bool rfs_link_running(const struct rfs_relationship *rel)
{
    return rel->link && rel->link->running;
}

void rfs_link_configure(struct rfs_relationship *rel)
{
    struct message m = {.kind = CONFIGURE};

    if (!rel->link)
        return;
    rfs_settings_to_pair(&rel->settings, &m.settings);
    post_message(rel->link, &m, true);
}

void rfs_link_stop(struct rfs_relationship *rel, void (*stopped)(void *arg, bool complete), void *arg)
{
    struct rfs_relationship_link *link = rel->link;

    link->running = false;
    link->epoch++;
    link->stopped = stopped;
    link->stopped_arg = arg;
    link->stop_sent = true;
    post_message(link, &(struct message){.kind = STOP}, true);
}

void rfs_link_detach(struct rfs_relationship *rel, void (*done)(void *arg), void *arg)
{
    struct rfs_relationship_link *link = rel->link;

    if (!link) {
        done(arg);
        return;
    }
    rfs_service_lock(link->svc);
    rel->link = NULL;
    rel->map = NULL;
    rel->pair = NULL;
    rfs_service_unlock(link->svc);
    link->rel = NULL;
    link->detached = done;
    link->detached_arg = arg;
    if (link->stop_sent) /* one order at a time: it follows when the stop has been answered */
        link->detach_after_stop = true;
    else
        post_message(link, &(struct message){.kind = DETACH}, true);
}
