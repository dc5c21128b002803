/* SPDX-License-Identifier: Apache-2.0 */
#include "model/events.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define EVENTS_MAX (8u << 20)

struct rfs_events {
    pthread_mutex_t lock;
    struct rfs_text text; /* protected by lock, as seq */
    uint64_t seq;
    void (*added)(void *arg);
    void *arg;
};

struct rfs_events *rfs_events_new(void (*added)(void *arg), void *arg)
{
    struct rfs_events *ev = rfs_xcalloc(1, sizeof(*ev));

    pthread_mutex_init(&ev->lock, NULL);
    ev->added = added;
    ev->arg = arg;
    return ev;
}

void rfs_events_free(struct rfs_events *ev)
{
    if (!ev)
        return;
    rfs_text_free(&ev->text);
    pthread_mutex_destroy(&ev->lock);
    free(ev);
}

/* As a log file rotated in place: the oldest half goes, at a line's end. */
static void bound(struct rfs_text *t)
{
    char *half, *line;

    if (t->len < EVENTS_MAX)
        return;
    half = t->data + t->len / 2;
    line = memchr(half, '\n', t->len / 2);
    if (!line)
        return;
    t->len -= (size_t)(line + 1 - t->data);
    memmove(t->data, line + 1, t->len + 1);
}

static void render(struct rfs_text *t, uint64_t seq, const char *type, const char *object, const char *fields,
                   const char *message)
{
    rfs_text_puts(t, "{\"time\":\"");
    rfs_text_time(t, rfs_now_ms());
    rfs_text_printf(t, "\",\"seq\":%llu,\"type\":", (unsigned long long)seq);
    rfs_text_json(t, type);
    if (object) {
        rfs_text_puts(t, ",\"object\":");
        rfs_text_json(t, object);
    }
    if (fields)
        rfs_text_printf(t, ",%s", fields);
    rfs_text_puts(t, ",\"message\":");
    rfs_text_json(t, message);
    rfs_text_puts(t, "}\n");
}

void rfs_event(struct rfs_events *ev, const char *type, const char *object, const char *fields,
               const char *fmt, ...)
{
    char message[1200];
    va_list ap;

    if (!ev)
        return;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&ev->lock);
    bound(&ev->text);
    render(&ev->text, ++ev->seq, type, object, fields, message);
    pthread_mutex_unlock(&ev->lock);
    if (ev->added)
        ev->added(ev->arg);
}

uint64_t rfs_events_size(struct rfs_events *ev)
{
    uint64_t size;

    pthread_mutex_lock(&ev->lock);
    size = ev->text.len;
    pthread_mutex_unlock(&ev->lock);
    return size;
}

size_t rfs_events_read(struct rfs_events *ev, uint64_t offset, char *buf, size_t len)
{
    size_t n = 0;

    pthread_mutex_lock(&ev->lock);
    if (offset < ev->text.len) {
        n = ev->text.len - (size_t)offset;
        n = n < len ? n : len;
        memcpy(buf, ev->text.data + offset, n);
    }
    pthread_mutex_unlock(&ev->lock);
    return n;
}
