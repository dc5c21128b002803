/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of an iSCSI device: connecting, logging in, keeping alive, losing, closing. Source: design section
 * 5, Sessions; RFC 7143.
 *
 * An attempt: address (a name is looked up on a thread of its own), TCP, login, probe, Online. The first
 * failure, wherever it is noticed, goes into the session (rfs_iscsi_fail) and ends it as soon as libiscsi is
 * not on the stack.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/text.h"
#include "device/iscsi_priv.h"

#define RETRY_FIRST_MS   400
#define RETRY_MAX_MS     10000
#define REFUSED_RETRY_MS 30000
#define LOGOUT_MS        1000
#define STEADY_MS        10000 /* Online so long: the next loss starts with short pauses again */
#define MAX_REDIRECTS    3
#define FLAT_SPACE       0x4000 /* addressing method of LUNs above 255 (SAM-5 4.7.7.4) */

static void attempt(struct rfs_iscsi *dev);
static void start_session(struct rfs_iscsi *dev);
static void end_session(struct rfs_iscsi_session *s);
static void finish_close(struct rfs_iscsi *dev);

uint64_t rfs_iscsi_now(const struct rfs_iscsi *dev)
{
    return uv_now(rfs_loop_uv(dev->base.loop));
}

/* --- failing --- */

static void explain(const struct rfs_iscsi *dev, struct rfs_error *err, enum rfs_rv rv, const char *fmt,
                    va_list ap)
{
    char text[sizeof(err->msg)];

    vsnprintf(text, sizeof(text), fmt, ap);
    rfs_fail(err, rv, "element %s: %s", dev->config.name, text);
}

void rfs_iscsi_fail(struct rfs_iscsi_session *s, enum rfs_device_state verdict, enum rfs_rv rv,
                    const char *fmt, ...)
{
    va_list ap;

    if (s->failed)
        return;
    va_start(ap, fmt);
    explain(s->dev, &s->why, rv, fmt, ap);
    va_end(ap);
    s->failed = true;
    s->verdict = verdict;
    if (!s->depth)
        end_session(s);
}

/* Uniform in [limit/2, limit]: devices of one lost target do not all come back at the same instant. */
static uint64_t jitter(uint64_t limit)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = (uint32_t)(uintptr_t)&random;
    return limit / 2 + random % (limit / 2 + 1);
}

static uint64_t pause_before_retry(struct rfs_iscsi *dev, enum rfs_device_state verdict)
{
    unsigned n = dev->failures < 6 ? dev->failures : 6;

    if (verdict == RFS_DEVICE_REFUSED)
        return REFUSED_RETRY_MS;
    dev->failures++;
    return jitter(RETRY_FIRST_MS << n < RETRY_MAX_MS ? RETRY_FIRST_MS << n : RETRY_MAX_MS);
}

/* An attempt or a session has come to nothing. Last in its caller: the event may close the device. */
static void set_back(struct rfs_iscsi *dev, enum rfs_device_state verdict, const struct rfs_error *why)
{
    bool news = dev->base.state != verdict || strcmp(dev->last_why.msg, why->msg) != 0;

    dev->attempting = false;
    dev->redirect[0] = '\0';
    dev->last_why = *why;
    rfs_timer_start(dev->timer, pause_before_retry(dev, verdict));
    if (!news)
        return;
    rfs_log(dev->config.log, RFS_LOG_WARNING, "%s", why->msg);
    rfs_device_set_state(&dev->base, verdict, &dev->last_why);
}

static void set_back_f(struct rfs_iscsi *dev, enum rfs_rv rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void set_back_f(struct rfs_iscsi *dev, enum rfs_rv rv, const char *fmt, ...)
{
    struct rfs_error why = RFS_ERROR_INIT;
    va_list ap;

    va_start(ap, fmt);
    explain(dev, &why, rv, fmt, ap);
    va_end(ap);
    set_back(dev, RFS_DEVICE_OFFLINE, &why);
}

/* --- serving the socket --- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void arm(struct rfs_iscsi_session *s, int events)
{
    if (events == s->events)
        return;
    s->events = events;
    uv_poll_start(&s->poll, events, on_poll);
}

/* What is left to be sent after a read goes out before the loop waits; only a full socket is worth a poll for
 * it. */
static void rearm(struct rfs_iscsi_session *s, bool written)
{
    int want = iscsi_which_events(s->ctx);
    bool more = want & POLLOUT;

    if (more && want & POLLIN && !written && !(s->events & UV_WRITABLE)) {
        s->dirty = true;
        more = false;
    }
    arm(s, (want & POLLIN ? UV_READABLE : 0) | (more ? UV_WRITABLE : 0));
}

void rfs_iscsi_lost(struct rfs_iscsi_session *s)
{
    static const char *const what[] = {"connection", "connection", "new session", "session", "session"};
    char byte;
    bool closed = recv(iscsi_get_fd(s->ctx), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;

    if (s->phase == RFS_ISCSI_TCP)
        rfs_iscsi_cannot_connect(s, rfs_iscsi_socket_error(s));
    else
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the %s with %s was lost: %s", what[s->phase],
                       s->dev->addrs.portal[s->dev->addr],
                       closed ? "the target closed it" : rfs_iscsi_reason(s->ctx));
}

/* libiscsi sends each PDU (8 KiB, where the target says so) with calls of its own and TCP_NODELAY on: without the
 * cork each becomes packets and a wake-up of the target; with it, whatever goes out in one turn goes out together. */
static void cork(struct rfs_iscsi_session *s, int on)
{
    setsockopt(iscsi_get_fd(s->ctx), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static void serve(struct rfs_iscsi_session *s, int revents)
{
    bool writes = revents & POLLOUT && s->phase == RFS_ISCSI_READY;
    int code;

    s->depth++;
    if (writes)
        cork(s, 1);
    code = iscsi_service(s->ctx, revents);
    if (writes && iscsi_get_fd(s->ctx) >= 0)
        cork(s, 0);
    s->depth--;
    if (code < 0 && !s->failed)
        rfs_iscsi_lost(s);
    else if (s->failed)
        end_session(s);
    else
        rearm(s, revents & POLLOUT);
}

static void socket_failed(struct rfs_iscsi_session *s, int code)
{
    if (s->phase == RFS_ISCSI_TCP)
        rfs_iscsi_cannot_connect(s, code);
    else
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the session with %s was lost: %s",
                       s->dev->addrs.portal[s->dev->addr], code ? strerror(code) : "the target closed it");
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct rfs_iscsi_session *s = poll->data;
    int code = status < 0 || s->phase == RFS_ISCSI_TCP ? rfs_iscsi_socket_error(s) : 0;

    if (status < 0 || code) {
        socket_failed(s, code);
        return;
    }
    if (events & UV_READABLE) {
        s->heard_ms = rfs_iscsi_now(s->dev);
        s->nops = 0;
    }
    serve(s, (events & UV_READABLE ? POLLIN : 0) | (events & UV_WRITABLE ? POLLOUT : 0));
}

/* Runs once a turn, right before the loop waits: everything submitted in this turn goes out together. */
static void on_flush(uv_prepare_t *prepare)
{
    struct rfs_iscsi *dev = prepare->data;
    struct rfs_iscsi_session *s = dev->session;

    if (!s || !s->dirty || s->phase == RFS_ISCSI_TCP)
        return;
    s->dirty = false;
    if (!(s->events & UV_WRITABLE)) /* else the socket is full, and poll says when it is not */
        serve(s, POLLOUT);
}

/* --- the end of a session --- */

static void on_poll_closed(uv_handle_t *handle)
{
    struct rfs_iscsi_session *s = handle->data;
    struct rfs_iscsi *dev = s->dev;

    free(s);
    dev->handles--;
    finish_close(dev);
}

/* After this no callback of libiscsi comes any more, and no buffer is written to. */
static void tear_down(struct rfs_iscsi_session *s)
{
    struct rfs_iscsi *dev = s->dev;

    dev->session = NULL;
    s->dead = true;
    rfs_timer_stop(dev->timer);
    rfs_timer_stop(dev->tick);
    if (s->poll_open) /* before the descriptor goes, so that the loop forgets it */
        uv_close((uv_handle_t *)&s->poll, on_poll_closed);
    iscsi_destroy_context(s->ctx);
    s->ctx = NULL;
    if (!s->poll_open)
        free(s);
}

/* Nothing answered at this address of a host with several: the next one, within the same attempt. */
static bool try_next_address(struct rfs_iscsi *dev, enum rfs_iscsi_phase phase)
{
    if (phase != RFS_ISCSI_TCP || !dev->attempting || ++dev->addrs_tried >= dev->addrs.n)
        return false;
    dev->addr = (dev->addr + 1) % dev->addrs.n;
    start_session(dev);
    return true;
}

static void end_session(struct rfs_iscsi_session *s)
{
    struct rfs_iscsi *dev = s->dev;
    struct rfs_error why = s->why;
    enum rfs_device_state verdict = s->verdict;
    enum rfs_iscsi_phase phase = s->phase;

    tear_down(s);
    rfs_iscsi_abandon(dev, why.msg);
    if (dev->base.closing) {
        finish_close(dev);
        return;
    }
    if (dev->redirect[0] && dev->redirects < MAX_REDIRECTS) {
        dev->redirects++;
        attempt(dev);
        return;
    }
    if (dev->login_again) {
        dev->login_again = false;
        start_session(dev);
        return;
    }
    if (try_next_address(dev, phase))
        return;
    if (phase == RFS_ISCSI_READY && rfs_iscsi_now(dev) - dev->online_ms >= STEADY_MS)
        dev->failures = 0;
    set_back(dev, verdict, &why);
}

/* --- Online --- */

static int open_poll(struct rfs_iscsi_session *s)
{
    int fd = iscsi_get_fd(s->ctx), code = uv_poll_init(rfs_loop_uv(s->dev->base.loop), &s->poll, fd);

    if (code)
        return code;
    s->poll.data = s;
    s->poll_open = true;
    s->dev->handles++;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    arm(s, UV_WRITABLE);
    return 0;
}

/* One limit for all addresses of an attempt. */
static uint64_t time_left(const struct rfs_iscsi *dev)
{
    uint64_t now = rfs_iscsi_now(dev);

    return dev->deadline_ms > now ? dev->deadline_ms - now : 0;
}

static void start_session(struct rfs_iscsi *dev)
{
    struct rfs_iscsi_session *s = rfs_xcalloc(1, sizeof(*s));
    int code;

    s->dev = dev;
    s->ctx = rfs_iscsi_make_context(dev);
    if (!s->ctx) {
        free(s);
        set_back_f(dev, RFS_RV_NO_RESOURCES, "no memory for a session");
        return;
    }
    dev->session = s;
    s->heard_ms = rfs_iscsi_now(dev);
    rfs_timer_start(dev->timer, time_left(dev));
    errno = 0;
    if (iscsi_connect_async(s->ctx, dev->addrs.portal[dev->addr], rfs_iscsi_on_connect, s) < 0)
        rfs_iscsi_cannot_connect(s, errno);
    else if ((code = open_poll(s)))
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "cannot watch the connection: %s",
                       uv_strerror(code));
}

/* The catalogue may know nothing yet; from now on it has to be this LUN all the same. */
static void remember(struct rfs_iscsi *dev, const struct rfs_device_info *info)
{
    if (!dev->expect_identity)
        dev->expect_identity = rfs_xstrdup(info->identity);
    dev->expect_size = info->size;
    dev->expect_block_size = info->block_size;
}

void rfs_iscsi_online(struct rfs_iscsi_session *s)
{
    struct rfs_iscsi *dev = s->dev;
    bool grown = dev->expect_size && s->probe.info.size > dev->expect_size;

    s->phase = RFS_ISCSI_READY;
    dev->base.info = s->probe.info;
    dev->dpofua = s->probe.dpofua;
    dev->sync10 = dev->no_sync = false;
    free(dev->zeroes);
    dev->zeroes = rfs_xcalloc(1, dev->base.info.block_size);
    remember(dev, &dev->base.info);
    dev->attempting = false;
    dev->online_ms = rfs_iscsi_now(dev);
    dev->last_why = (struct rfs_error)RFS_ERROR_INIT;
    rfs_timer_stop(dev->timer);
    rfs_timer_start(dev->tick, 1);
    rfs_log(dev->config.log, RFS_LOG_INFO, "element %s: online: %s", dev->config.name,
            dev->base.info.identity);
    rfs_device_set_state(&dev->base, RFS_DEVICE_ONLINE, NULL);
    if (grown && !dev->base.closing && dev->base.events && dev->base.events->changed)
        dev->base.events->changed(dev->base.events_arg);
}

/* --- attempts --- */

static void looked_up(void *arg, const char *host, int code, const struct rfs_iscsi_addrs *addrs)
{
    struct rfs_iscsi *dev = arg;

    dev->lookup = NULL;
    if (dev->base.closing) {
        finish_close(dev);
        return;
    }
    if (!dev->attempting || dev->session)
        return; /* came after the attempt had ended; the next one asks again */
    if (code) {
        set_back_f(dev, RFS_RV_FAILED, "cannot find the address of host %s: %s; check the name", host,
                   gai_strerror(code));
        return;
    }
    dev->addrs = *addrs;
    dev->addr = dev->failures % addrs->n; /* one that is silent must not keep the others from their turn */
    start_session(dev);
}

/* Where this attempt goes: the url's portal, or the one a target sent us to. */
static void destination(struct rfs_iscsi *dev, char *host, size_t size, uint16_t *port)
{
    *port = RFS_ISCSI_PORT;
    if (!dev->redirect[0] || rfs_iscsi_portal_parse(dev->redirect, host, size, port)) {
        snprintf(host, size, "%s", dev->url.host);
        *port = dev->url.port;
    }
    dev->redirect[0] = '\0';
}

static void attempt(struct rfs_iscsi *dev)
{
    char host[256];
    uint16_t port;

    dev->attempting = true;
    dev->addr = dev->addrs_tried = 0;
    dev->deadline_ms = rfs_iscsi_now(dev) + dev->config.connect_timeout_ms;
    destination(dev, host, sizeof(host), &port);
    if (rfs_iscsi_numeric(host, port, &dev->addrs)) {
        start_session(dev);
        return;
    }
    rfs_timer_start(dev->timer, dev->config.connect_timeout_ms);
    if (!dev->lookup) /* else one from an earlier attempt is still under way: its answer is as good */
        dev->lookup = rfs_iscsi_look_up(dev->base.loop, host, port, looked_up, dev);
}

static const char *const silences[] = {
    [RFS_ISCSI_TCP] = "no answer to the TCP connection; check the address, routing and firewalls",
    [RFS_ISCSI_LOGIN] = "the connection was accepted but the login is not answered; is this an iSCSI portal?",
    [RFS_ISCSI_PROBE] = "the login went well but the LUN does not answer commands",
};

/* The timer limits an attempt or a logout, and ends the pause between attempts. */
static void on_timer(void *arg)
{
    struct rfs_iscsi *dev = arg;
    struct rfs_iscsi_session *s = dev->session;

    if (s && s->phase == RFS_ISCSI_LOGOUT)
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_TIMEOUT, "closed");
    else if (s)
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_TIMEOUT, "%s did not answer within %u ms: %s",
                       dev->addrs.portal[dev->addr], dev->config.connect_timeout_ms, silences[s->phase]);
    else if (dev->attempting)
        set_back_f(dev, RFS_RV_TIMEOUT, "no address for host %s within %u ms; check the name server",
                   dev->url.host, dev->config.connect_timeout_ms);
    else {
        dev->redirects = 0;
        attempt(dev);
    }
}

/* --- closing --- */

static void on_logout(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    struct rfs_iscsi_session *s = arg;

    (void)ctx, (void)status, (void)data;
    if (!s->dead)
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "closed");
}

static void close_now(struct rfs_task *task)
{
    struct rfs_iscsi *dev = RFS_CONTAINER_OF(task, struct rfs_iscsi, close_task);
    struct rfs_iscsi_session *s = dev->session;

    rfs_timer_stop(dev->timer);
    if (!s) {
        finish_close(dev);
        return;
    }
    if (s->phase == RFS_ISCSI_READY && !dev->inflight && !dev->waiting &&
        iscsi_logout_async(s->ctx, on_logout, s) == 0) {
        s->phase = RFS_ISCSI_LOGOUT;
        s->dirty = true;
        rfs_timer_stop(dev->tick);
        rfs_timer_start(dev->timer, LOGOUT_MS);
        return;
    }
    rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the device is being closed");
}

/* May be called from a callback of libiscsi (a request's done()), so nothing is destroyed here. */
static void close_device(struct rfs_device *base)
{
    struct rfs_iscsi *dev = RFS_CONTAINER_OF(base, struct rfs_iscsi, base);

    dev->close_task.run = close_now;
    rfs_loop_post(base->loop, &dev->close_task);
}

static void free_device(struct rfs_task *task)
{
    struct rfs_iscsi *dev = RFS_CONTAINER_OF(task, struct rfs_iscsi, free_task);

    rfs_device_closed(&dev->base);
    rfs_iscsi_config_free(dev);
    free(dev->zeroes);
    free(dev);
}

static void on_flush_closed(uv_handle_t *handle)
{
    struct rfs_iscsi *dev = handle->data;

    dev->handles--;
    finish_close(dev);
}

/* Called whenever something that a closing device waits for is gone. */
static void finish_close(struct rfs_iscsi *dev)
{
    if (!dev->base.closing || dev->session || dev->lookup)
        return;
    if (!uv_is_closing((uv_handle_t *)&dev->flush)) {
        rfs_timer_destroy(dev->timer);
        rfs_timer_destroy(dev->tick);
        rfs_timer_destroy(dev->backoff);
        uv_close((uv_handle_t *)&dev->flush, on_flush_closed);
    } else if (!dev->handles) {
        /* Behind the completions that were posted before. */
        dev->free_task.run = free_device;
        rfs_loop_post(dev->base.loop, &dev->free_task);
    }
}

/* --- opening --- */

static const struct rfs_device_ops iscsi_ops = {
    .kind = "iscsi",
    .submit = rfs_iscsi_submit,
    .close = close_device,
};

/* libiscsi sends with writev(), and the target may be gone: no reason for the process to die. Open is called
 * on the thread that will do so. */
static void block_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

struct rfs_device *rfs_iscsi_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                  const struct rfs_device_events *events, void *arg, struct rfs_error *err)
{
    struct rfs_iscsi_url url;
    struct rfs_iscsi *dev;

    if (rfs_iscsi_url_parse(config->url, &url, err))
        return NULL;
    if (!config->initiator || !*config->initiator) {
        rfs_fail(err, RFS_RV_INVALID_PARAMETER, "element %s: no initiator name",
                 config->name ? config->name : "?");
        return NULL;
    }
    block_sigpipe();
    dev = rfs_xcalloc(1, sizeof(*dev));
    dev->base = (struct rfs_device){
        .ops = &iscsi_ops, .loop = loop, .state = RFS_DEVICE_CONNECTING, .events = events, .events_arg = arg};
    dev->url = url;
    dev->lun = url.lun > 255 ? url.lun | FLAT_SPACE : url.lun;
    rfs_iscsi_config_copy(dev, config);
    uv_prepare_init(rfs_loop_uv(loop), &dev->flush);
    dev->flush.data = dev;
    dev->handles = 1;
    uv_prepare_start(&dev->flush, on_flush);
    dev->timer = rfs_timer_new(loop, on_timer, dev);
    dev->tick = rfs_timer_new(loop, rfs_iscsi_tick, dev);
    dev->backoff = rfs_timer_new(loop, rfs_iscsi_backoff_over, dev);
    rfs_timer_start(dev->timer, 0); /* the first attempt, on the next turn: no events from inside this call */
    return &dev->base;
}
