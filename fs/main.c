/* SPDX-License-Identifier: Apache-2.0
 *
 * From the command line to a served mount and back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/service.h"
#include "mountpoint.h"
#include "options.h"
#include "render.h"
#include "session.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

enum { EXIT_WELL = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct daemon {
    const struct rfs_options *options;
    int ready_fd; /* of the waiting parent; -1: none */
};

static int say(const char *text, FILE *to)
{
    fputs(text, to);
    return fflush(to) ? EXIT_FAILED : EXIT_WELL;
}

static int complain(const struct rfs_error *err)
{
    fprintf(stderr, "replicafs: %s\n", err->msg);
    return EXIT_FAILED;
}

static int print_tree(void)
{
    struct rfs_tree *tree = rfs_tree_new();
    struct rfs_text text = RFS_TEXT_INIT;
    int rc;

    rfs_print_tree(tree, &text);
    rc = say(text.data, stdout);
    rfs_text_free(&text);
    rfs_tree_free(tree);
    return rc;
}

static int print_usage(void)
{
    struct rfs_text text = RFS_TEXT_INIT;
    int rc;

    rfs_options_usage(&text);
    rc = say(text.data, stdout);
    rfs_text_free(&text);
    return rc;
}

static void end_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

static struct rfs_log *open_log(const struct rfs_options *o)
{
    static const enum rfs_log_level levels[] = {RFS_LOG_NOTICE, RFS_LOG_INFO, RFS_LOG_DEBUG};

    return rfs_log_new(!o->foreground, levels[o->verbose < 2 ? o->verbose : 2]);
}

/* The terminal is let go only now: until the mount answers, libraries may have something to say. */
static void on_ready(void *arg)
{
    struct daemon *d = arg;
    sigset_t set;
    int null;

    end_signals(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    if (d->ready_fd < 0)
        return;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    if (write(d->ready_fd, "+", 1) != 1)
        return; /* the parent is gone: nobody to tell */
    close(d->ready_fd);
    d->ready_fd = -1;
}

static int serve(struct daemon *d, struct rfs_fs *fs, const char *mountpoint, struct rfs_error *err)
{
    const struct rfs_options *o = d->options;
    struct rfs_service_options service = {.state_dir = o->state_dir,
                                          .mountpoint = mountpoint,
                                          .workers = o->workers,
                                          .log = fs->log,
                                          .observer = rfs_fs_observer(fs)};
    struct rfs_session *session;
    int rc = -1;

    fs->svc = rfs_service_start(&service, err);
    if (!fs->svc)
        return -1;
    session = rfs_session_new(fs, mountpoint, o->mount_options.data, err);
    if (session)
        rc = rfs_session_serve(session, on_ready, d, err);
    rfs_service_stop(fs->svc);
    rfs_session_free(session);
    return rc;
}

/* Each relationship keeps its map's file open, each element a socket or a file. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* The daemon itself. The signals that end it are for the main thread alone: every thread made from here on inherits the
 * blocked mask. */
static int run(struct daemon *d, const char *mountpoint)
{
    const struct rfs_options *o = d->options;
    struct rfs_error err = RFS_ERROR_INIT;
    struct rfs_log *log = open_log(o);
    struct rfs_fs *fs = rfs_fs_new(log, o->uid, o->gid, o->umask);
    sigset_t set;
    int rc;

    end_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* We are below file systems: writing back their pages must not wait for us to write back pages. */
    prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    raise_file_limit();
    umask(0077);
    rc = serve(d, fs, mountpoint, &err);
    if (rc && (d->ready_fd >= 0 || o->foreground))
        complain(&err);
    else if (rc)
        rfs_log(log, RFS_LOG_ERROR, "%s", err.msg);
    rfs_fs_free(fs);
    rfs_log_free(log);
    return rc ? EXIT_FAILED : EXIT_WELL;
}

/* Back to the caller only when the mount answers. */
static int await_child(int fd, pid_t pid, const char *mountpoint)
{
    struct stat st;
    char c;
    int status;
    ssize_t n;

    do
        n = read(fd, &c, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1 && !stat(mountpoint, &st))
        return EXIT_WELL;
    if (n == 1)
        fprintf(stderr, "replicafs: %s was mounted but does not answer: %s\n", mountpoint, strerror(errno));
    else if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
        fprintf(stderr, "replicafs: the daemon was ended by signal %d while it started\n", WTERMSIG(status));
    return EXIT_FAILED;
}

static int run_in_background(struct daemon *d, const char *mountpoint)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) || (pid = fork()) < 0) {
        fprintf(stderr, "replicafs: the daemon cannot be started: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    if (pid) {
        close(fds[1]);
        return await_child(fds[0], pid, mountpoint);
    }
    close(fds[0]);
    d->ready_fd = fds[1];
    setsid();
    if (chdir("/"))
        return EXIT_FAILED;
    return run(d, mountpoint);
}

static int mount_and_run(struct rfs_options *o)
{
    struct daemon d = {.options = o, .ready_fd = -1};
    struct rfs_error err = RFS_ERROR_INIT;
    char *mountpoint, *state_dir = rfs_absolute_path(o->state_dir);
    int rc;

    free(o->state_dir);
    o->state_dir = state_dir;
    mountpoint = rfs_mountpoint_prepare(o->mountpoint, state_dir, &err);
    if (!mountpoint)
        return complain(&err);
    rc = o->foreground ? run(&d, mountpoint) : run_in_background(&d, mountpoint);
    free(mountpoint);
    return rc;
}

int main(int argc, char **argv)
{
    struct rfs_options o;
    struct rfs_text message = RFS_TEXT_INIT;
    int rc = EXIT_WELL;

    if (rfs_options_parse(&o, argc, argv, geteuid() == 0, geteuid(), getegid(), &message)) {
        fprintf(stderr, "replicafs: %s\n", message.data);
        rc = EXIT_USAGE;
    } else if (o.action == RFS_ACTION_HELP) {
        rc = print_usage();
    } else if (o.action == RFS_ACTION_VERSION) {
        rc = say("replicafs " RFS_VERSION "\n", stdout);
    } else if (o.action == RFS_ACTION_PRINT_TREE) {
        rc = print_tree();
    } else {
        rc = mount_and_run(&o);
    }
    rfs_text_free(&message);
    rfs_options_free(&o);
    return rc;
}
