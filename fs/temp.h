/* SPDX-License-Identifier: Apache-2.0
 *
 * Private temporary files, which every directory takes so that files can be put in place by a rename (design section 3,
 * rule 7). They live in memory, are few and small, and go 60 s after their last use when nobody has them open.
 * Any thread; own lock, taken after the service lock where both are held; nothing is called under it but emit().
 * Functions that return int give 0 or a positive errno.
 */
#ifndef RFS_FS_TEMP_H
#define RFS_FS_TEMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"

#define RFS_TEMP_MAX_SIZE  65536u
#define RFS_TEMP_MAX_COUNT 256u
#define RFS_TEMP_KEEP_MS   60000u
#define RFS_TEMP_NAME_MAX  255u

struct rfs_temps;

struct rfs_temp_info {
    uint64_t id;
    mode_t mode; /* permission bits */
    uid_t uid;
    gid_t gid;
    size_t size;
    uint64_t atime_ms, mtime_ms, ctime_ms; /* wall clock */
    bool linked;
};

struct rfs_temps *rfs_temps_new(void);
void rfs_temps_free(struct rfs_temps *temps);

/* `parent` is the directory's inode number. ENAMETOOLONG, EEXIST, ENOSPC (too many). Mode 0600. */
int rfs_temps_create(struct rfs_temps *temps, uint64_t parent, const char *name, uid_t uid, gid_t gid,
                     struct rfs_temp_info *info);
bool rfs_temps_find(struct rfs_temps *temps, uint64_t parent, const char *name, struct rfs_temp_info *info);
bool rfs_temps_stat(struct rfs_temps *temps, uint64_t id, struct rfs_temp_info *info);
void rfs_temps_list(struct rfs_temps *temps, uint64_t parent,
                    void (*emit)(void *arg, const char *name, uint64_t id), void *arg);

/* An open file stays readable and writable after it was unlinked or put in place. */
int rfs_temps_open(struct rfs_temps *temps, uint64_t id);
void rfs_temps_close(struct rfs_temps *temps, uint64_t id);

int rfs_temps_read(struct rfs_temps *temps, uint64_t id, uint64_t offset, size_t len, struct rfs_text *out);
int rfs_temps_write(struct rfs_temps *temps, uint64_t id, uint64_t offset, const char *data, size_t len,
                    bool append);
int rfs_temps_truncate(struct rfs_temps *temps, uint64_t id, uint64_t size);

/* NULL members stay as they are. */
struct rfs_temp_change {
    const mode_t *mode;
    const uid_t *uid;
    const gid_t *gid;
    const uint64_t *atime_ms, *mtime_ms;
};
int rfs_temps_change(struct rfs_temps *temps, uint64_t id, const struct rfs_temp_change *change);

int rfs_temps_unlink(struct rfs_temps *temps, uint64_t parent, const char *name);
void rfs_temps_drop(struct rfs_temps *temps, uint64_t id);
/* Onto another temporary file it replaces it, unless `noreplace` (EEXIST). */
int rfs_temps_rename(struct rfs_temps *temps, uint64_t parent, const char *name, uint64_t newparent,
                     const char *newname, bool noreplace);

/* Drops what has not been used for RFS_TEMP_KEEP_MS at `mono_ms`; returns how many. */
unsigned rfs_temps_expire(struct rfs_temps *temps, uint64_t mono_ms);

#endif
