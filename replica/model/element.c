/* SPDX-License-Identifier: Apache-2.0 */
#include "model/element.h"

#include <stdlib.h>
#include <string.h>

#include "model/events.h"
#include "model/relationship.h"

/* A change under way: the old volume is closed, one with the new values is opened, its first state decides.
 */
struct rfs_element_change {
    struct rfs_service *svc;
    struct rfs_element *el;
    struct rfs_element next; /* edited copy of *el; its new strings are owned until published */
    bool offline_ok, rehome;
    bool restoring; /* the new values were no good; the old ones are being connected again */
    const char *busy_before;
    struct rfs_worker *home;
    void (*done)(void *arg, const struct rfs_error *err);
    void *arg;
    struct rfs_error err;
};

static const uint32_t state_of_device[] = {
    [RFS_DEVICE_CONNECTING] = RFS_element_state_CONNECTING,
    [RFS_DEVICE_ONLINE] = RFS_element_state_ONLINE,
    [RFS_DEVICE_OFFLINE] = RFS_element_state_OFFLINE,
    [RFS_DEVICE_REFUSED] = RFS_element_state_REFUSED,
};

struct rfs_worker *rfs_least_loaded(struct rfs_service *svc)
{
    struct rfs_worker *best = &svc->workers[0];

    for (unsigned i = 1; i < svc->worker_count; i++)
        if (svc->workers[i].volumes < best->volumes)
            best = &svc->workers[i];
    return best;
}

static void publish_state(struct rfs_service *svc, struct rfs_element *el, uint32_t state, const char *why)
{
    struct rfs_element next = *el;

    next.state = state;
    if (why || state == RFS_element_state_ONLINE)
        next.o.last_error = rfs_xstrdup(why);
    rfs_publish_volatile(svc, &(struct rfs_edit){.el = el, .el_next = &next});
}

/* One LUN is one element: another element with this identity, or NULL. */
static struct rfs_element *same_lun(struct rfs_service *svc, const struct rfs_element *el,
                                    const char *identity)
{
    struct rfs_element *other, *tmp;

    HASH_ITER (o.by_number, svc->elements_by_number, other, tmp)
        if (other != el && other->known && !strcmp(other->info.identity, identity))
            return other;
    return NULL;
}

static int check_unique(struct rfs_service *svc, const struct rfs_element *el,
                        const struct rfs_device_info *info, struct rfs_error *err)
{
    struct rfs_element *other = same_lun(svc, el, info->identity);

    if (!other)
        return 0;
    return rfs_fail(err, RFS_RV_IN_USE,
                    "elements/%s: this LUN (%s) is elements/%s already; one LUN is one element, use that one",
                    el->o.name, info->identity, other->o.name);
}

/* --- changes --- */

static void free_new_strings(struct rfs_element_change *ch)
{
    char **mine[] = {&ch->next.url, &ch->next.username, &ch->next.password, &ch->next.target_username,
                     &ch->next.target_password};
    char *theirs[] = {ch->el->url, ch->el->username, ch->el->password, ch->el->target_username,
                      ch->el->target_password};

    for (size_t i = 0; i < sizeof(mine) / sizeof(mine[0]); i++)
        if (*mine[i] != theirs[i])
            free(*mine[i]);
}

static void end_change(struct rfs_element_change *ch, const struct rfs_error *err)
{
    void (*done)(void *arg, const struct rfs_error *err) = ch->done;
    void *arg = ch->arg;
    struct rfs_error copy = RFS_ERROR_INIT;

    if (err)
        copy = *err;
    ch->el->change = NULL;
    ch->el->busy = ch->busy_before;
    free(ch);
    done(arg, err ? &copy : NULL);
}

/* The new values are no good: back to the old ones, and only then the answer. */
static void restore_old(void *arg)
{
    struct rfs_element_change *ch = arg;
    struct rfs_service *svc = ch->svc;
    struct rfs_element *el = ch->el;

    free_new_strings(ch);
    ch->restoring = true;
    publish_state(svc, el, el->url ? RFS_element_state_CONNECTING : RFS_element_state_UNCONFIGURED,
                  ch->err.msg);
    if (el->url && !svc->stopping)
        rfs_link_open(svc, el, el, ch->home);
    else
        end_change(ch, &ch->err);
}

static void restored(struct rfs_element_change *ch, enum rfs_device_state state, const struct rfs_error *why)
{
    struct rfs_error err = ch->err;

    publish_state(ch->svc, ch->el, state_of_device[state], why ? why->msg : NULL);
    end_change(ch, &err);
}

static void reject(struct rfs_element_change *ch, const struct rfs_error *why)
{
    ch->err = *why;
    rfs_link_close(ch->svc, ch->el, restore_old, ch);
}

/* Makes the new values the element's. */
static void accept_new(struct rfs_element_change *ch, uint32_t state, const struct rfs_device_info *info,
                       const struct rfs_error *why)
{
    struct rfs_element *el = ch->el;
    struct rfs_element next = *el; /* volume, home and link have been set meanwhile */
    struct rfs_error err;

    next.url = ch->next.url;
    next.username = ch->next.username;
    next.password = ch->next.password;
    next.target_username = ch->next.target_username;
    next.target_password = ch->next.target_password;
    next.header_digest = ch->next.header_digest;
    next.known = info || ch->next.known;
    next.info = info ? *info : ch->next.info;
    next.state = state;
    next.o.last_error = why ? rfs_xstrdup(why->msg) : NULL;
    if (ch->rehome) { /* nothing that the catalogue keeps */
        rfs_publish_volatile(ch->svc, &(struct rfs_edit){.el = el, .el_next = &next});
    } else if (rfs_publish(ch->svc, &(struct rfs_edit){.el = el, .el_next = &next}, &err)) {
        ch->next = *el; /* publishing has freed the new strings */
        rfs_error_wrap(&err, "elements/%s", el->o.name);
        reject(ch, &err);
        return;
    }
    end_change(ch, NULL);
}

static void change_state(struct rfs_element_change *ch, enum rfs_device_state state,
                         const struct rfs_device_info *info, const struct rfs_error *why)
{
    struct rfs_error err;

    if (state == RFS_DEVICE_CONNECTING)
        return;
    if (ch->restoring)
        restored(ch, state, why);
    else if (state == RFS_DEVICE_ONLINE && check_unique(ch->svc, ch->el, info, &err))
        reject(ch, &err);
    else if (state == RFS_DEVICE_ONLINE)
        accept_new(ch, RFS_element_state_ONLINE, info, NULL);
    else if (ch->offline_ok)
        accept_new(ch, state_of_device[state], NULL, why);
    else if (ch->rehome) { /* the element stays as it is, Offline, and keeps trying where it is now */
        publish_state(ch->svc, ch->el, state_of_device[state], why->msg);
        end_change(ch, why);
    } else
        reject(ch, why);
}

static void open_new(void *arg)
{
    struct rfs_element_change *ch = arg;

    if (ch->svc->stopping) {
        struct rfs_error err;

        rfs_fail(&err, RFS_RV_FAILED, "the service is stopping");
        free_new_strings(ch);
        end_change(ch, &err);
        return;
    }
    if (!ch->next.url) {
        ch->next.known = false;
        memset(&ch->next.info, 0, sizeof(ch->next.info));
        accept_new(ch, RFS_element_state_UNCONFIGURED, NULL, NULL);
        return;
    }
    publish_state(ch->svc, ch->el, RFS_element_state_CONNECTING, NULL);
    rfs_link_open(ch->svc, ch->el, &ch->next, ch->home);
}

/* A stop: nobody is left without an answer. */
static void cancelled(void *arg)
{
    struct rfs_element_change *ch = arg;
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_FAILED, "the service is stopping");
    if (!ch->restoring)
        free_new_strings(ch);
    end_change(ch, &err);
}

void rfs_element_cancel_change(struct rfs_service *svc, struct rfs_element *el)
{
    if (el->change &&
        rfs_link_is_open(el)) /* else its closing is under way, and what follows sees the stop */
        rfs_link_close(svc, el, cancelled, el->change);
}

static struct rfs_element_change *start_change(struct rfs_service *svc, struct rfs_element *el,
                                               const char *busy,
                                               void (*done)(void *arg, const struct rfs_error *err),
                                               void *arg)
{
    struct rfs_element_change *ch = rfs_xcalloc(1, sizeof(*ch));

    ch->svc = svc;
    ch->el = el;
    ch->next = *el;
    ch->home = rfs_least_loaded(svc);
    ch->done = done;
    ch->arg = arg;
    ch->busy_before = el->busy;
    el->change = ch;
    el->busy = busy;
    return ch;
}

static char *choose(char *old, const char *asked)
{
    if (!asked)
        return old;
    if (old && !strcmp(old, asked))
        return old;
    return *asked ? rfs_xstrdup(asked) : NULL;
}

static bool same_string(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static int check_changeable(struct rfs_service *svc, struct rfs_element *el, struct rfs_error *err)
{
    const struct rfs_relationship *rel = el->as_target ? el->as_target : el->as_source;

    if (el->busy)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s is %s; wait until that is done", el->o.name,
                        el->busy);
    if (rel)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s is in relationships/%s; detach that first",
                        el->o.name, rel->o.name);
    if (el->open_files)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s/data is open; close it first", el->o.name);
    return 0;
}

/* Our own mount as a backing store would wait for itself. */
static int check_not_own(struct rfs_service *svc, const char *url, struct rfs_error *err)
{
    const char *path = rfs_device_url_path(url);
    size_t len = svc->mountpoint ? strlen(svc->mountpoint) : 0;

    if (!path || !len || strncmp(path, svc->mountpoint, len) || (path[len] && path[len] != '/'))
        return 0;
    return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                    "'%s' lies on this very mount; a volume cannot be stored in the tree that serves it",
                    url);
}

/* The catalogue keeps text; other bytes would be lost there. */
static int check_text(const struct rfs_element *el, const struct rfs_element_config *config,
                      struct rfs_error *err)
{
    const char *const values[] = {config->url, config->username, config->password, config->target_username,
                                  config->target_password};
    static const char *const names[] = {"url", "username", "password", "target_username", "target_password"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (values[i] && !rfs_utf8(values[i]))
            return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                            "elements/%s: %s has bytes that are not UTF-8; give text", el->o.name, names[i]);
    return 0;
}

static int check_config(struct rfs_service *svc, struct rfs_element *el,
                        const struct rfs_element_config *config, struct rfs_error *err)
{
    if (check_changeable(svc, el, err) || check_text(el, config, err))
        return -1;
    if (!config->url || !*config->url)
        return 0;
    if (rfs_device_check_url(config->url, err) || check_not_own(svc, config->url, err))
        return rfs_error_wrap(err, "elements/%s", el->o.name);
    return 0;
}

static bool unchanged(const char *old, const char *asked)
{
    return !asked || same_string(old, *asked ? asked : NULL);
}

/* Asking for what is so already succeeds, also for an element that must not be changed now. */
static bool so_already(const struct rfs_element *el, const struct rfs_element_config *c)
{
    return !el->change && unchanged(el->url, c->url) && unchanged(el->username, c->username) &&
           unchanged(el->password, c->password) && unchanged(el->target_username, c->target_username) &&
           unchanged(el->target_password, c->target_password) &&
           (c->header_digest < 0 || el->header_digest == (c->header_digest != 0)) &&
           (el->state == RFS_element_state_ONLINE || !el->url || c->offline_ok);
}

void rfs_element_configure(struct rfs_service *svc, struct rfs_element *el,
                           const struct rfs_element_config *config,
                           void (*done)(void *arg, const struct rfs_error *err), void *arg)
{
    struct rfs_element_change *ch;
    struct rfs_error err;

    if (so_already(el, config)) {
        done(arg, NULL);
        return;
    }
    if (check_config(svc, el, config, &err)) {
        done(arg, &err);
        return;
    }
    ch = start_change(svc, el, "being connected", done, arg);
    ch->offline_ok = config->offline_ok;
    ch->next.url = choose(el->url, config->url);
    ch->next.username = choose(el->username, config->username);
    ch->next.password = choose(el->password, config->password);
    ch->next.target_username = choose(el->target_username, config->target_username);
    ch->next.target_password = choose(el->target_password, config->target_password);
    if (config->header_digest >= 0)
        ch->next.header_digest = config->header_digest;
    if (!same_string(ch->next.url, el->url)) {
        ch->next.known = false;
        memset(&ch->next.info, 0, sizeof(ch->next.info));
    }
    rfs_link_close(svc, el, open_new, ch);
}

void rfs_element_rehome(struct rfs_service *svc, struct rfs_element *el, struct rfs_worker *home,
                        void (*done)(void *arg, const struct rfs_error *err), void *arg)
{
    const char *busy = el->busy;
    struct rfs_element_change *ch =
        start_change(svc, el, busy ? busy : "being moved to another worker", done, arg);

    ch->rehome = true;
    ch->home = home;
    rfs_link_close(svc, el, open_new, ch);
}

/* --- states --- */

static void refuse_duplicate(struct rfs_service *svc, struct rfs_element *el, const struct rfs_error *err)
{
    rfs_log(svc->log, RFS_LOG_ERROR, "%s", err->msg);
    rfs_link_close(svc, el, NULL, NULL);
    publish_state(svc, el, RFS_element_state_REFUSED, err->msg);
}

/* Nothing that the catalogue keeps has changed: no transaction for a mere reconnection. */
static bool remembered(const struct rfs_device_info *a, const struct rfs_device_info *b)
{
    return a->size == b->size && a->block_size == b->block_size && !strcmp(a->identity, b->identity) &&
           !strcmp(a->device_id, b->device_id) && !strcmp(a->serial, b->serial) &&
           !strcmp(a->revision, b->revision) && !strcmp(a->provisioning, b->provisioning);
}

static void now_online(struct rfs_service *svc, struct rfs_element *el, const struct rfs_device_info *info)
{
    struct rfs_element next = *el;
    struct rfs_error err;

    if (!el->known && check_unique(svc, el, info, &err)) {
        refuse_duplicate(svc, el, &err);
        return;
    }
    next.known = true;
    next.info = *info;
    next.state = RFS_element_state_ONLINE;
    next.o.last_error = NULL;
    if (el->known && remembered(&el->info, info))
        rfs_publish_volatile(svc, &(struct rfs_edit){.el = el, .el_next = &next});
    else if (rfs_publish(svc, &(struct rfs_edit){.el = el, .el_next = &next}, &err))
        publish_state(svc, el, RFS_element_state_ONLINE, err.msg);
}

void rfs_element_on_state(struct rfs_service *svc, struct rfs_element *el, enum rfs_device_state state,
                          const struct rfs_device_info *info, const struct rfs_error *why)
{
    char path[240];

    if (el->change) {
        change_state(el->change, state, info, why);
        return;
    }
    if (state == RFS_DEVICE_ONLINE)
        now_online(svc, el, info);
    else
        publish_state(svc, el, state_of_device[state], why ? why->msg : NULL);
    snprintf(path, sizeof(path), "elements/%s", el->o.name);
    rfs_log(svc->log, state == RFS_DEVICE_ONLINE ? RFS_LOG_INFO : RFS_LOG_WARNING, "%s: %s%s%s", path,
            rfs_device_state_name(state), why ? ": " : "", why ? why->msg : "");
    rfs_event(svc->events, "ElementState", path, NULL, "%s%s%s", rfs_device_state_name(state),
              why ? ": " : "", why ? why->msg : "");
    rfs_relationships_of_element_changed(svc, el, why);
}
