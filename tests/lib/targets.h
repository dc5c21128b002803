/* SPDX-License-Identifier: Apache-2.0
 *
 * Real iSCSI targets for tests: a tgtd or an istgt of their own, on a free loopback port, with everything
 * they need in a temporary folder on /dev/shm. The daemons die with the test. What cannot be set up ends the
 * program with a line on stderr. One thread.
 */
#ifndef RFS_TESTS_TARGETS_H
#define RFS_TESTS_TARGETS_H

#include <stdbool.h>
#include <stdint.h>

struct rfs_test_target;

/* Whether the program is there at all: "tgtd" or "istgt". */
bool rfs_test_have(const char *program);

/* A port on 127.0.0.1 that nobody listens on at the moment. */
unsigned rfs_test_free_port(void);

/* --- both kinds --- */

unsigned rfs_test_target_port(const struct rfs_test_target *t);
const char *rfs_test_target_dir(const struct rfs_test_target *t);
/* iscsi://127.0.0.1:PORT/IQN/LUN of a LUN; in a buffer of t's, until the next call. */
const char *rfs_test_target_url(struct rfs_test_target *t, unsigned port, unsigned tid, unsigned lun);
/* The file behind a LUN. */
void rfs_test_target_file(const struct rfs_test_target *t, unsigned tid, unsigned lun, char *path,
                          unsigned size);

void rfs_test_target_kill(struct rfs_test_target *t); /* SIGKILL, and waits for its end */
void rfs_test_target_start(
    struct rfs_test_target *t); /* again after a kill: same port, same targets and LUNs */
void rfs_test_target_pause(struct rfs_test_target *t); /* SIGSTOP */
void rfs_test_target_resume(struct rfs_test_target *t);
void rfs_test_target_free(struct rfs_test_target *t); /* kills it, removes its folder */

/* --- tgtd --- */

struct rfs_test_target *rfs_test_tgtd_start(void);
/* Runs `tgtadm` with these arguments, separated by blanks; again after each restart. Returns its exit status.
 */
int rfs_test_tgtd_admin(struct rfs_test_target *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same once only, for what a restart must not repeat. */
int rfs_test_tgtd_admin_once(struct rfs_test_target *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Target `tid` with the name iqn.2024-01.test.rfs:NAME, open to every initiator. */
void rfs_test_tgtd_add_target(struct rfs_test_target *t, unsigned tid, const char *name);
void rfs_test_tgtd_add_lun(struct rfs_test_target *t, unsigned tid, unsigned lun, uint64_t size, bool thin);
/* One-way CHAP; `outgoing`: the target proves itself with it. */
void rfs_test_tgtd_chap(struct rfs_test_target *t, unsigned tid, const char *user, const char *password,
                        bool outgoing);
unsigned rfs_test_tgtd_add_portal(struct rfs_test_target *t); /* returns its port */

/* --- istgt --- */

/* One target, tid 1, with one disk, LUN 0. */
struct rfs_test_target *rfs_test_istgt_start(uint64_t size);

#endif
