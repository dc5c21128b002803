/* SPDX-License-Identifier: Apache-2.0 */
#include "status_book.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES     512
#define REQUEST_MAX 2000 /* bytes of a request that are shown */

enum key_kind { KEY_NONE, KEY_SESSION, KEY_USER };

struct entry {
    enum key_kind kind;
    uint32_t id;
    uint64_t used;
    struct rfs_text text;
};

struct rfs_book {
    pthread_mutex_t lock; /* everything below */
    uint64_t clock;
    struct entry entries[ENTRIES];
};

struct rfs_book *rfs_book_new(void)
{
    struct rfs_book *book = rfs_xcalloc(1, sizeof(*book));

    pthread_mutex_init(&book->lock, NULL);
    return book;
}

void rfs_book_free(struct rfs_book *book)
{
    if (!book)
        return;
    for (size_t i = 0; i < ENTRIES; i++)
        rfs_text_free(&book->entries[i].text);
    pthread_mutex_destroy(&book->lock);
    free(book);
}

static struct entry *find(struct rfs_book *book, enum key_kind kind, uint32_t id)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (book->entries[i].kind == kind && book->entries[i].id == id) {
            book->entries[i].used = ++book->clock;
            return &book->entries[i];
        }
    return NULL;
}

static struct entry *take(struct rfs_book *book, enum key_kind kind, uint32_t id)
{
    struct entry *e = find(book, kind, id);

    if (e)
        return e;
    e = &book->entries[0];
    for (size_t i = 1; i < ENTRIES; i++)
        if (book->entries[i].used < e->used)
            e = &book->entries[i];
    e->kind = kind;
    e->id = id;
    e->used = ++book->clock;
    return e;
}

static void put(struct rfs_book *book, enum key_kind kind, uint32_t id, const struct rfs_text *text)
{
    struct entry *e = take(book, kind, id);

    rfs_text_clear(&e->text);
    rfs_text_append(&e->text, text->data, text->len);
}

/* Length of the UTF-8 sequence at s; 0: it is none. Overlong forms and surrogates are let through. */
static unsigned utf8_length(const unsigned char *s)
{
    unsigned n = *s < 0x80                 ? 1
                 : *s >= 0xc2 && *s < 0xe0 ? 2
                 : *s >= 0xe0 && *s < 0xf0 ? 3
                 : *s >= 0xf0 && *s < 0xf5 ? 4
                                           : 0;

    for (unsigned i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void rfs_shown(const char *s, struct rfs_text *out)
{
    while (*s) {
        unsigned n = utf8_length((const unsigned char *)s);

        if (n)
            rfs_text_append(out, s, n);
        else
            rfs_text_printf(out, "\\x%02x", (unsigned char)*s);
        s += n ? n : 1;
    }
}

static void put_pair(struct rfs_text *out, const char *key, const char *value)
{
    struct rfs_text shown = RFS_TEXT_INIT;

    if (!value)
        return;
    rfs_text_puts(&shown, "");
    rfs_shown(value, &shown);
    rfs_text_pair(out, key, shown.data);
    rfs_text_free(&shown);
}

static void render_request(const char *request, struct rfs_text *out)
{
    size_t len = strlen(request);
    char *shown = rfs_xstrdup(request);

    if (len > REQUEST_MAX)
        memcpy(shown + REQUEST_MAX - 3, "...", 4);
    put_pair(out, "request", shown);
    free(shown);
}

static void render(const struct rfs_outcome *outcome, struct rfs_text *out)
{
    int err = outcome->err ? outcome->err->err : 0;
    const char *message = outcome->err && outcome->err->msg[0] ? outcome->err->msg : rfs_rv_text(outcome->rv);

    rfs_text_printf(out, "errno=%d\n", err);
    if (err)
        rfs_text_pair(out, "error", strerrorname_np(err));
    rfs_text_printf(out, "return_value=%d\n", (int)outcome->rv);
    put_pair(out, "message", message ? message : "");
    rfs_text_pair(out, "operation", outcome->operation);
    put_pair(out, "path", outcome->path);
    if (outcome->request)
        render_request(outcome->request, out);
    rfs_text_puts(out, "time=");
    rfs_text_time(out, rfs_now_ms());
    rfs_text_puts(out, "\n");
}

void rfs_book_note(struct rfs_book *book, const struct rfs_caller *who, const struct rfs_outcome *outcome)
{
    struct rfs_text text = RFS_TEXT_INIT;

    render(outcome, &text);
    pthread_mutex_lock(&book->lock);
    if (who->sid > 0)
        put(book, KEY_SESSION, (uint32_t)who->sid, &text);
    put(book, KEY_USER, who->uid, &text);
    pthread_mutex_unlock(&book->lock);
    rfs_text_free(&text);
}

void rfs_book_render(struct rfs_book *book, const struct rfs_caller *who, struct rfs_text *out)
{
    struct entry *e = NULL;

    pthread_mutex_lock(&book->lock);
    if (who->sid > 0)
        e = find(book, KEY_SESSION, (uint32_t)who->sid);
    if (!e)
        e = find(book, KEY_USER, who->uid);
    if (e)
        rfs_text_append(out, e->text.data, e->text.len);
    pthread_mutex_unlock(&book->lock);
}
