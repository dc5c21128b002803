/* SPDX-License-Identifier: Apache-2.0
 *
 * The one asynchronous interface to something with blocks: an iSCSI LUN, a file or block device, memory, or a
 * wrapper that makes faults.
 *
 * Threads: a device belongs to one loop (a worker). Every call here is made on that loop's thread and every
 * callback comes on it. done() is never called from inside rfs_device_submit().
 *
 * A device connects by itself when it is opened and reconnects by itself, with random exponential back-off,
 * until it is closed; it says so through events. While it is not Online every request fails at once with
 * RFS_IO_LOST. When a session ends, all that was in flight completes with RFS_IO_LOST *after* the old session
 * was torn down, so that no late completion touches a buffer; the device never issues a request again by
 * itself after a session loss (its caller decides). BUSY, TASK SET FULL and UNIT ATTENTION are retried
 * inside. Source: design section 5, Sessions; SBC-3; SPC-4; RFC 7143.
 *
 * Units: bytes everywhere; offsets and lengths of data requests are multiples of info.block_size.
 */
#ifndef RFS_DEVICE_DEVICE_H
#define RFS_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"

struct rfs_device;

enum rfs_io_op {
    RFS_IO_READ,
    RFS_IO_WRITE,
    RFS_IO_FLUSH,         /* everything completed before this was submitted is on stable storage; no offset */
    RFS_IO_UNMAP,         /* a hint: the blocks need not read as zero afterwards (SBC-3 4.7.3.4) */
    RFS_IO_WRITE_ZEROES,  /* the blocks read as zero afterwards; RFS_IO_UNSUPPORTED where a plain write is
                             needed */
    RFS_IO_EXTENT_STATUS, /* which parts of the range are deallocated: fills `extent` for the run at `offset`
                           */
};

enum rfs_io_status {
    RFS_IO_OK = 0,
    RFS_IO_LOST, /* not connected, or the session ended with the request in flight: its effect is unknown */
    RFS_IO_TIMEOUT,     /* no answer in time; the session was ended (as LOST) */
    RFS_IO_ERROR,       /* the device refused or failed: see io->error (medium, hardware, aborted) */
    RFS_IO_NOSPACE,     /* space allocation failed (07h/27h07, ENOSPC) */
    RFS_IO_PROTECTED,   /* write protected, or reservation conflict */
    RFS_IO_RANGE,       /* beyond the end (the LUN shrank) */
    RFS_IO_UNSUPPORTED, /* the device does not know this operation; only for UNMAP, WRITE_ZEROES,
                           EXTENT_STATUS */
};

/* One request. Belongs to the caller, who keeps it and the memory behind `iov` untouched from submit to
 * done(). */
struct rfs_io {
    enum rfs_io_op op;
    bool fua; /* WRITE, WRITE_ZEROES: on stable storage when done (FUA, or a flush behind it) */
    uint64_t offset, length;
    struct iovec *iov; /* READ and WRITE: `length` bytes in all; not changed by the device */
    int niov;
    void (*done)(struct rfs_io *io);

    enum rfs_io_status status;
    struct rfs_error error; /* set whenever status is not OK: names the operation, range and sense data */
    struct {                /* EXTENT_STATUS */
        uint64_t length;    /* of the run that starts at `offset`, at least one block, at most io->length */
        bool deallocated;   /* unmapped; reads as zero only if info.unmapped_reads_zero */
    } extent;

    struct rfs_io *prev, *next; /* device's while in flight */
    struct rfs_task task;       /* device's */
    void *priv;                 /* device's */
    uint32_t tries;             /* device's */
    uint64_t started_ms;        /* device's */
};

enum rfs_device_state {
    RFS_DEVICE_CONNECTING, /* first attempt under way */
    RFS_DEVICE_ONLINE,
    RFS_DEVICE_OFFLINE, /* lost or unreachable; tried again by itself */
    RFS_DEVICE_REFUSED, /* reachable, but not what is expected (another LUN, shrunk, other block size, login
                           refused, read-only where written…); tried again by itself, seldom */
};

/* What the device turned out to be; valid once it has been Online, kept while it is Offline. */
struct rfs_device_info {
    uint64_t size;       /* bytes */
    uint32_t block_size; /* logical block, bytes */
    uint32_t physical_block_size;
    uint32_t max_transfer;      /* largest READ/WRITE in bytes */
    uint32_t optimal_transfer;  /* preferred READ/WRITE in bytes; 0 = not said */
    uint64_t max_unmap;         /* largest UNMAP in bytes; 0 = cannot */
    uint64_t unmap_granularity; /* bytes; at least block_size */
    uint64_t max_write_zeroes;  /* largest WRITE_ZEROES in bytes; 0 = cannot */
    bool extent_status;         /* GET LBA STATUS or SEEK_HOLE works */
    bool unmapped_reads_zero;   /* LBPRZ, or a file */
    bool volatile_cache;        /* WCE: acknowledged writes may be lost until a flush */
    bool write_protected;       /* the medium says it cannot be written */
    char vendor[9], product[17], revision[5], serial[65];
    char device_id[128];   /* NAA/EUI/T10 designator as text, e.g. naa.6001405…; empty if none */
    char identity[400];    /* canonical: two devices are the same LUN if and only if these are equal (design,
                              Sessions) */
    char provisioning[12]; /* Thin, Thick or Unknown */
};

struct rfs_device_config {
    const char *name; /* of the element, for messages */
    const char *url;  /* iscsi://HOST[:PORT]/IQN/LUN or file:/PATH */
    const char *username, *password, *target_username, *target_password; /* CHAP; NULL = none */
    bool header_digest;
    const char *initiator; /* initiator IQN (holds the state folder's UUID) */
    uint32_t isid;         /* 24 bits, of this element, from the catalogue */
    uint16_t session;      /* session index of this element */
    /* What the catalogue remembers; NULL/0 the first time. Anything else makes the device Refused. A larger
     * size is accepted (grown). */
    const char *expect_identity;
    uint64_t expect_size;
    uint32_t expect_block_size;
    uint32_t connect_timeout_ms; /* 0 = 10 s: connect, login and inquiry of one attempt together */
    uint32_t command_timeout_ms; /* 0 = 30 s */
    uint32_t keepalive_ms;       /* 0 = 5 s; three missed end the session */
    struct rfs_log *log;         /* may be NULL */
};

struct rfs_device_events {
    /* The state changed; `why` is set for OFFLINE and REFUSED, NULL else. While OFFLINE it is called again
     * when a new attempt failed for another reason. Not called from inside open, submit or close. The
     * callback may call rfs_device_close(). For ONLINE, `rfs_device_info` is up to date before the call. */
    void (*state)(void *arg, enum rfs_device_state state, const struct rfs_error *why);
    /* Something in info changed while Online (capacity). May be NULL. */
    void (*changed)(void *arg);
};

/* What a maker implements. `submit` may assume validity was checked by rfs_device_submit(). */
struct rfs_device_ops {
    const char *kind;
    void (*submit)(struct rfs_device *dev, struct rfs_io *io);
    void (*close)(struct rfs_device *dev); /* calls rfs_device_closed() later, when nothing is left */
};

/* The part every maker's own struct starts with. Read-only for callers. */
struct rfs_device {
    const struct rfs_device_ops *ops;
    struct rfs_loop *loop;
    enum rfs_device_state state;
    struct rfs_device_info info;
    const struct rfs_device_events *events;
    void *events_arg;
    bool closing;
    /* How often it has said of writes it had acknowledged that they are gone (deferred error, failed sync): each ends
     * the session, and unlike an outage it may go on for ever with nobody to repair it. */
    uint32_t writes_lost;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Checks the url and starts connecting; the config's strings are copied. NULL with *err (Invalid Parameter,
 * with the form expected) if the url cannot be one: nothing was started then. Dispatches on the url's scheme.
 */
struct rfs_device *rfs_device_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                   const struct rfs_device_events *events, void *arg, struct rfs_error *err);

/* Checks a url without opening anything: any thread. Credentials inside it are refused. */
int rfs_device_check_url(const char *url, struct rfs_error *err);

/* The path in a file: url, however its scheme is written; NULL of any other url. Any thread. */
const char *rfs_device_url_path(const char *url);

/* Issues a request. Range and alignment are checked here (RFS_IO_RANGE / RFS_IO_ERROR, also through done()).
 */
void rfs_device_submit(struct rfs_device *dev, struct rfs_io *io);

/* Cancels by closing: in-flight requests complete with RFS_IO_LOST, then closed(arg) is called and the device
 * is freed; no events after the call. */
void rfs_device_close(struct rfs_device *dev, void (*closed)(void *arg), void *arg);

const char *rfs_device_state_name(enum rfs_device_state state); /* Connecting, Online, Offline, Refused */
const char *rfs_io_op_name(enum rfs_io_op op);

/* --- for makers --- */

struct rfs_device *rfs_iscsi_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                  const struct rfs_device_events *events, void *arg, struct rfs_error *err);
int rfs_iscsi_check_url(const char *url, struct rfs_error *err);
struct rfs_device *rfs_file_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                 const struct rfs_device_events *events, void *arg, struct rfs_error *err);
int rfs_file_check_url(const char *url, struct rfs_error *err);
const char *rfs_file_path(const char *url);

/* Completes a request on a later turn of the loop with `status` and, unless OK, an error text. */
void rfs_io_complete_later(struct rfs_device *dev, struct rfs_io *io, enum rfs_io_status status,
                           const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Sets io's status and error text; does not call done(). */
void rfs_io_fail(struct rfs_io *io, enum rfs_io_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets dev->state and calls the event unless the device is closing. */
void rfs_device_set_state(struct rfs_device *dev, enum rfs_device_state state, const struct rfs_error *why);
/* Last act of a maker's close: calls closed(); the maker frees its struct right after. */
void rfs_device_closed(struct rfs_device *dev);

#endif
