/* SPDX-License-Identifier: Apache-2.0 */
#include "mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

#define OUR_TYPE "fuse.replicafs"
#define DEAD_MAX 16 /* dead mounts on top of each other */

static char *join(const char *folder, const char *name)
{
    struct rfs_text text = RFS_TEXT_INIT;

    rfs_text_printf(&text, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", name);
    return text.data;
}

static char *without_trailing_slashes(const char *path)
{
    char *copy = rfs_xstrdup(path);

    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    return copy;
}

char *rfs_absolute_path(const char *path)
{
    char *real = realpath(path, NULL), *copy, *slash, *folder, *result;

    if (real)
        return real;
    copy = without_trailing_slashes(path);
    slash = strrchr(copy, '/');
    if (!*copy || !strcmp(copy, "/") || !strcmp(copy, ".")) {
        free(copy);
        return rfs_xstrdup("/");
    }
    if (slash)
        *slash = '\0';
    folder = rfs_absolute_path(!slash ? "." : slash == copy ? "/" : copy);
    result = join(folder, slash ? slash + 1 : copy);
    free(folder);
    free(copy);
    return result;
}

/* Is the topmost mount at `path` a replicafs? Asks the kernel's list, not the mount, which may be hung. */
static bool is_ours(const char *path)
{
    FILE *f = setmntent("/proc/self/mounts", "r");
    struct mntent entry;
    bool ours = false;
    char *buf;

    if (!f)
        return false;
    buf = rfs_xmalloc(2 * PATH_MAX);
    while (getmntent_r(f, &entry, buf, 2 * PATH_MAX))
        if (!strcmp(entry.mnt_dir, path))
            ours = !strcmp(entry.mnt_type, OUR_TYPE);
    free(buf);
    endmntent(f);
    return ours;
}

static int detach(const char *path)
{
    int status;
    pid_t pid;

    if (!umount2(path, MNT_DETACH) || errno != EPERM)
        return errno && is_ours(path) ? -1 : 0;
    pid = fork();
    if (!pid) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && !status ? 0 : -1;
}

/* statfs() always asks the file system; what stat() says of a dead one may be an older answer. */
static int look(const char *path, struct stat *st)
{
    struct statfs sfs;

    return statfs(path, &sfs) || stat(path, st) ? errno : 0;
}

static int check_folder(const char *path, struct rfs_error *err)
{
    struct stat st;
    int rc;

    for (unsigned i = 0; (rc = look(path, &st)); i++) {
        if ((rc != ENOTCONN && rc != ECONNABORTED) || !is_ours(path))
            return rfs_fail_sys(err, rc, "the mount point %s", path);
        if (i == DEAD_MAX || detach(path))
            return rfs_fail_sys(
                err, errno, "the dead mount that an earlier replicafs left on %s cannot be detached", path);
    }
    if (!S_ISDIR(st.st_mode))
        return rfs_fail_errno(err, RFS_RV_INVALID_PARAMETER, ENOTDIR, "the mount point %s is no folder",
                              path);
    if (is_ours(path))
        return rfs_fail_errno(err, RFS_RV_IN_USE, EBUSY,
                              "another replicafs is mounted on %s; unmount it first: umount %s", path, path);
    return 0;
}

static int check_state_dir(const char *path, const char *state_dir, struct rfs_error *err)
{
    size_t len = strlen(path);

    if (strncmp(state_dir, path, len) || (state_dir[len] && state_dir[len] != '/' && strcmp(path, "/")))
        return 0;
    return rfs_fail(
        err, RFS_RV_INVALID_PARAMETER,
        "the state folder %s lies below the mount point %s, which will hide it; use --state-dir=DIR outside",
        state_dir, path);
}

static int check_device(struct rfs_error *err)
{
    if (!access("/dev/fuse", F_OK)) /* fusermount3 may open it where we may not */
        return 0;
    return rfs_fail_sys(err, errno,
                        "/dev/fuse is not there; load the fuse module (modprobe fuse), in a container "
                        "give it the device");
}

char *rfs_mountpoint_prepare(const char *mountpoint, const char *state_dir, struct rfs_error *err)
{
    char *path = rfs_absolute_path(mountpoint);

    if (!check_folder(path, err) && !check_state_dir(path, state_dir, err) && !check_device(err))
        return path;
    free(path);
    return NULL;
}
