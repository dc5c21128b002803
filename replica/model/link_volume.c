/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "model/link.h"

/* One opening of a volume, from open to closed; a re-opened element gets a new one, so that what an old one
 * still had on its way can be told apart. */
struct rfs_element_link {
    struct rfs_service *svc;
    struct rfs_element *el; /* control thread; NULL once closed by it */
    struct rfs_worker *home;
    struct rfs_volume *volume; /* worker */
    struct rfs_volume_listener listener;
    struct rfs_task task; /* open, then close */
    struct rfs_device_config config;
    char *strings[8]; /* the config's */
    char *name;
    void (*closed)(void *arg);
    void *closed_arg;
    struct rfs_error open_error;
};

/* A state on its way to the control thread. */
struct state_message {
    struct rfs_task task;
    struct rfs_element_link *link;
    enum rfs_device_state state;
    struct rfs_device_info info;
    bool failed;
    struct rfs_error why;
};

static void free_link(struct rfs_element_link *link)
{
    for (size_t i = 0; i < sizeof(link->strings) / sizeof(link->strings[0]); i++) {
        if (link->strings[i])
            explicit_bzero(link->strings[i], strlen(link->strings[i]));
        free(link->strings[i]);
    }
    free(link);
}

static void deliver_state(struct rfs_task *task)
{
    struct state_message *m = RFS_CONTAINER_OF(task, struct state_message, task);

    if (m->link->el)
        rfs_element_on_state(m->link->svc, m->link->el, m->state, &m->info, m->failed ? &m->why : NULL);
    free(m);
}

static void send_state(struct rfs_element_link *link, enum rfs_device_state state,
                       const struct rfs_device_info *info, const struct rfs_error *why)
{
    struct state_message *m = rfs_xcalloc(1, sizeof(*m));

    m->task.run = deliver_state;
    m->link = link;
    m->state = state;
    if (info)
        m->info = *info;
    if (why) {
        m->failed = true;
        m->why = *why;
    }
    rfs_loop_post(link->svc->control, &m->task);
}

static void on_changed(struct rfs_volume_listener *l, struct rfs_volume *vol)
{
    struct rfs_element_link *link = RFS_CONTAINER_OF(l, struct rfs_element_link, listener);
    enum rfs_device_state state = rfs_volume_state(vol);

    send_state(link, state, rfs_volume_info(vol), state == RFS_DEVICE_ONLINE ? NULL : rfs_volume_why(vol));
}

/* --- open --- */

struct opened_message {
    struct rfs_task task;
    struct rfs_element_link *link;
};

static void publish_volume(struct rfs_task *task)
{
    struct opened_message *m = RFS_CONTAINER_OF(task, struct opened_message, task);

    if (m->link->el) {
        rfs_service_lock(m->link->svc);
        m->link->el->volume = m->link->volume;
        rfs_service_unlock(m->link->svc);
    }
    free(m);
}

static struct rfs_device *open_by_maker(void *arg, struct rfs_loop *loop,
                                        const struct rfs_device_events *events, void *events_arg,
                                        struct rfs_error *err)
{
    struct rfs_element_link *link = arg;

    return link->svc->volume_maker->open(link->svc->volume_maker, link->name, loop, events, events_arg, err);
}

static void open_on_worker(struct rfs_task *task)
{
    struct rfs_element_link *link = RFS_CONTAINER_OF(task, struct rfs_element_link, task);
    struct opened_message *m;

    link->volume = rfs_volume_open(link->home->loop, &link->config,
                                   link->svc->volume_maker ? open_by_maker : NULL, link, &link->open_error);
    if (!link->volume) {
        send_state(link, RFS_DEVICE_REFUSED, NULL, &link->open_error);
        return;
    }
    link->listener.changed = on_changed;
    rfs_volume_listen(link->volume, &link->listener);
    m = rfs_xcalloc(1, sizeof(*m));
    m->task.run = publish_volume;
    m->link = link;
    rfs_loop_post(link->svc->control, &m->task);
}

static const char *keep(struct rfs_element_link *link, unsigned *n, const char *s)
{
    return link->strings[(*n)++] = rfs_xstrdup(s);
}

static void copy_config(struct rfs_element_link *link, const char *name, uint64_t number,
                        const struct rfs_element *el)
{
    struct rfs_device_config *c = &link->config;
    unsigned n = 0;

    c->name = keep(link, &n, name);
    c->url = keep(link, &n, el->url);
    c->username = keep(link, &n, el->username);
    c->password = keep(link, &n, el->password);
    c->target_username = keep(link, &n, el->target_username);
    c->target_password = keep(link, &n, el->target_password);
    c->expect_identity = el->known ? keep(link, &n, el->info.identity) : NULL;
    c->expect_size = el->known ? el->info.size : 0;
    c->expect_block_size = el->known ? el->info.block_size : 0;
    c->header_digest = el->header_digest;
    c->initiator = link->svc->initiator;
    c->isid = (uint32_t)(number & 0xffffff);
    c->log = link->svc->log;
    link->name = link->strings[0];
}

bool rfs_link_is_open(const struct rfs_element *el)
{
    return el->link != NULL;
}

struct rfs_volume *rfs_link_volume(const struct rfs_element_link *link)
{
    return link->volume;
}

void rfs_link_open(struct rfs_service *svc, struct rfs_element *el, const struct rfs_element *config,
                   struct rfs_worker *home)
{
    struct rfs_element_link *link = rfs_xcalloc(1, sizeof(*link));

    link->svc = svc;
    link->el = el;
    link->home = home;
    copy_config(link, el->o.name, el->o.number, config);
    link->task.run = open_on_worker;
    home->volumes++;
    rfs_service_lock(svc);
    el->link = link;
    el->home = home;
    rfs_service_unlock(svc);
    rfs_loop_post(home->loop, &link->task);
}

/* --- close --- */

static void closed_on_control(struct rfs_task *task)
{
    struct rfs_element_link *link = RFS_CONTAINER_OF(task, struct rfs_element_link, task);

    struct rfs_service *svc = link->svc;

    link->home->volumes--;
    if (link->closed)
        link->closed(link->closed_arg);
    free_link(link);
    if (svc->settle)
        svc->settle(svc->settle_arg);
}

static void volume_closed(void *arg)
{
    struct rfs_element_link *link = arg;

    link->task.run = closed_on_control;
    rfs_loop_post(link->svc->control, &link->task);
}

static void close_on_worker(struct rfs_task *task)
{
    struct rfs_element_link *link = RFS_CONTAINER_OF(task, struct rfs_element_link, task);

    if (!link->volume) {
        volume_closed(link);
        return;
    }
    rfs_volume_unlisten(link->volume, &link->listener);
    rfs_volume_close(link->volume, volume_closed, link);
}

/* The close task waits behind an open that has not run yet: it is its own message, since link->task may be
 * queued. */
static void start_close(struct rfs_task *task)
{
    struct opened_message *m = RFS_CONTAINER_OF(task, struct opened_message, task);
    struct rfs_element_link *link = m->link;

    free(m);
    close_on_worker(&link->task);
}

void rfs_link_close(struct rfs_service *svc, struct rfs_element *el, void (*closed)(void *arg), void *arg)
{
    struct rfs_element_link *link = el->link;
    struct opened_message *m;

    if (!link) {
        if (closed)
            closed(arg);
        return;
    }
    rfs_service_lock(svc);
    el->link = NULL;
    el->volume = NULL;
    el->home = NULL;
    rfs_service_unlock(svc);
    link->el = NULL;
    link->closed = closed;
    link->closed_arg = arg;
    m = rfs_xcalloc(1, sizeof(*m));
    m->task.run = start_close;
    m->link = link;
    rfs_loop_post(link->home->loop, &m->task);
}

/* --- signature --- */

struct signature_request {
    struct rfs_task task;
    struct rfs_service *svc;
    struct rfs_volume *volume;
    struct rfs_signature *sig;
    bool failed;
    struct rfs_error err;
    void (*done)(void *arg, int found, const char *what, const struct rfs_error *err);
    void *arg;
};

static void signature_on_control(struct rfs_task *task)
{
    struct signature_request *r = RFS_CONTAINER_OF(task, struct signature_request, task);
    char what[400] = "";
    int found = r->failed ? -1 : rfs_signature_identify(r->sig, what, sizeof(what), &r->err);

    r->done(r->arg, found, what, &r->err);
    if (r->sig)
        rfs_signature_free(r->sig);
    free(r);
}

static void signature_read(void *arg, struct rfs_signature *sig, const struct rfs_error *err)
{
    struct signature_request *r = arg;

    r->sig = sig;
    r->failed = !sig;
    if (!sig && err)
        r->err = *err;
    r->task.run = signature_on_control;
    rfs_loop_post(r->svc->control, &r->task);
}

static void signature_on_worker(struct rfs_task *task)
{
    struct signature_request *r = RFS_CONTAINER_OF(task, struct signature_request, task);

    rfs_signature_read(r->volume, signature_read, r);
}

void rfs_link_signature(struct rfs_service *svc, struct rfs_element *el,
                        void (*done)(void *arg, int found, const char *what, const struct rfs_error *err),
                        void *arg)
{
    struct signature_request *r = rfs_xcalloc(1, sizeof(*r));

    r->task.run = signature_on_worker;
    r->svc = svc;
    r->volume = el->volume;
    r->done = done;
    r->arg = arg;
    rfs_loop_post(el->home->loop, &r->task);
}
