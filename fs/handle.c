/* SPDX-License-Identifier: Apache-2.0 */
#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "model/events.h"
#include "render.h"

#define FRESH_MS 20 /* a snapshot this young is what a first read gets */

static struct rfs_handle *make(struct rfs_fs *fs, struct rfs_node node, int flags)
{
    struct rfs_handle *h = rfs_xcalloc(1, sizeof(*h));
    int access = flags & O_ACCMODE;

    h->fs = fs;
    h->node = node;
    h->row = rfs_tree_row(fs->tree, node);
    h->for_reading = access != O_WRONLY;
    h->for_writing = access != O_RDONLY;
    h->append = flags & O_APPEND;
    atomic_init(&h->refs, 1);
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

static bool renders(const struct rfs_handle *h)
{
    return h->row && h->row->kind != RFS_ROW_EVENTS && rfs_row_readable(h->row);
}

static int check_access(const struct rfs_handle *h)
{
    if (!h->row)
        return h->node.dir == RFS_DIR_TEMP ? 0 : ENOENT;
    if (h->row->kind == RFS_ROW_LINK)
        return ELOOP;
    /* default_permissions lets root pass; a file that takes no requests cannot be written by anybody. */
    if (h->for_writing && !rfs_row_writable(h->row))
        return EACCES;
    if (h->for_reading && !h->for_writing && !rfs_row_readable(h->row))
        return EACCES;
    return 0;
}

static bool object_there(struct rfs_fs *fs, struct rfs_node node)
{
    bool there;

    rfs_service_lock(fs->svc);
    there = rfs_tree_object(fs->tree, fs->svc, node) != NULL;
    rfs_service_unlock(fs->svc);
    return there;
}

static int prepare(struct rfs_handle *h, const struct rfs_caller *who)
{
    int rc = check_access(h);

    if (rc)
        return rc;
    if (!h->row)
        return rfs_temps_open(h->fs->temps, h->node.number);
    if (!h->for_reading || !renders(h))
        return object_there(h->fs, h->node) ? 0 : ENOENT;
    h->rendered_ms = rfs_mono_ms();
    return rfs_render_node(h->fs, h->node, who, &h->snapshot);
}

static void destroy(struct rfs_handle *h)
{
    rfs_text_free(&h->snapshot);
    rfs_text_free(&h->reply);
    if (h->value)
        explicit_bzero(h->value, h->value_len); /* it may be a password */
    free(h->value);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

int rfs_handle_open(struct rfs_fs *fs, struct rfs_node node, int flags, const struct rfs_caller *who,
                    struct rfs_handle **out)
{
    struct rfs_handle *h = make(fs, node, flags);
    int rc = prepare(h, who);

    if (rc) {
        destroy(h);
        return rc;
    }
    pthread_mutex_lock(&fs->list_lock);
    DL_APPEND(fs->handles, h);
    pthread_mutex_unlock(&fs->list_lock);
    *out = h;
    return 0;
}

struct rfs_handle *rfs_handle_ref(struct rfs_handle *h)
{
    atomic_fetch_add(&h->refs, 1);
    return h;
}

void rfs_handle_unref(struct rfs_handle *h)
{
    struct rfs_fs *fs = h->fs;

    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    pthread_mutex_lock(&fs->list_lock);
    DL_DELETE(fs->handles, h);
    pthread_mutex_unlock(&fs->list_lock);
    if (!h->row)
        rfs_temps_close(fs->temps, h->node.number);
    destroy(h);
}

void rfs_handle_set_reply(struct rfs_handle *h, struct rfs_text *reply)
{
    rfs_text_free(&h->reply);
    h->reply = *reply;
    *reply = (struct rfs_text)RFS_TEXT_INIT;
    h->based = false;
    h->replied = true;
}

static enum rfs_again compare_value(struct rfs_handle *h, const char *data, size_t len)
{
    if (!h->value) {
        h->value = rfs_xmalloc(len + 1);
        memcpy(h->value, data, len);
        h->value_len = len;
        return RFS_AGAIN_NO;
    }
    if (!len)
        return RFS_AGAIN_NOTHING;
    return len == h->value_len && !memcmp(h->value, data, len) ? RFS_AGAIN_NO : RFS_AGAIN_OTHER;
}

enum rfs_again rfs_handle_value(struct rfs_handle *h, const char *data, size_t len)
{
    enum rfs_again again;

    if (h->row->method || len > RFS_REQUEST_MAX)
        return RFS_AGAIN_NO;
    if (len && data[len - 1] == '\n')
        len--;
    pthread_mutex_lock(&h->lock);
    again = compare_value(h, data, len);
    pthread_mutex_unlock(&h->lock);
    return again;
}

static void piece(const struct rfs_text *from, uint64_t offset, size_t len, struct rfs_text *out)
{
    size_t left = offset < from->len ? from->len - (size_t)offset : 0;

    if (left)
        rfs_text_append(out, from->data + offset, len < left ? len : left);
}

/* The write has moved the kernel's offset: wherever the first read after a request stands, the reply begins. Offsets
 * count from there on, since shells read ahead and seek back. Who goes to before it wants the reply from its start. */
static bool read_reply(struct rfs_handle *h, uint64_t offset, size_t len, struct rfs_text *out)
{
    bool replied;

    pthread_mutex_lock(&h->lock);
    replied = h->replied;
    if (replied) {
        if (!h->based || offset < h->base)
            h->base = offset;
        h->based = true;
        piece(&h->reply, offset - h->base, len, out);
    }
    pthread_mutex_unlock(&h->lock);
    return replied;
}

static int read_events(struct rfs_handle *h, uint64_t offset, size_t len, struct rfs_text *out)
{
    struct rfs_events *ev = h->fs->svc->events;
    uint64_t size = rfs_events_size(ev);
    size_t n = offset < size ? (size - offset < len ? (size_t)(size - offset) : len) : 0;
    char *buf = n ? rfs_xmalloc(n) : NULL;

    if (n)
        n = rfs_events_read(ev, offset, buf, n);
    if (n)
        rfs_text_append(out, buf, n);
    free(buf);
    pthread_mutex_lock(&h->lock);
    h->events_pos = offset + n;
    pthread_mutex_unlock(&h->lock);
    return 0;
}

/* Reading from the beginning again is looking again. */
static int refresh(struct rfs_handle *h, const struct rfs_caller *who)
{
    struct rfs_text text = RFS_TEXT_INIT;
    bool was_read, fresh;
    int rc;

    pthread_mutex_lock(&h->lock);
    was_read = h->was_read;
    fresh = !was_read && rfs_mono_ms() - h->rendered_ms <= FRESH_MS;
    h->was_read = true;
    pthread_mutex_unlock(&h->lock);
    if (fresh)
        return 0;
    rc = rfs_render_node(h->fs, h->node, who, &text);
    if (rc) {
        rfs_text_free(&text);
        return was_read ? rc : 0;
    }
    pthread_mutex_lock(&h->lock);
    rfs_text_free(&h->snapshot);
    h->snapshot = text;
    h->rendered_ms = rfs_mono_ms();
    pthread_mutex_unlock(&h->lock);
    return 0;
}

static int read_snapshot(struct rfs_handle *h, const struct rfs_caller *who, uint64_t offset, size_t len,
                         struct rfs_text *out)
{
    int rc = offset ? 0 : refresh(h, who);

    if (rc)
        return rc;
    pthread_mutex_lock(&h->lock);
    piece(&h->snapshot, offset, len, out);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

int rfs_handle_read(struct rfs_handle *h, const struct rfs_caller *who, uint64_t offset, size_t len,
                    struct rfs_text *out)
{
    if (!h->row)
        return rfs_temps_read(h->fs->temps, h->node.number, offset, len, out);
    if (h->row->kind == RFS_ROW_EVENTS)
        return read_events(h, offset, len, out);
    if (h->row->method && read_reply(h, offset, len, out))
        return 0;
    if (!rfs_row_readable(h->row))
        return EACCES;
    return read_snapshot(h, who, offset, len, out);
}

bool rfs_handle_polled(const struct rfs_handle *h)
{
    if (!h->row)
        return false;
    return h->row->kind == RFS_ROW_EVENTS ||
           (h->for_reading && h->row->property && (h->row->property->flags & RFS_PROP_POLL));
}

int rfs_handle_changed(struct rfs_handle *h, const struct rfs_caller *who)
{
    struct rfs_text text = RFS_TEXT_INIT;
    bool changed;

    if (h->row->kind == RFS_ROW_EVENTS) {
        uint64_t size = rfs_events_size(h->fs->svc->events);

        pthread_mutex_lock(&h->lock);
        changed = size != h->events_pos;
        pthread_mutex_unlock(&h->lock);
        return changed;
    }
    if (rfs_render_node(h->fs, h->node, who, &text)) {
        rfs_text_free(&text);
        return -ENOENT;
    }
    pthread_mutex_lock(&h->lock);
    changed = text.len != h->snapshot.len || memcmp(text.data, h->snapshot.data, text.len) != 0;
    pthread_mutex_unlock(&h->lock);
    rfs_text_free(&text);
    return changed;
}
