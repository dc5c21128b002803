/* SPDX-License-Identifier: Apache-2.0 */
#include "model/request.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct parser {
    const struct rfs_param *params;
    bool settings;
    const char *mountpoint;
    const char *p, *end;
    struct rfs_request *out;
    struct rfs_error *err;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static void list_keys(const struct rfs_param *params, bool settings, struct rfs_text *out)
{
    rfs_text_puts(out, "");
    for (const struct rfs_param *p = params; p->name; p++)
        rfs_text_printf(out, "%s%s", p == params ? "" : " ", p->name);
    rfs_text_puts(out, settings ? " setting.NAME" : "");
}

static int is_empty(const struct rfs_param *params, bool settings, struct rfs_error *err)
{
    struct rfs_text keys = RFS_TEXT_INIT;

    list_keys(params, settings, &keys);
    rfs_fail(err, RFS_RV_INVALID_PARAMETER,
             "the request is empty; write one line of key=value words, known: %s", keys.data);
    rfs_text_free(&keys);
    return -1;
}

static int check_line(const char *line, size_t *len, struct rfs_error *err)
{
    if (*len > RFS_REQUEST_MAX)
        return rfs_fail_errno(err, RFS_RV_INVALID_PARAMETER, E2BIG,
                              "the request has %zu bytes; at most %u are taken", *len, RFS_REQUEST_MAX);
    if (*len && line[*len - 1] == '\n')
        --*len;
    while (*len && blank(line[*len - 1]))
        --*len;
    if (*len && line[0] == '#')
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "the request begins with '#', as usage texts do; nothing was done");
    if (memchr(line, '\n', *len))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "the request has more than one line; write one request, one line, one write(2)");
    for (size_t i = 0; i < *len; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return rfs_fail(
                err, RFS_RV_INVALID_PARAMETER,
                "the request has the control character 0x%02x at byte %zu; use \\xHH inside quotes",
                (unsigned char)line[i], i + 1);
    return 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int escape(struct parser *ps, struct rfs_text *value)
{
    char c = ps->p < ps->end ? *ps->p++ : '\0', byte;

    if (c == 'n' || c == 't') {
        rfs_text_append(value, c == 'n' ? "\n" : "\t", 1);
        return 0;
    }
    if (c == '"' || c == '\\') {
        rfs_text_append(value, &c, 1);
        return 0;
    }
    if (c == 'x' && ps->end - ps->p >= 2 && hex(ps->p[0]) >= 0 && hex(ps->p[1]) >= 0) {
        byte = (char)(hex(ps->p[0]) * 16 + hex(ps->p[1]));
        ps->p += 2;
        if (byte) {
            rfs_text_append(value, &byte, 1);
            return 0;
        }
    }
    return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER,
                    "bad escape in a quoted value; known are \\\" \\\\ \\n \\t and \\xHH (not zero)");
}

static int quoted_value(struct parser *ps, struct rfs_text *value)
{
    ps->p++;
    while (ps->p < ps->end && *ps->p != '"') {
        if (*ps->p == '\\') {
            ps->p++;
            if (escape(ps, value))
                return -1;
        } else {
            rfs_text_append(value, ps->p++, 1);
        }
    }
    if (ps->p >= ps->end)
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "a quoted value has no closing quote");
    ps->p++;
    if (ps->p < ps->end && !blank(*ps->p))
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "a quoted value must be followed by a blank");
    return 0;
}

static int read_value(struct parser *ps, struct rfs_text *value)
{
    rfs_text_puts(value, "");
    if (ps->p < ps->end && *ps->p == '"')
        return quoted_value(ps, value);
    while (ps->p < ps->end && !blank(*ps->p)) {
        if (*ps->p == '"')
            return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER,
                            "a quote in the middle of a value; put the whole value in quotes");
        rfs_text_append(value, ps->p++, 1);
    }
    return 0;
}

static const struct rfs_param *find_param(const struct rfs_param *params, const char *key)
{
    for (; params->name; params++)
        if (!strcmp(params->name, key) || (params->alias && !strcmp(params->alias, key)))
            return params;
    return NULL;
}

static int unknown_key(struct parser *ps, const char *key)
{
    struct rfs_text known = RFS_TEXT_INIT;

    if (strstr(key, "setting_data"))
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER,
                        "'%s' takes no embedded instance; give each property as setting.NAME=value", key);
    if (!strncmp(key, "setting.", 8))
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "this request takes no settings ('%.100s')", key);
    list_keys(ps->params, ps->settings, &known);
    rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "unknown key '%.100s'; known: %s", key, known.data);
    rfs_text_free(&known);
    return -1;
}

/* A bare word may be a secret whose key was forgotten. */
static bool takes_secret(const struct rfs_param *params)
{
    for (; params->name; params++)
        if (params->type == RFS_PARAM_SECRET)
            return true;
    return false;
}

int rfs_parse_bool(const char *text, bool *value)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {{"0", 0}, {"1", 1}, {"false", 0}, {"true", 1}, {"no", 0}, {"yes", 1}, {"off", 0}, {"on", 1}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strcasecmp(words[i].text, text)) {
            *value = words[i].value;
            return 0;
        }
    return -1;
}

int rfs_parse_uint(const char *text, uint64_t *number)
{
    static const char suffixes[] = "KMGT";
    const char *suffix;
    uint64_t n;
    char *end;

    if (!isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno)
        return -1;
    if (*end) {
        unsigned shift;

        suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (!suffix || (strcmp(end + 1, "") && strcasecmp(end + 1, "iB")))
            return -1;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
        if (n > UINT64_MAX >> shift)
            return -1;
        n <<= shift;
    }
    *number = n;
    return 0;
}

/* ddddddddhhmmss.mmmmmm:000 */
static int parse_cim_interval(const char *text, uint64_t *ms)
{
    unsigned d, h, m, s, us;

    if (strlen(text) != 25 || strcmp(text + 21, ":000") || text[14] != '.' ||
        strspn(text, "0123456789") != 14 || strspn(text + 15, "0123456789") != 6)
        return -1;
    if (sscanf(text, "%8u%2u%2u%2u.%6u", &d, &h, &m, &s, &us) != 5)
        return -1;
    *ms = ((((uint64_t)d * 24 + h) * 60 + m) * 60 + s) * 1000 + us / 1000;
    return 0;
}

int rfs_parse_interval(const char *text, uint64_t *ms)
{
    char *end;
    double seconds;

    if (!parse_cim_interval(text, ms))
        return 0;
    if (!isdigit((unsigned char)*text) || strlen(text) > 20 || strspn(text, "0123456789.") != strlen(text))
        return -1;
    seconds = strtod(text, &end);
    if (*end || seconds > 1e12)
        return -1;
    *ms = (uint64_t)(seconds * 1000.0 + 0.5);
    return 0;
}

/* elements/NAME, MOUNT/elements/NAME or NAME -> NAME. */
static int parse_reference(struct parser *ps, const char *folder, char **value)
{
    const char *s = *value;
    size_t mount = ps->mountpoint ? strlen(ps->mountpoint) : 0, len = strlen(folder);
    char *name;

    if (mount && !strncmp(s, ps->mountpoint, mount) && s[mount] == '/')
        s += mount + 1;
    while (!strncmp(s, "./", 2))
        s += 2;
    if (!strncmp(s, folder, len) && s[len] == '/')
        s += len + 1;
    name = rfs_xstrdup(s);
    while (*name && name[strlen(name) - 1] == '/')
        name[strlen(name) - 1] = '\0';
    if (!*name || strchr(name, '/')) {
        free(name);
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER,
                        "'%.200s' does not name one of %s/; write %s/NAME or NAME", *value, folder, folder);
    }
    free(*value);
    *value = name;
    return 0;
}

static int bad_type(struct parser *ps, const struct rfs_token *t, const char *form)
{
    return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "%s='%.60s': %s", t->key, t->value, form);
}

static int convert_enum(struct parser *ps, struct rfs_token *t)
{
    int number;

    if (rfs_value_parse(t->param->values, t->value, &number, ps->err))
        return rfs_error_wrap(ps->err, "%s", t->key);
    t->number = (uint64_t)number;
    return 0;
}

static int convert_bool(struct parser *ps, struct rfs_token *t)
{
    bool value;

    if (rfs_parse_bool(t->value, &value))
        return bad_type(ps, t, "not a boolean; give 0 or 1");
    t->number = value;
    return 0;
}

static int convert(struct parser *ps, struct rfs_token *t)
{
    switch (t->param->type) {
    case RFS_PARAM_BOOL:
        return convert_bool(ps, t);
    case RFS_PARAM_UINT:
        return rfs_parse_uint(t->value, &t->number)
                   ? bad_type(ps, t, "not a number; give digits, with K, M, G or T")
                   : 0;
    case RFS_PARAM_INTERVAL:
        return rfs_parse_interval(t->value, &t->number) ? bad_type(ps, t, "not an interval; give seconds")
                                                        : 0;
    case RFS_PARAM_ENUM:
        return convert_enum(ps, t);
    case RFS_PARAM_ELEMENT:
        return parse_reference(ps, "elements", &t->value);
    case RFS_PARAM_RELATIONSHIP:
        return parse_reference(ps, "relationships", &t->value);
    case RFS_PARAM_JOB:
        return parse_reference(ps, "jobs", &t->value);
    case RFS_PARAM_STRING:
    case RFS_PARAM_NAME:
    case RFS_PARAM_SECRET:
        return 0;
    }
    return 0;
}

static int add(struct parser *ps, const struct rfs_param *param, const char *key, const char *value)
{
    struct rfs_request *req = ps->out;
    struct rfs_token *t;
    const char *name = param ? param->name : key;

    for (size_t i = 0; i < req->count; i++)
        if (!strcmp(req->tokens[i].key, name) && !(param && (param->flags & RFS_PARAM_ARRAY)))
            return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "'%s' is given more than once", name);
    req->tokens = rfs_xrealloc(req->tokens, (req->count + 1) * sizeof(*req->tokens));
    t = &req->tokens[req->count++];
    *t = (struct rfs_token){.param = param, .key = rfs_xstrdup(name), .value = rfs_xstrdup(value)};
    return param ? convert(ps, t) : 0;
}

/* The end of a key at ps->p: the '=' if this token has one before any blank or quote. */
static const char *find_equals(const struct parser *ps)
{
    for (const char *q = ps->p; q < ps->end && !blank(*q) && *q != '"'; q++)
        if (*q == '=')
            return q;
    return NULL;
}

static int keyed_token(struct parser *ps, const char *equals, struct rfs_text *value)
{
    char key[128];
    size_t len = (size_t)(equals - ps->p);
    const struct rfs_param *param;

    if (!len || len >= sizeof(key))
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "a key of %zu bytes; write key=value", len);
    memcpy(key, ps->p, len);
    key[len] = '\0';
    ps->p = equals + 1;
    if (read_value(ps, value))
        return rfs_error_wrap(ps->err, "%s", key);
    param = find_param(ps->params, key);
    if (!param && !(ps->settings && !strncmp(key, "setting.", 8) && key[8]))
        return unknown_key(ps, key);
    return add(ps, param, key, value->data);
}

static int bare_token(struct parser *ps, struct rfs_text *value)
{
    const struct rfs_param *param = ps->params;

    if (read_value(ps, value))
        return -1;
    while (param->name && !(param->flags & RFS_PARAM_BARE))
        param++;
    if (!param->name || ps->out->count)
        return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "'%.60s' is not of the form key=value",
                        takes_secret(ps->params) ? "***" : value->data);
    return add(ps, param, param->name, value->data);
}

static int next_token(struct parser *ps)
{
    const char *equals = find_equals(ps);
    struct rfs_text value = RFS_TEXT_INIT;
    int rc = equals ? keyed_token(ps, equals, &value) : bare_token(ps, &value);

    rfs_text_free(&value);
    return rc;
}

static int check_required(struct parser *ps)
{
    for (const struct rfs_param *p = ps->params; p->name; p++)
        if ((p->flags & RFS_PARAM_REQUIRED) && !rfs_request_get(ps->out, p->name))
            return rfs_fail(ps->err, RFS_RV_INVALID_PARAMETER, "'%s' is missing (%s)", p->name, p->help);
    return 0;
}

int rfs_request_parse(const struct rfs_param *params, bool settings, const char *mountpoint, const char *line,
                      size_t len, struct rfs_request *out, struct rfs_error *err)
{
    struct parser ps = {
        .params = params, .settings = settings, .mountpoint = mountpoint, .out = out, .err = err};

    *out = (struct rfs_request){0};
    if (check_line(line, &len, err))
        return -1;
    if (!len)
        return is_empty(params, settings, err);
    ps.p = line;
    ps.end = line + len;
    for (;;) {
        while (ps.p < ps.end && blank(*ps.p))
            ps.p++;
        if (ps.p >= ps.end)
            break;
        if (next_token(&ps))
            goto fail;
    }
    if (!check_required(&ps))
        return 0;
fail:
    rfs_request_free(out);
    return -1;
}

void rfs_request_free(struct rfs_request *req)
{
    for (size_t i = 0; i < req->count; i++) {
        free(req->tokens[i].key);
        if (req->tokens[i].value)
            explicit_bzero(req->tokens[i].value, strlen(req->tokens[i].value));
        free(req->tokens[i].value);
    }
    free(req->tokens);
    *req = (struct rfs_request){0};
}

/* The end of the value that starts at p: quoted values with their escapes, others up to a blank. */
static const char *value_end(const char *p, const char *end)
{
    if (p < end && *p == '"') {
        for (p++; p < end && *p != '"'; p++)
            if (*p == '\\' && p + 1 < end)
                p++;
        return p < end ? p + 1 : end;
    }
    while (p < end && !blank(*p) && *p != '\n')
        p++;
    return p;
}

void rfs_request_masked(const char *line, size_t len, struct rfs_text *out)
{
    static const char word[] = "password=";
    const char *p = line, *end = line + len, *hit;

    while ((hit = memmem(p, (size_t)(end - p), word, sizeof(word) - 1))) {
        hit += sizeof(word) - 1;
        rfs_text_append(out, p, (size_t)(hit - p));
        rfs_text_puts(out, "***");
        p = value_end(hit, end);
    }
    rfs_text_append(out, p, (size_t)(end - p));
}

const struct rfs_token *rfs_request_get(const struct rfs_request *req, const char *name)
{
    for (size_t i = 0; i < req->count; i++)
        if (!strcmp(req->tokens[i].key, name))
            return &req->tokens[i];
    return NULL;
}

const char *rfs_request_string(const struct rfs_request *req, const char *name, const char *fallback)
{
    const struct rfs_token *t = rfs_request_get(req, name);

    return t ? t->value : fallback;
}

uint64_t rfs_request_number(const struct rfs_request *req, const char *name, uint64_t fallback)
{
    const struct rfs_token *t = rfs_request_get(req, name);

    return t ? t->number : fallback;
}

bool rfs_request_has(const struct rfs_request *req, const char *name)
{
    return rfs_request_get(req, name) != NULL;
}
