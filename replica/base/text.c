/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *checked(void *p)
{
    if (!p) {
        fputs("replicafs: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *rfs_xmalloc(size_t size)
{
    return checked(malloc(size ? size : 1));
}

void *rfs_xcalloc(size_t n, size_t size)
{
    return checked(calloc(n ? n : 1, size ? size : 1));
}

void *rfs_xrealloc(void *p, size_t size)
{
    return checked(realloc(p, size ? size : 1));
}

char *rfs_xstrdup(const char *s)
{
    return s ? checked(strdup(s)) : NULL;
}

void rfs_text_free(struct rfs_text *t)
{
    free(t->data);
    *t = (struct rfs_text)RFS_TEXT_INIT;
}

void rfs_text_clear(struct rfs_text *t)
{
    t->len = 0;
    if (t->data)
        t->data[0] = '\0';
}

static void reserve(struct rfs_text *t, size_t more)
{
    size_t cap = t->cap ? t->cap : 64;

    if (t->len + more + 1 <= t->cap)
        return;
    while (cap < t->len + more + 1)
        cap *= 2;
    t->data = rfs_xrealloc(t->data, cap);
    t->cap = cap;
}

void rfs_text_append(struct rfs_text *t, const char *data, size_t len)
{
    reserve(t, len);
    if (len)
        memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void rfs_text_puts(struct rfs_text *t, const char *s)
{
    rfs_text_append(t, s, strlen(s));
}

void rfs_text_printf(struct rfs_text *t, const char *fmt, ...)
{
    va_list ap, again;
    size_t room;
    int n;

    reserve(t, 64);
    room = t->cap - t->len;
    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(t->data + t->len, room, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n >= room) {
        reserve(t, (size_t)n);
        vsnprintf(t->data + t->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    t->len += n > 0 ? (size_t)n : 0;
}

/* Length of the UTF-8 sequence at s, or 0 where there is none (overlong, surrogate, cut off). */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 0;

    if (s[0] >= 0xf0 && s[0] < 0xf5)
        n = 4;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

bool rfs_utf8(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    while (*p) {
        size_t n = utf8_len(p);

        if (!n)
            return false;
        p += n;
    }
    return true;
}

static void json_char(struct rfs_text *t, unsigned char c)
{
    if (c == '"' || c == '\\')
        rfs_text_printf(t, "\\%c", c);
    else if (c == '\n')
        rfs_text_puts(t, "\\n");
    else if (c == '\t')
        rfs_text_puts(t, "\\t");
    else if (c < 0x20 || c == 0x7f)
        rfs_text_printf(t, "\\u%04x", c);
    else
        rfs_text_append(t, (const char *)&c, 1);
}

void rfs_text_json(struct rfs_text *t, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    rfs_text_puts(t, "\"");
    while (*p) {
        size_t n = utf8_len(p);

        if (n == 1)
            json_char(t, *p);
        else if (n)
            rfs_text_append(t, (const char *)p, n);
        else
            rfs_text_puts(t, "\xef\xbf\xbd");
        p += n ? n : 1;
    }
    rfs_text_puts(t, "\"");
}

static bool plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '"' || *s == '\\')
            return false;
    return true;
}

static void quoted(struct rfs_text *t, const char *s)
{
    rfs_text_puts(t, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            rfs_text_printf(t, "\\%c", c);
        else if (c == '\n')
            rfs_text_puts(t, "\\n");
        else if (c == '\t')
            rfs_text_puts(t, "\\t");
        else if (c < 0x20 || c == 0x7f)
            rfs_text_printf(t, "\\x%02x", c);
        else
            rfs_text_append(t, s, 1);
    }
    rfs_text_puts(t, "\"");
}

void rfs_text_pair(struct rfs_text *t, const char *key, const char *value)
{
    if (!value)
        return;
    rfs_text_printf(t, "%s=", key);
    if (plain(value))
        rfs_text_puts(t, value);
    else
        quoted(t, value);
    rfs_text_puts(t, "\n");
}

void rfs_text_time(struct rfs_text *t, uint64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char buf[40];

    if (!ms)
        return;
    gmtime_r(&s, &tm);
    strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);
    rfs_text_printf(t, "%s.%03uZ", buf, (unsigned)(ms % 1000));
}

static uint64_t clock_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t rfs_now_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

uint64_t rfs_mono_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}
