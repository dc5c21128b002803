/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/volume.h"

#include <stdlib.h>

#include "base/text.h"

#define SPARE_MAX 256u /* requests kept for reuse; more than are ever in flight in practice */

/* The device's view of a caller's request. A request of our own, since the caller's `done` has to stay his:
 * he may use the same request again. */
struct passed {
    struct rfs_io io;
    struct rfs_io *user;
    struct rfs_volume *vol;
    struct passed *next; /* spare list */
};

struct rfs_volume {
    struct rfs_loop *loop;
    struct rfs_device *dev;
    struct rfs_rangelock *ranges;
    struct rfs_volume_listener *head, *tail;
    struct rfs_volume_listener *upnext; /* of the round of telling under way: listeners may go meanwhile */
    struct rfs_error why;
    struct rfs_volume_stats stats;
    struct passed *spare;
    unsigned spares;
    bool was_online;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void tell(struct rfs_volume *vol)
{
    for (struct rfs_volume_listener *l = vol->head; l; l = vol->upnext) {
        vol->upnext = l->next;
        l->changed(l, vol);
    }
}

static void on_state(void *arg, enum rfs_device_state state, const struct rfs_error *why)
{
    struct rfs_volume *vol = arg;

    if (why)
        vol->why = *why;
    else
        vol->why.rv = RFS_RV_OK;
    if (state == RFS_DEVICE_ONLINE) {
        if (vol->was_online)
            atomic_fetch_add_explicit(&vol->stats.reconnects, 1, memory_order_relaxed);
        vol->was_online = true;
    }
    tell(vol);
}

static void on_changed(void *arg)
{
    tell(arg);
}

static const struct rfs_device_events device_events = {.state = on_state, .changed = on_changed};

struct rfs_volume *rfs_volume_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                   rfs_volume_open_fn open, void *open_arg, struct rfs_error *err)
{
    struct rfs_volume *vol = rfs_xcalloc(1, sizeof(*vol));

    vol->loop = loop;
    vol->dev = open ? open(open_arg, loop, &device_events, vol, err)
                    : rfs_device_open(loop, config, &device_events, vol, err);
    if (!vol->dev) {
        free(vol);
        return NULL;
    }
    vol->ranges = rfs_rangelock_new();
    return vol;
}

static void on_closed(void *arg)
{
    struct rfs_volume *vol = arg;
    void (*closed)(void *arg) = vol->closed;
    void *closed_arg = vol->closed_arg;

    while (vol->spare) {
        struct passed *p = vol->spare;

        vol->spare = p->next;
        free(p);
    }
    rfs_rangelock_free(vol->ranges);
    free(vol);
    if (closed)
        closed(closed_arg);
}

void rfs_volume_close(struct rfs_volume *vol, void (*closed)(void *arg), void *arg)
{
    vol->closed = closed;
    vol->closed_arg = arg;
    rfs_device_close(vol->dev, on_closed, vol);
}

void rfs_volume_listen(struct rfs_volume *vol, struct rfs_volume_listener *l)
{
    l->next = NULL;
    l->prev = vol->tail;
    if (vol->tail)
        vol->tail->next = l;
    else
        vol->head = l;
    vol->tail = l;
}

void rfs_volume_unlisten(struct rfs_volume *vol, struct rfs_volume_listener *l)
{
    if (vol->upnext == l)
        vol->upnext = l->next;
    if (l->prev)
        l->prev->next = l->next;
    else
        vol->head = l->next;
    if (l->next)
        l->next->prev = l->prev;
    else
        vol->tail = l->prev;
    l->prev = l->next = NULL;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void count_done(struct rfs_volume_stats *s, const struct rfs_io *io)
{
    if (io->status != RFS_IO_OK) {
        if (io->status != RFS_IO_UNSUPPORTED) /* a refusal is an answer */
            count(&s->errors, 1);
        return;
    }
    switch (io->op) {
    case RFS_IO_READ:
        count(&s->read_ops, 1);
        count(&s->read_bytes, io->length);
        break;
    case RFS_IO_WRITE:
        count(&s->write_bytes, io->length);
        count(&s->write_ops, 1);
        break;
    case RFS_IO_UNMAP:
    case RFS_IO_WRITE_ZEROES:
        count(&s->write_ops, 1);
        break;
    case RFS_IO_FLUSH:
        count(&s->flush_ops, 1);
        break;
    case RFS_IO_EXTENT_STATUS:
        break;
    }
}

static void put_spare(struct rfs_volume *vol, struct passed *p)
{
    if (vol->spares == SPARE_MAX) {
        free(p);
        return;
    }
    p->next = vol->spare;
    vol->spare = p;
    vol->spares++;
}

static struct passed *get_spare(struct rfs_volume *vol)
{
    struct passed *p = vol->spare;

    if (!p)
        return rfs_xcalloc(1, sizeof(*p));
    vol->spare = p->next;
    vol->spares--;
    return p;
}

static void on_done(struct rfs_io *io)
{
    struct passed *p = RFS_CONTAINER_OF(io, struct passed, io);
    struct rfs_io *user = p->user;
    struct rfs_volume *vol = p->vol;

    user->status = io->status;
    user->extent = io->extent;
    if (io->status != RFS_IO_OK) {
        user->error = io->error;
    } else { /* not the whole text for each request that went well */
        user->error.rv = RFS_RV_OK;
        user->error.err = 0;
        user->error.msg[0] = '\0';
    }
    count_done(&vol->stats, io);
    put_spare(vol, p);
    user->done(user);
}

void rfs_volume_submit(struct rfs_volume *vol, struct rfs_io *io)
{
    struct passed *p = get_spare(vol);

    p->vol = vol;
    p->user = io;
    p->io.op = io->op;
    p->io.fua = io->fua;
    p->io.offset = io->offset;
    p->io.length = io->length;
    p->io.iov = io->iov;
    p->io.niov = io->niov;
    p->io.done = on_done;
    p->io.tries = 0;
    rfs_device_submit(vol->dev, &p->io);
}

enum rfs_device_state rfs_volume_state(const struct rfs_volume *vol)
{
    return vol->dev->state;
}

const struct rfs_error *rfs_volume_why(const struct rfs_volume *vol)
{
    return vol->why.rv == RFS_RV_OK ? NULL : &vol->why;
}

uint32_t rfs_volume_writes_lost(const struct rfs_volume *vol)
{
    return vol->dev ? vol->dev->writes_lost : 0;
}

const struct rfs_device_info *rfs_volume_info(const struct rfs_volume *vol)
{
    return &vol->dev->info;
}

struct rfs_loop *rfs_volume_loop(const struct rfs_volume *vol)
{
    return vol->loop;
}

struct rfs_volume_stats *rfs_volume_stats(struct rfs_volume *vol)
{
    return &vol->stats;
}

struct rfs_rangelock *rfs_volume_ranges(struct rfs_volume *vol)
{
    return vol->ranges;
}
