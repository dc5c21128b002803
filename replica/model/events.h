/* SPDX-License-Identifier: Apache-2.0
 *
 * The history of what happened, JSON lines, append-only, kept in memory (bounded: the oldest half goes when 8
 * MiB are reached, as a log file that was rotated in place). Any thread; has its own lock, under which
 * nothing else is taken. Line: {"time":"…","seq":N,"type":"…","object":"relationships/db",…,"message":"…"}
 */
#ifndef RFS_MODEL_EVENTS_H
#define RFS_MODEL_EVENTS_H

#include <stddef.h>
#include <stdint.h>

struct rfs_events;

struct rfs_events *rfs_events_new(void (*added)(void *arg),
                                  void *arg); /* added(): after each line, no lock held */
void rfs_events_free(struct rfs_events *ev);

/* `object` e.g. "elements/a" or NULL; `fields` further members already rendered as JSON (`"job":"jobs/7"`) or
 * NULL. */
void rfs_event(struct rfs_events *ev, const char *type, const char *object, const char *fields,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));

uint64_t rfs_events_size(struct rfs_events *ev); /* bytes retained */
/* Copies up to `len` bytes at `offset` of what is retained; returns how many. */
size_t rfs_events_read(struct rfs_events *ev, uint64_t offset, char *buf, size_t len);

#endif
