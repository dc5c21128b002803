/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the model (control thread) and the engine (workers): opens and closes volumes, makes and drives
 * pairs, brings their events back. Every call here is made on the control thread and returns at once; every
 * callback comes on the control thread. What crosses over travels in messages, in order; nothing is shared
 * but the atomics.
 */
#ifndef RFS_MODEL_LINK_H
#define RFS_MODEL_LINK_H

#include "engine/signature.h"
#include "model/model.h"

struct rfs_volume_maker { /* tests: devices that are not made from a url */
    struct rfs_device *(*open)(struct rfs_volume_maker *maker, const char *element, struct rfs_loop *loop,
                               const struct rfs_device_events *events, void *events_arg,
                               struct rfs_error *err);
};

/* --- elements --- */

/* Opens el's volume on `home` with the url and credentials of `config` (el itself, or an edited copy); from
 * then on rfs_element_on_state() is called until the close. el->volume is set before the first state comes.
 * Not open: required. */
void rfs_link_open(struct rfs_service *svc, struct rfs_element *el, const struct rfs_element *config,
                   struct rfs_worker *home);
bool rfs_link_is_open(const struct rfs_element *el);
/* Closes; closed(arg) may be NULL. No state comes after the call. el->volume is NULL at once. Not open:
 * closed() comes from inside. */
void rfs_link_close(struct rfs_service *svc, struct rfs_element *el, void (*closed)(void *arg), void *arg);

/* The worker of the link only: the opened volume. */
struct rfs_volume *rfs_link_volume(const struct rfs_element_link *link);

/* What is on the element (engine/signature.h): found > 0 with `what`, 0 nothing, < 0 with err. */
void rfs_link_signature(struct rfs_service *svc, struct rfs_element *el,
                        void (*done)(void *arg, int found, const char *what, const struct rfs_error *err),
                        void *arg);

/* Called by link_volume.c; implemented in element.c. info is valid when state is Online. */
void rfs_element_on_state(struct rfs_service *svc, struct rfs_element *el, enum rfs_device_state state,
                          const struct rfs_device_info *info, const struct rfs_error *why);

/* --- relationships --- */

/* The map's file, of rel->map_generation. Blocking. */
int rfs_link_map_create(struct rfs_service *svc, const struct rfs_relationship *rel, bool all_set,
                        struct rfs_error *err);
void rfs_link_map_remove(struct rfs_service *svc, const struct rfs_relationship *rel, uint64_t generation);

/* Loads the map and makes the pair; both volumes are open on one worker. If the map is missing or damaged a
 * new one, all set, is made and *lost_map says so. */
int rfs_link_attach(struct rfs_service *svc, struct rfs_relationship *rel, bool *lost_map,
                    struct rfs_error *err);
bool rfs_link_attached(const struct rfs_relationship *rel);
/* The map's file could not be written or synced: nothing more is made durable in it; a new one is needed. As of the last
 * stop or failure. */
bool rfs_link_map_failed(const struct rfs_relationship *rel);

void rfs_link_run(struct rfs_relationship *rel);
bool rfs_link_running(const struct rfs_relationship *rel); /* run and neither ended nor stopped */
void rfs_link_configure(struct rfs_relationship *rel);     /* rel->settings to the pair */
/* No pair event comes between the call and its answer; `complete`: the map is empty. */
void rfs_link_stop(struct rfs_relationship *rel, void (*stopped)(void *arg, bool complete), void *arg);
/* Stops, saves the map, frees pair and map. Not attached: done() comes from inside. */
void rfs_link_detach(struct rfs_relationship *rel, void (*done)(void *arg), void *arg);

/* Called by link_pair.c; implemented in relationship.c. */
void rfs_relationship_on_copied(struct rfs_service *svc, struct rfs_relationship *rel);
void rfs_relationship_on_lost(struct rfs_service *svc, struct rfs_relationship *rel, enum rfs_side side,
                              const struct rfs_error *why);
void rfs_relationship_on_resumed(struct rfs_service *svc, struct rfs_relationship *rel);
void rfs_relationship_on_failed(struct rfs_service *svc, struct rfs_relationship *rel, enum rfs_side side,
                                const struct rfs_error *why);
void rfs_relationship_on_mismatch(struct rfs_service *svc, struct rfs_relationship *rel, uint64_t offset,
                                  uint64_t length);

#endif
