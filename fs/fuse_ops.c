/* SPDX-License-Identifier: Apache-2.0 */
#include "fuse_ops.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "notifier.h"
#include "session.h"

#define MAX_WRITE   (1 << 20) /* so that an oversized request arrives in one piece and can be refused whole */
#define MAX_THREADS 8

struct rfs_session {
    struct rfs_fs *fs;
    struct fuse_session *se;
    char *mountpoint;
    bool mounted, signals;
};

/* O_TRUNC comes as a truncation of its own, whose answer makes room for parallel writes (RFS_ROOMY). */
static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC;
    conn->max_write = MAX_WRITE;
}

/* What is missing here the kernel does itself (access under default_permissions, lseek, locks), or takes ENOSYS as an
 * answer for good (flush, extended attributes, fallocate). */
static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = rfs_op_lookup,
    .getattr = rfs_op_getattr,
    .setattr = rfs_op_setattr,
    .readlink = rfs_op_readlink,
    .mknod = rfs_op_mknod,
    .mkdir = rfs_op_mkdir,
    .unlink = rfs_op_unlink,
    .rmdir = rfs_op_rmdir,
    .symlink = rfs_op_symlink,
    .rename = rfs_op_rename,
    .link = rfs_op_link,
    .open = rfs_op_open,
    .read = rfs_op_read,
    .write = rfs_op_write,
    .release = rfs_op_release,
    .fsync = rfs_op_fsync,
    .opendir = rfs_op_opendir,
    .readdir = rfs_op_readdir,
    .releasedir = rfs_op_releasedir,
    .fsyncdir = rfs_op_fsyncdir,
    .statfs = rfs_op_statfs,
    .create = rfs_op_create,
    .poll = rfs_op_poll,
    .readdirplus = rfs_op_readdirplus,
};

static struct fuse_session *new_session(struct rfs_fs *fs, const char *options)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *se = NULL;

    if (!fuse_opt_add_arg(&args, "replicafs") && !fuse_opt_add_arg(&args, "-o") &&
        !fuse_opt_add_arg(&args, options))
        se = fuse_session_new(&args, &operations, sizeof(operations), fs);
    fuse_opt_free_args(&args);
    return se;
}

struct rfs_session *rfs_session_new(struct rfs_fs *fs, const char *mountpoint, const char *options,
                                    struct rfs_error *err)
{
    struct rfs_session *s = rfs_xcalloc(1, sizeof(*s));

    s->fs = fs;
    s->mountpoint = rfs_xstrdup(mountpoint);
    s->se = new_session(fs, options);
    if (!s->se) {
        rfs_fail(err, RFS_RV_INVALID_PARAMETER, "libfuse does not take the mount options '%s'", options);
        goto fail;
    }
    s->signals = !fuse_set_signal_handlers(s->se);
    s->mounted = s->signals && !fuse_session_mount(s->se, mountpoint);
    if (s->mounted)
        return s;
    rfs_fail(err, RFS_RV_FAILED,
             "%s cannot be mounted; is /dev/fuse accessible, and are the mount options (%s) allowed?",
             mountpoint, options);
fail:
    rfs_session_free(s);
    return NULL;
}

int rfs_session_serve(struct rfs_session *s, void (*ready)(void *arg), void *arg, struct rfs_error *err)
{
    struct fuse_loop_config *config;
    int rc = rfs_notifier_start(s->fs->notifier, s->se);

    if (rc)
        return rfs_fail_sys(err, rc, "the notifier thread cannot be started");
    config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
    fuse_loop_cfg_set_idle_threads(config, MAX_THREADS); /* none is ever ended for being idle */
    ready(arg);
    rc = fuse_session_loop_mt(s->se, config);
    fuse_loop_cfg_destroy(config);
    return rc < 0 ? rfs_fail_sys(err, -rc, "the FUSE session ended") : 0;
}

static bool connected(struct fuse_session *se)
{
    struct pollfd p = {.fd = fuse_session_fd(se)};

    return poll(&p, 1, 0) >= 0 && !(p.revents & POLLERR);
}

void rfs_session_free(struct rfs_session *s)
{
    if (!s)
        return;
    /* Aborts the connection, if it is still ours: the notifier may be held up in the kernel by a request that nobody
     * reads any more. */
    if (s->mounted && connected(s->se))
        umount2(s->mountpoint, MNT_FORCE | MNT_DETACH);
    rfs_notifier_stop(s->fs->notifier);
    if (s->mounted)
        fuse_session_unmount(s->se);
    if (s->signals)
        fuse_remove_signal_handlers(s->se);
    if (s->se)
        fuse_session_destroy(s->se);
    free(s->mountpoint);
    free(s);
}
