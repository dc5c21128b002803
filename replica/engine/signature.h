/* SPDX-License-Identifier: Apache-2.0
 *
 * What is on a volume that is about to be overwritten: file system, partition table, LVM, RAID, LUKS …
 * (libblkid). Design section 3, rule 8.
 *
 * rfs_signature_read() runs on the volume's worker and reads the first 2 MiB and the last 1 MiB; done() comes
 * on the worker. The caller owns `probe` until then. rfs_signature_identify() is any thread's: CPU only.
 */
#ifndef RFS_ENGINE_SIGNATURE_H
#define RFS_ENGINE_SIGNATURE_H

#include "engine/volume.h"

struct rfs_signature; /* the blocks that were read */

void rfs_signature_read(struct rfs_volume *vol,
                        void (*done)(void *arg, struct rfs_signature *sig, const struct rfs_error *err),
                        void *arg); /* sig is the receiver's to free; NULL with err on failure */

/* 1: found, `what` says it ("ext4 file system, label root, uuid …", "gpt partition table"); 0: nothing; -1
 * with *err. */
int rfs_signature_identify(const struct rfs_signature *sig, char *what, size_t size, struct rfs_error *err);
void rfs_signature_free(struct rfs_signature *sig);

#endif
