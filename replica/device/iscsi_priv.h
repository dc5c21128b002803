/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the iSCSI maker share: iscsi.c (sessions), iscsi_io.c (requests), iscsi_sense.c (what
 * answers mean), iscsi_probe.c (what the LUN is), iscsi_login.c, iscsi_url.c (urls and addresses). Nobody
 * else includes this.
 *
 * One `rfs_iscsi` is one device for its whole life; one `rfs_iscsi_session` is one attempt to connect and
 * what came of it. Everything runs on the device's loop. libiscsi calls back only from inside iscsi_service()
 * and iscsi_destroy_context(); `depth` counts the former, and while it is not zero a session is only marked
 * as failed, so that a context is never destroyed under libiscsi's feet.
 */
#ifndef RFS_DEVICE_ISCSI_PRIV_H
#define RFS_DEVICE_ISCSI_PRIV_H

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "device/device.h"

#define RFS_ISCSI_PORT         3260
#define RFS_ISCSI_MAX_TRANSFER (16u << 20)
#define RFS_ISCSI_MAX_ADDRS    8

struct rfs_iscsi_url {
    char host[256]; /* without brackets */
    uint16_t port;
    char target[224]; /* RFC 7143: at most 223 bytes */
    int lun;
};

/* `parsed` may be NULL: only checked. Never repeats a url that may hold credentials. */
int rfs_iscsi_url_parse(const char *url, struct rfs_iscsi_url *parsed, struct rfs_error *err);
/* `HOST:PORT` or `[V6]:PORT`, optionally `,TAG` behind it, as targets say it when they redirect a login. */
int rfs_iscsi_portal_parse(const char *portal, char *host, size_t size, uint16_t *port);

/* Numeric addresses of a host, as libiscsi takes them: `A.B.C.D:PORT` or `[V6]:PORT`. */
struct rfs_iscsi_addrs {
    unsigned n;
    char portal[RFS_ISCSI_MAX_ADDRS][80];
};
/* False if `host` is a name. Does not block. */
bool rfs_iscsi_numeric(const char *host, uint16_t port, struct rfs_iscsi_addrs *addrs);
/* Looks the name up on a thread of its own; done() comes on the loop: 0, or getaddrinfo's code. What is
 * returned only says that it is under way, until done(). */
struct rfs_iscsi_lookup *rfs_iscsi_look_up(struct rfs_loop *loop, const char *host, uint16_t port,
                                           void (*done)(void *arg, const char *host, int code,
                                                        const struct rfs_iscsi_addrs *addrs),
                                           void *arg);

enum rfs_iscsi_phase {
    RFS_ISCSI_TCP,
    RFS_ISCSI_LOGIN,
    RFS_ISCSI_PROBE,
    RFS_ISCSI_READY,
    RFS_ISCSI_LOGOUT,
};

struct rfs_iscsi_probe {
    unsigned step, tries;
    bool pages[256]; /* VPD pages the LUN says it has */
    bool capacity16; /* READ CAPACITY(16) works */
    bool lbpme, lbprz;
    bool lbp_page, lbpu, thick; /* VPD 0xB2 */
    bool dpofua;
    uint32_t max_transfer, optimal_transfer, max_unmap, max_unmap_descriptors,
        unmap_granularity; /* VPD 0xB0, blocks */
    uint64_t max_write_same;
    uint64_t blocks;
    char t10[64];   /* T10 vendor designator */
    int id_rank;    /* of info.device_id */
    bool id_unique; /* info.device_id cannot be another LUN's */
    struct rfs_device_info info;
};

struct rfs_iscsi;

struct rfs_iscsi_session {
    struct rfs_iscsi *dev;
    struct iscsi_context *ctx;
    uv_poll_t poll;
    int events;     /* what poll waits for */
    unsigned depth; /* inside iscsi_service() */
    enum rfs_iscsi_phase phase;
    bool poll_open;
    bool dirty; /* something was queued: sent before the loop waits */
    bool dead;  /* being destroyed: callbacks only free their task */
    bool failed;
    bool rereading; /* READ CAPACITY after the capacity changed is under way */
    enum rfs_device_state verdict;
    struct rfs_error why;
    unsigned rereads;
    uint64_t heard_ms; /* when the last bytes came in */
    unsigned nops;     /* sent since then */
    struct rfs_iscsi_probe probe;
};

struct rfs_iscsi {
    struct rfs_device base;
    struct rfs_iscsi_url url;
    int lun;                         /* as libiscsi takes it */
    struct rfs_device_config config; /* strings are ours */
    char *expect_identity;           /* the catalogue's, later what the device was first Online with */
    uint64_t expect_size;
    uint32_t expect_block_size;

    struct rfs_iscsi_session *session;
    struct rfs_iscsi_addrs addrs; /* of this attempt */
    unsigned addr, addrs_tried;
    uint64_t deadline_ms;
    char redirect[300]; /* portal a target sent us to; for one attempt */
    unsigned redirects;
    bool plain_login, login_again; /* iscsi_login.c: PLACEHOLDER */
    struct rfs_iscsi_lookup *lookup;

    uv_prepare_t flush;
    unsigned handles;          /* uv handles that are not closed yet */
    struct rfs_timer *timer;   /* limit of an attempt, pause between two, limit of a logout */
    struct rfs_timer *tick;    /* command timeouts, keep-alive */
    struct rfs_timer *backoff; /* BUSY */
    unsigned failures;         /* in a row */
    uint64_t online_ms;
    bool attempting;
    struct rfs_error last_why;
    struct rfs_task close_task, free_task;

    struct rfs_io *inflight; /* known to libiscsi */
    struct rfs_io *waiting;  /* for the back-off */
    uint32_t backoff_ms;
    unsigned char *zeroes; /* one block */
    bool dpofua, sync10, no_sync;
};

/* --- iscsi.c: for the other files --- */

/* Ends the session with this reason: at once, or when libiscsi has returned. Only the first reason counts. */
void rfs_iscsi_fail(struct rfs_iscsi_session *s, enum rfs_device_state verdict, enum rfs_rv rv,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The probe is complete and what it found is acceptable: s->probe.info becomes the device's. */
void rfs_iscsi_online(struct rfs_iscsi_session *s);
/* The same where libiscsi found the connection gone: finds out why. */
void rfs_iscsi_lost(struct rfs_iscsi_session *s);
/* uv_now() of the device's loop. */
uint64_t rfs_iscsi_now(const struct rfs_iscsi *dev);

/* --- iscsi_login.c --- */

/* Copies strings and fills in defaults; frees them, wiping secrets. */
void rfs_iscsi_config_copy(struct rfs_iscsi *dev, const struct rfs_device_config *config);
void rfs_iscsi_config_free(struct rfs_iscsi *dev);
/* A context with everything set, not connected; NULL: no memory. */
struct iscsi_context *rfs_iscsi_make_context(const struct rfs_iscsi *dev);
/* For iscsi_connect_async(), with the session: logs in, then probes. */
/* The TCP connection could not be made: an errno, 0 where nobody says. */
void rfs_iscsi_cannot_connect(struct rfs_iscsi_session *s, int code);
int rfs_iscsi_socket_error(struct rfs_iscsi_session *s);
/* What libiscsi says went wrong, in words for users. */
const char *rfs_iscsi_reason(struct iscsi_context *ctx);
void rfs_iscsi_on_connect(struct iscsi_context *ctx, int status, void *data, void *session);

/* --- iscsi_io.c --- */

void rfs_iscsi_submit(struct rfs_device *base, struct rfs_io *io);
void rfs_iscsi_backoff_over(void *dev); /* timer: issues what waits */
void rfs_iscsi_tick(void *dev);         /* timer, while Online: command timeouts, keep-alive */
/* After the session was torn down: all requests end, overdue ones as TIMEOUT, others as LOST. */
void rfs_iscsi_abandon(struct rfs_iscsi *dev, const char *why);

void rfs_iscsi_task_free(struct scsi_task *task);
/* The capacity is said to have changed: read it again, tell the owner, or end the session if it shrank. */
void rfs_iscsi_reread_capacity(struct rfs_iscsi_session *s);

/* --- iscsi_sense.c --- */

struct rfs_iscsi_sense {
    unsigned key, asc, ascq;
    bool deferred;
    bool has_info;
    uint64_t info; /* for medium errors: the block */
    char text[160];
};
void rfs_iscsi_sense(const struct scsi_task *task, struct rfs_iscsi_sense *sense);
/* Text for any status of a command. */
const char *rfs_iscsi_status_text(int status, const struct scsi_task *task, char *buf, size_t size);

enum rfs_iscsi_verdict {
    RFS_ISCSI_DONE,      /* nothing went wrong after all */
    RFS_ISCSI_ATTENTION, /* issue again at once */
    RFS_ISCSI_WAIT,      /* issue again after a pause */
    RFS_ISCSI_ABORTED,   /* the same, a few times */
    RFS_ISCSI_RESET,     /* the LUN was reset: what was not flushed may be gone */
    RFS_ISCSI_CAPACITY,  /* read it again, and issue again */
    RFS_ISCSI_ANOTHER,   /* it may be another LUN now: connect anew, which checks */
    RFS_ISCSI_FAIL,      /* with `status` */
};
/* `status` is what RFS_ISCSI_FAIL means to the request's owner. */
enum rfs_iscsi_verdict rfs_iscsi_judge(const struct rfs_iscsi_sense *sense, enum rfs_io_status *status);

/* --- iscsi_probe.c --- */

void rfs_iscsi_probe(struct rfs_iscsi_session *s);

#endif
