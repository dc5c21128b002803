/* SPDX-License-Identifier: Apache-2.0 */
#include "pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "ask.h"

struct rfs_pending {
    struct rfs_fs *fs;
    struct rfs_handle *handle; /* counted; NULL: not a write to an open file */
    struct rfs_call *call;
    struct rfs_caller who;
    struct rfs_asked asked;
    struct rfs_node node; /* whose inode the waiting write occupies */
    char *data;           /* the write's bytes, to know it again */
    size_t len;
    _Atomic unsigned refs; /* the call's, and the handle's */

    pthread_mutex_t
        lock; /* from here to the next line; taken inside handle->lock and inside libfuse's request lock */
    fuse_req_t req;         /* to be answered; NULL: the caller was interrupted */
    fuse_req_t registering; /* becomes req when libfuse has taken the interrupt hook */
    bool early;             /* the interrupt came during that */
    bool finished, abandoned;

    int err; /* outcome, once finished */
    struct rfs_abandon abandon;
    bool abandon_done;               /* control thread only */
    struct rfs_pending *prev, *next; /* fs->pendings */
};

/* --- life --- */

static struct rfs_pending *make(struct rfs_fs *fs, const struct rfs_caller *who,
                                const struct rfs_asked *asked, struct rfs_call *call)
{
    struct rfs_pending *p = rfs_xcalloc(1, sizeof(*p));

    p->fs = fs;
    p->who = *who;
    p->asked = *asked;
    p->call = call;
    call->owner = p;
    atomic_init(&p->refs, 1);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

static void unref(struct rfs_pending *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    if (p->data)
        explicit_bzero(p->data, p->len);
    free(p->data);
    rfs_text_free(&p->asked.path);
    rfs_text_free(&p->asked.request);
    if (p->handle)
        rfs_handle_unref(p->handle);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void enlist(struct rfs_pending *p)
{
    pthread_mutex_lock(&p->fs->list_lock);
    DL_APPEND(p->fs->pendings, p);
    pthread_mutex_unlock(&p->fs->list_lock);
    atomic_fetch_add(&p->fs->pending_count, 1);
}

static void delist(struct rfs_pending *p)
{
    atomic_fetch_sub(&p->fs->pending_count, 1);
    pthread_mutex_lock(&p->fs->list_lock);
    DL_DELETE(p->fs->pendings, p);
    pthread_mutex_unlock(&p->fs->list_lock);
}

static bool salt_taken(struct rfs_fs *fs, struct rfs_node node)
{
    struct rfs_pending *p;

    DL_FOREACH (fs->pendings, p)
        if (rfs_node_same_file(p->node, node) && p->node.salt == node.salt)
            return true;
    return false;
}

unsigned rfs_pending_salt(struct rfs_fs *fs, struct rfs_node node)
{
    node.salt = 0;
    if (!atomic_load(&fs->pending_count))
        return 0;
    pthread_mutex_lock(&fs->list_lock);
    while (node.salt < RFS_NODE_SALTS - 1 && salt_taken(fs, node))
        node.salt++;
    pthread_mutex_unlock(&fs->list_lock);
    return node.salt;
}

/* --- answering --- */

static void reply_write(struct rfs_fs *fs, fuse_req_t req, int err, const struct rfs_asked *asked)
{
    if (!req)
        return;
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_write(req, asked->number);
}

/* The hook must be off before the request is: it may be running on another FUSE thread. */
static void answer(struct rfs_pending *p, fuse_req_t req)
{
    if (req)
        fuse_req_interrupt_func(req, NULL, NULL);
    p->asked.answer(p->fs, req, p->err, &p->asked);
}

static void reply_interrupted(fuse_req_t req)
{
    fuse_req_interrupt_func(req, NULL, NULL);
    fuse_reply_err(req, EINTR);
}

/* libfuse calls this with the request's lock held: on the FUSE thread that got the interrupt, or from within
 * fuse_req_interrupt_func() when it came before. In the second case the request must outlive this call. */
static void on_interrupt(fuse_req_t req, void *data)
{
    struct rfs_pending *p = data;
    bool mine;

    pthread_mutex_lock(&p->lock);
    if (p->registering == req)
        p->early = true;
    mine = p->req == req;
    if (mine)
        p->req = NULL;
    pthread_mutex_unlock(&p->lock);
    if (mine)
        fuse_reply_err(req, EINTR);
}

enum attached { ATTACHED, INTERRUPTED, FINISHED };

/* Makes req the one that is answered. */
static enum attached attach(struct rfs_pending *p, fuse_req_t req)
{
    enum attached result;

    fuse_req_interrupt_func(req, on_interrupt, p);
    pthread_mutex_lock(&p->lock);
    result = p->finished ? FINISHED : p->early ? INTERRUPTED : ATTACHED;
    p->registering = NULL;
    p->early = false;
    if (result == ATTACHED)
        p->req = req;
    pthread_mutex_unlock(&p->lock);
    return result;
}

/* --- the call's end, on the control thread --- */

static void settle(struct rfs_pending *p)
{
    rfs_call_free(p->call);
    p->call = NULL;
    unref(p);
}

static void on_abandoned(struct rfs_abandon *abandon)
{
    struct rfs_pending *p = RFS_CONTAINER_OF(abandon, struct rfs_pending, abandon);

    p->abandon_done = true;
    if (p->finished)
        settle(p);
}

static void note_outcome(struct rfs_pending *p)
{
    struct rfs_call *call = p->call;
    struct rfs_error err = call->error;

    err.err = p->err;
    rfs_ask_note(p->fs, &p->who,
                 &(struct rfs_outcome){.operation = p->asked.operation,
                                       .path = p->asked.path.data,
                                       .request = p->asked.request.data,
                                       .rv = call->rv,
                                       .err = &err});
}

/* Marks the end, and returns who is to be answered. An outcome that nobody waits for stays with the open file. */
static fuse_req_t end(struct rfs_pending *p, bool *abandoned, bool *drop)
{
    struct rfs_handle *h = p->handle;
    struct rfs_text reply = RFS_TEXT_INIT;
    fuse_req_t req;

    if (h) {
        rfs_ask_reply(p->call->rv, &p->call->error, &p->call->reply, &reply);
        pthread_mutex_lock(&h->lock);
        rfs_handle_set_reply(h, &reply);
    }
    pthread_mutex_lock(&p->lock);
    p->finished = true;
    req = p->req;
    p->req = NULL;
    *abandoned = p->abandoned;
    pthread_mutex_unlock(&p->lock);
    *drop = h && req && h->pending == p;
    if (*drop)
        h->pending = NULL;
    if (h)
        pthread_mutex_unlock(&h->lock);
    return req;
}

static void on_finished(struct rfs_call *call)
{
    struct rfs_pending *p = call->owner;
    bool abandoned, drop;
    fuse_req_t req;

    p->err = call->error.err ? call->error.err : rfs_rv_errno(call->rv);
    note_outcome(p);
    delist(p);
    req = end(p, &abandoned, &drop);
    if (req || !p->handle)
        answer(p, req);
    if (drop)
        unref(p);
    if (!abandoned || p->abandon_done)
        settle(p);
}

/* --- asking, on a FUSE thread --- */

static void detach_from_handle(struct rfs_pending *p)
{
    struct rfs_handle *h = p->handle;
    bool drop;

    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    drop = h->pending == p;
    if (drop)
        h->pending = NULL;
    pthread_mutex_unlock(&h->lock);
    if (drop)
        unref(p);
}

/* The first time: an interrupt that came before anything was begun means that nothing is. */
static void start(struct rfs_pending *p, fuse_req_t req)
{
    p->call->finished = on_finished;
    enlist(p);
    if (attach(p, req) == ATTACHED) {
        rfs_call_submit(p->call);
        return;
    }
    fuse_req_interrupt_func(req, NULL, NULL); /* before p goes: the hook has it */
    delist(p);
    detach_from_handle(p);
    settle(p);
    fuse_reply_err(req, EINTR);
}

void rfs_pending_submit(fuse_req_t req, const struct rfs_caller *who, struct rfs_asked *asked,
                        struct rfs_call *call)
{
    struct rfs_pending *p = make(fuse_req_userdata(req), who, asked, call);

    p->registering = req;
    start(p, req);
}

static void rejoin(struct rfs_pending *p, fuse_req_t req)
{
    enum attached result = attach(p, req);

    if (result == FINISHED) {
        detach_from_handle(p);
        answer(p, req);
    } else if (result == INTERRUPTED) {
        reply_interrupted(req);
    }
    unref(p);
}

static void refuse_write(fuse_req_t req, struct rfs_handle *h, const struct rfs_caller *who,
                         const struct rfs_text *shown, const struct rfs_error *err, bool reply_too)
{
    struct rfs_text path = RFS_TEXT_INIT, reply = RFS_TEXT_INIT;

    rfs_ask_path(h->fs, h->node, NULL, &path);
    rfs_ask_note(
        h->fs, who,
        &(struct rfs_outcome){
            .operation = "write", .path = path.data, .request = shown->data, .rv = err->rv, .err = err});
    rfs_text_free(&path);
    if (reply_too) {
        rfs_ask_reply(err->rv, err, NULL, &reply);
        pthread_mutex_lock(&h->lock);
        rfs_handle_set_reply(h, &reply);
        pthread_mutex_unlock(&h->lock);
    }
    fuse_reply_err(req, err->err);
}

enum former { NONE, REJOINED, BUSY };

static bool same_request(const struct rfs_pending *p, const char *data, size_t len)
{
    return p->len == len && !memcmp(p->data, data, len);
}

/* What is there from an earlier write to this open file. REJOINED: *out is the request to join, referenced. Lock of the
 * handle held. */
static enum former meet_former(struct rfs_handle *h, fuse_req_t req, const char *data, size_t len,
                               struct rfs_pending **out)
{
    struct rfs_pending *p = h->pending;
    enum former result = NONE;

    if (!p)
        return NONE;
    pthread_mutex_lock(&p->lock);
    if (!p->req && !p->registering && same_request(p, data, len)) {
        p->registering = req;
        atomic_fetch_add(&p->refs, 1);
        *out = p;
        result = REJOINED;
    } else if (!p->finished || p->registering) {
        result = BUSY;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

static void drop_former(struct rfs_handle *h, struct rfs_pending **former)
{
    *former = h->pending;
    h->pending = NULL;
}

static struct rfs_pending *make_write(struct rfs_handle *h, const struct rfs_caller *who,
                                      struct rfs_call *call, const char *data, size_t len,
                                      struct rfs_text *shown)
{
    struct rfs_asked asked = {.operation = "write", .request = *shown, .answer = reply_write, .number = len};
    struct rfs_pending *p;

    *shown = (struct rfs_text)RFS_TEXT_INIT;
    rfs_ask_path(h->fs, h->node, NULL, &asked.path);
    p = make(h->fs, who, &asked, call);
    p->handle = rfs_handle_ref(h);
    p->node = h->node;
    p->data = rfs_xmalloc(len + 1);
    memcpy(p->data, data, len);
    p->len = len;
    return p;
}

static void refuse_busy(fuse_req_t req, struct rfs_handle *h, const struct rfs_caller *who,
                        const struct rfs_text *shown)
{
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_BUSY,
             "the last request on this open file has not been answered yet; write the same again to wait for "
             "it, or open "
             "the file anew");
    refuse_write(req, h, who, shown, &err, false);
}

static void refuse_second(fuse_req_t req, struct rfs_handle *h, const struct rfs_caller *who,
                          const struct rfs_text *shown)
{
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_INVALID_PARAMETER,
             "one value per open; the value was already written (open the file anew to write another)");
    refuse_write(req, h, who, shown, &err, false);
}

/* A new request, unless another write to the same open file was quicker. */
static void write_new(fuse_req_t req, struct rfs_handle *h, const struct rfs_caller *who, const char *data,
                      size_t len, struct rfs_text *shown)
{
    struct rfs_pending *p, *former = NULL;
    struct rfs_error err;
    struct rfs_call *call = rfs_ask_call(h->fs, h->node, data, len, &err);
    bool busy;

    if (!call) {
        rfs_ask_hide(h->row, shown);
        refuse_write(req, h, who, shown, &err, true);
        return;
    }
    p = make_write(h, who, call, data, len, shown);
    p->registering = req;
    pthread_mutex_lock(&h->lock);
    busy = h->pending && !h->pending->finished;
    if (!busy) {
        drop_former(h, &former);
        atomic_fetch_add(&p->refs, 1);
        h->pending = p;
    }
    pthread_mutex_unlock(&h->lock);
    if (former)
        unref(former);
    if (!busy) {
        start(p, req);
        return;
    }
    refuse_busy(req, h, who, &p->asked.request);
    settle(p);
}

void rfs_pending_write(fuse_req_t req, struct rfs_handle *h, const struct rfs_caller *who, const char *data,
                       size_t len)
{
    struct rfs_text shown = RFS_TEXT_INIT;
    struct rfs_pending *p = NULL;
    enum former former;
    enum rfs_again again;

    atomic_store(&h->written, len);
    pthread_mutex_lock(&h->lock);
    former = meet_former(h, req, data, len, &p);
    pthread_mutex_unlock(&h->lock);
    if (former == REJOINED) {
        rejoin(p, req);
        return;
    }
    again = former == BUSY ? RFS_AGAIN_NO : rfs_handle_value(h, data, len);
    if (again == RFS_AGAIN_NOTHING) {
        fuse_reply_write(req, len);
        return;
    }
    rfs_ask_masked(h->row, data, len, &shown);
    if (former == BUSY) {
        rfs_ask_hide(h->row, &shown); /* it has not been looked at */
        refuse_busy(req, h, who, &shown);
    } else if (again == RFS_AGAIN_OTHER) {
        refuse_second(req, h, who, &shown);
    } else {
        write_new(req, h, who, data, len, &shown);
    }
    rfs_text_free(&shown);
}

void rfs_pending_release(struct rfs_handle *h)
{
    struct rfs_pending *p;

    pthread_mutex_lock(&h->lock);
    p = h->pending;
    h->pending = NULL;
    pthread_mutex_unlock(&h->lock);
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    if (!p->finished) {
        p->abandoned = true;
        p->abandon.call = p->call;
        p->abandon.gone = on_abandoned;
        rfs_call_abandon(&p->abandon);
    }
    pthread_mutex_unlock(&p->lock);
    unref(p);
}
