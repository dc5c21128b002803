/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "methods/handlers.h"
#include "model/element.h"
#include "model/events.h"
#include "model/record.h"

static struct rfs_element *find_element(struct rfs_call *call)
{
    struct rfs_element *el = rfs_element_by_number(call->svc, call->object);
    struct rfs_error err;

    if (!el) {
        rfs_fail(&err, RFS_RV_NOT_FOUND, "the element is gone");
        rfs_call_finish(call, err.rv, &err);
    }
    return el;
}

static int insert_new(struct rfs_service *svc, struct rfs_element *el, struct rfs_error *err)
{
    if (rfs_catalogue_number(svc->catalogue, RFS_CAT_ELEMENT, &el->o.number, err))
        return -1;
    rfs_catalogue_begin(svc->catalogue);
    rfs_record_put_element(svc, el);
    if (rfs_catalogue_commit(svc->catalogue, err))
        return -1;
    rfs_insert_element(svc, el);
    return 0;
}

void rfs_element_create(struct rfs_call *call)
{
    struct rfs_element *el;
    struct rfs_error err;

    if (rfs_name_check("element", call->value, &err)) {
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    if (rfs_element_by_name(call->svc, call->value)) {
        rfs_fail_errno(&err, RFS_RV_IN_USE, EEXIST, "elements/%s exists", call->value);
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    el = rfs_xcalloc(1, sizeof(*el));
    el->o = (struct rfs_object){.kind = RFS_KIND_ELEMENT,
                                .name = rfs_xstrdup(call->value),
                                .created_ms = rfs_now_ms(),
                                .changed_ms = rfs_now_ms()};
    if (insert_new(call->svc, el, &err)) {
        rfs_free_element(el);
        rfs_error_wrap(&err, "elements/%s", call->value);
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    rfs_call_finish(call, RFS_RV_OK, NULL);
}

struct removal {
    struct rfs_call *call;
    struct rfs_element *el;
};

static void removed(void *arg)
{
    struct removal *r = arg;

    rfs_drop_element(r->call->svc, r->el);
    rfs_call_finish(r->call, RFS_RV_OK, NULL);
    free(r);
}

static int check_removable(const struct rfs_element *el, struct rfs_error *err)
{
    const struct rfs_relationship *rel = el->as_target ? el->as_target : el->as_source;

    if (rel)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s is in relationships/%s; detach that first",
                        el->o.name, rel->o.name);
    if (el->busy)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s is %s; wait until that is done", el->o.name,
                        el->busy);
    if (el->open_files)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s/data is open; close it first", el->o.name);
    return 0;
}

static int delete_record(struct rfs_service *svc, const struct rfs_element *el, struct rfs_error *err)
{
    rfs_catalogue_begin(svc->catalogue);
    rfs_catalogue_delete(svc->catalogue, RFS_CAT_ELEMENT, el->o.number);
    return rfs_catalogue_commit(svc->catalogue, err);
}

void rfs_element_remove(struct rfs_call *call)
{
    struct rfs_element *el = find_element(call);
    struct removal *r;
    struct rfs_error err;

    if (!el)
        return;
    if (check_removable(el, &err) || delete_record(call->svc, el, &err)) {
        rfs_set_refusal(call->svc, &el->o, err.msg);
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    el->busy = "being removed";
    r = rfs_xcalloc(1, sizeof(*r));
    r->call = call;
    r->el = el;
    rfs_link_close(call->svc, el, removed, r);
}

/* --- url, credentials, set --- */

static void configured(void *arg, const struct rfs_error *err)
{
    struct rfs_call *call = arg;
    struct rfs_element *el = rfs_element_by_number(call->svc, call->object);

    if (err) {
        if (el)
            rfs_set_refusal(call->svc, &el->o, err->msg);
        rfs_call_finish(call, err->rv, err);
        return;
    }
    if (el)
        rfs_set_refusal(call->svc, &el->o, NULL);
    rfs_call_finish(call, RFS_RV_OK, NULL);
}

static const struct {
    const char *name;
    size_t offset;
} config_strings[] = {
    {"url", offsetof(struct rfs_element_config, url)},
    {"username", offsetof(struct rfs_element_config, username)},
    {"password", offsetof(struct rfs_element_config, password)},
    {"target_username", offsetof(struct rfs_element_config, target_username)},
    {"target_password", offsetof(struct rfs_element_config, target_password)},
};

static bool put_string(struct rfs_element_config *config, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof(config_strings) / sizeof(config_strings[0]); i++)
        if (!strcmp(config_strings[i].name, name)) {
            *(const char **)(void *)((char *)config + config_strings[i].offset) = value;
            return true;
        }
    return false;
}

static int put_digest(struct rfs_element_config *config, const struct rfs_element *el, const char *value,
                      struct rfs_error *err)
{
    bool on = false;

    if (*value && rfs_parse_bool(value, &on))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "elements/%s: header_digest takes 0 or 1, not '%.40s'",
                        el->o.name, value);
    config->header_digest = on;
    return 0;
}

void rfs_element_write(struct rfs_call *call)
{
    struct rfs_element *el = find_element(call);
    struct rfs_element_config config = {.header_digest = -1};
    struct rfs_error err;

    if (!el)
        return;
    if (!put_string(&config, call->attribute, call->value) && put_digest(&config, el, call->value, &err)) {
        configured(call, &err);
        return;
    }
    rfs_element_configure(call->svc, el, &config, configured, call);
}

/* The first line of a file that only its owner may read. */
static int read_secret(const char *path, char **secret, struct rfs_error *err)
{
    char line[300] = "";
    struct stat st;
    FILE *f;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == ENOENT)
        return rfs_fail(err, RFS_RV_NOT_FOUND, "password file '%.200s' does not exist", path);
    if (fd < 0)
        return rfs_fail_sys(err, errno, "password file '%.200s'", path);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
        close(fd);
        return rfs_fail(
            err, RFS_RV_ACCESS_DENIED,
            "password file '%.200s' must be a regular file that only its owner may read (chmod 600)", path);
    }
    f = fdopen(fd, "r");
    if (!f || !fgets(line, sizeof(line), f))
        line[0] = '\0';
    if (f)
        fclose(f);
    line[strcspn(line, "\r\n")] = '\0';
    *secret = rfs_xstrdup(line);
    explicit_bzero(line, sizeof(line));
    return **secret
               ? 0
               : rfs_fail(err, RFS_RV_INVALID_PARAMETER, "password file '%.200s' has no secret in it", path);
}

static int secret_of(const struct rfs_request *req, const char *key, const char *file_key, const char **value,
                     char **owned, struct rfs_error *err)
{
    const char *path = rfs_request_string(req, file_key, NULL);

    *value = rfs_request_string(req, key, NULL);
    if (!path)
        return 0;
    if (*value)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "give %s or %s, not both", key, file_key);
    if (read_secret(path, owned, err))
        return -1;
    *value = *owned;
    return 0;
}

static void free_secret(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void rfs_element_set(struct rfs_call *call)
{
    const struct rfs_request *req = &call->request;
    struct rfs_element *el = find_element(call);
    struct rfs_element_config config = {.header_digest = -1};
    char *secret = NULL, *target_secret = NULL;
    struct rfs_error err;

    if (!el)
        return;
    config.url = rfs_request_string(req, "url", NULL);
    config.username = rfs_request_string(req, "username", NULL);
    config.target_username = rfs_request_string(req, "target_username", NULL);
    if (rfs_request_has(req, "header_digest"))
        config.header_digest = (int)rfs_request_number(req, "header_digest", 0);
    config.offline_ok = rfs_request_number(req, "offline_ok", 0);
    if (rfs_check_generation(&el->o, "elements", req, &err) ||
        secret_of(req, "password", "password_file", &config.password, &secret, &err) ||
        secret_of(req, "target_password", "target_password_file", &config.target_password, &target_secret,
                  &err))
        configured(call, &err);
    else
        rfs_element_configure(call->svc, el, &config, configured, call);
    free_secret(secret);
    free_secret(target_secret);
}

void rfs_element_wait(struct rfs_call *call)
{
    struct rfs_element *el = find_element(call);

    if (el)
        rfs_wait(call, &el->o, rfs_verdict_element, (uint32_t)rfs_request_number(&call->request, "state", 0),
                 rfs_request_number(&call->request, "timeout", RFS_WAIT_FOREVER), RFS_RV_OK);
}
