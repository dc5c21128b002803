/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spelling.h"

/* An attribute takes its raw line less one newline; an empty line resets it. */
static int check_line(const char *path, const char *data, size_t *len, struct rfs_error *err)
{
    if (*len > RFS_REQUEST_MAX)
        return rfs_fail_errno(err, RFS_RV_INVALID_PARAMETER, E2BIG,
                              "%s: the value has %zu bytes; at most %u are taken", path, *len,
                              RFS_REQUEST_MAX);
    if (*len && data[*len - 1] == '\n')
        --*len;
    if (memchr(data, '\n', *len))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "%s: the value has more than one line; write one line in one write(2)", path);
    if (memchr(data, '\0', *len))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "%s: the value has a zero byte; write text", path);
    return 0;
}

static char *copy_line(const char *data, size_t len)
{
    char *s = rfs_xmalloc(len + 1);

    if (len)
        memcpy(s, data, len);
    s[len] = '\0';
    return s;
}

static struct rfs_call *attribute_call(struct rfs_fs *fs, const struct rfs_row *row, const char *path,
                                       const char *data, size_t len, struct rfs_error *err)
{
    struct rfs_call *call;

    if (check_line(path, data, &len, err))
        return NULL;
    call = rfs_call_new(fs->svc, row->write);
    call->attribute = row->name;
    call->value = copy_line(data, len);
    return call;
}

static bool takes_secret(const struct rfs_method *m)
{
    for (const struct rfs_param *p = m->params; p->name; p++)
        if (p->type == RFS_PARAM_SECRET)
            return true;
    return false;
}

static bool like_a_key(const struct rfs_method *m, const char *word, size_t len)
{
    char typed[64];

    if (len >= sizeof(typed))
        return false;
    memcpy(typed, word, len);
    typed[len] = '\0';
    for (const struct rfs_param *p = m->params; p->name; p++)
        if (rfs_slips(typed, p->name) <= RFS_SLIPS || (p->alias && rfs_slips(typed, p->alias) <= RFS_SLIPS))
            return true;
    return false;
}

/* A secret with a blank before it looks like a key of its own; what the message names is shown only if it could be
 * meant for a key: words in quotes, and the one that the message begins with ("KEY: ..."). */
static void hide_words(const struct rfs_method *m, struct rfs_error *err)
{
    struct rfs_text text = RFS_TEXT_INIT;
    const char *p = err->msg, *close;
    size_t first = strcspn(p, ":= '");

    if (p[first] && strchr(":=", p[first]) && !like_a_key(m, p, first)) {
        rfs_text_puts(&text, "***");
        p += first;
    }
    while ((close = strchr(p, '\''))) {
        const char *word = close + 1;
        /* to the last quote of its kind: the word may have some itself */
        const char *end = strstr(word, "' ") ? strstr(word, "' ") : strrchr(close, '\'');

        rfs_text_append(&text, p, (size_t)(word - p));
        if (end <= close || !like_a_key(m, word, (size_t)(end - word)))
            rfs_text_puts(&text, "***");
        else
            rfs_text_append(&text, word, (size_t)(end - word));
        p = end > close ? end : word + strlen(word);
        if (*p == '\'') {
            rfs_text_puts(&text, "'");
            p++;
        }
    }
    rfs_text_puts(&text, p);
    snprintf(err->msg, sizeof(err->msg), "%s", text.data);
    rfs_text_free(&text);
}

static struct rfs_call *method_call(struct rfs_fs *fs, const struct rfs_method *m, const char *path,
                                    const char *data, size_t len, struct rfs_error *err)
{
    struct rfs_call *call = rfs_call_new(fs->svc, m->handler);

    if (!rfs_request_parse(m->params, m->flags & RFS_METHOD_SETTINGS, fs->svc->mountpoint, data, len,
                           &call->request, err))
        return call;
    if (takes_secret(m))
        hide_words(m, err);
    rfs_error_wrap(err, "%s", path);
    rfs_call_free(call);
    return NULL;
}

struct rfs_call *rfs_ask_call(struct rfs_fs *fs, struct rfs_node node, const char *data, size_t len,
                              struct rfs_error *err)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);
    struct rfs_text path = RFS_TEXT_INIT;
    struct rfs_call *call;

    rfs_ask_path(fs, node, NULL, &path);
    if (row->method)
        call = method_call(fs, row->method, path.data, data, len, err);
    else
        call = attribute_call(fs, row, path.data, data, len, err);
    if (call)
        call->object = node.number;
    rfs_text_free(&path);
    return call;
}

/* What stands between "://" and "@": nobody should write credentials there, so somebody will. */
static void mask_userinfo(struct rfs_text *text)
{
    char *p = text->data, *at;

    while ((p = strstr(p, "://"))) {
        p += 3;
        at = p + strcspn(p, "@/ \t\"");
        if (*at != '@')
            continue;
        memset(p, '*', (size_t)(at - p));
        p = at;
    }
}

/* Where a value ends that begins here. */
static const char *value_end(const char *p)
{
    if (*p != '"')
        return p + strcspn(p, " \t");
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1])
            p++;
    return *p ? p + 1 : p;
}

/* Keys are written in small letters; who writes Password= has a secret all the same. */
static void mask_any_case(struct rfs_text *text)
{
    static const char word[] = "password=";
    struct rfs_text out = RFS_TEXT_INIT;
    const char *p = text->data, *hit;

    rfs_text_puts(&out, "");
    while ((hit = strcasestr(p, word))) {
        hit += strlen(word);
        rfs_text_append(&out, p, (size_t)(hit - p));
        rfs_text_puts(&out, "***");
        p = value_end(hit);
    }
    rfs_text_puts(&out, p);
    rfs_text_free(text);
    *text = out;
}

void rfs_ask_hide(const struct rfs_row *row, struct rfs_text *shown)
{
    if (!row->method || !takes_secret(row->method))
        return;
    rfs_text_clear(shown);
    rfs_text_puts(shown, "(not shown: it may hold a secret)");
}

void rfs_ask_masked(const struct rfs_row *row, const char *data, size_t len, struct rfs_text *out)
{
    rfs_text_puts(out, "");
    if (len && data[len - 1] == '\n')
        len--;
    if (row->property && (row->property->flags & RFS_PROP_SECRET)) {
        rfs_text_puts(out, "***");
        return;
    }
    rfs_request_masked(data, strnlen(data, len < RFS_REQUEST_MAX ? len : RFS_REQUEST_MAX), out);
    mask_any_case(out);
    mask_userinfo(out);
}

void rfs_ask_path(struct rfs_fs *fs, struct rfs_node node, const char *name, struct rfs_text *out)
{
    rfs_text_puts(out, "");
    if (!name || node.dir != RFS_DIR_ROOT) {
        rfs_service_lock(fs->svc);
        rfs_tree_path(fs->tree, fs->svc, node, out);
        rfs_service_unlock(fs->svc);
        rfs_text_puts(out, name ? "/" : "");
    }
    if (name)
        rfs_shown(name, out);
}

void rfs_ask_reply(enum rfs_rv rv, const struct rfs_error *err, const struct rfs_text *lines,
                   struct rfs_text *out)
{
    rfs_text_printf(out, "return_value=%d\n", (int)rv);
    if (err && err->msg[0])
        rfs_text_pair(out, "message", err->msg);
    else if (rfs_rv_errno(rv))
        rfs_text_pair(out, "message", rfs_rv_text(rv));
    if (lines && lines->len)
        rfs_text_append(out, lines->data, lines->len);
}

void rfs_ask_note(struct rfs_fs *fs, const struct rfs_caller *who, const struct rfs_outcome *outcome)
{
    const struct rfs_error *err = outcome->err;

    rfs_book_note(fs->book, who, outcome);
    if (err && err->err)
        rfs_log(fs->log, RFS_LOG_INFO, "%s %s%s%s by uid %u: %s: %s", outcome->operation,
                outcome->path ? outcome->path : "", outcome->request ? " " : "",
                outcome->request ? outcome->request : "", (unsigned)who->uid, strerrorname_np(err->err),
                err->msg);
}
