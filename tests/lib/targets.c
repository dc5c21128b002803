/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/targets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_MS    15000 /* to be listening; generous for sanitizers and loaded machines */
#define ADMIN_MS    10000
#define MAX_ARGS    32
#define MAX_TARGETS 8
#define MAX_ADMINS  64

struct rfs_test_target {
    bool istgt;
    pid_t pid;
    unsigned port, control;
    char dir[64];
    char names[MAX_TARGETS][64]; /* by tid */
    char *admins[MAX_ADMINS];    /* tgtadm calls so far, for a restart */
    unsigned nadmins;
    char url[256];
};

static void die(const char *what)
{
    fprintf(stderr, "targets: %s: %s\n", what, strerror(errno));
    abort();
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Daemons stand in sbin, which is not on everybody's path. */
static const char *find_program(const char *program, char *path, size_t size)
{
    static const char *const dirs[] = {"/usr/sbin",      "/usr/bin", "/usr/local/sbin",
                                       "/usr/local/bin", "/sbin",    "/bin"};

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        snprintf(path, size, "%s/%s", dirs[i], program);
        if (access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

bool rfs_test_have(const char *program)
{
    char path[256];

    return find_program(program, path, sizeof(path)) != NULL;
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

unsigned rfs_test_free_port(void)
{
    struct sockaddr_in sa = loopback(0);
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ||
        getsockname(fd, (struct sockaddr *)&sa, &len))
        die("no free port");
    close(fd);
    return ntohs(sa.sin_port);
}

static bool is_listening(unsigned port)
{
    struct sockaddr_in sa = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

    close(fd);
    return yes;
}

/* --- processes --- */

static void become(const struct rfs_test_target *t, const char *log, char *const argv[])
{
    char path[256], socket_path[128];
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(socket_path, sizeof(socket_path), "%s/ctl", t->dir);
    setenv("TGT_IPC_SOCKET", socket_path, 1);
    if (fd >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
    }
    if (find_program(argv[0], path, sizeof(path)))
        execv(path, argv);
    _exit(127);
}

static pid_t spawn(const struct rfs_test_target *t, char *const argv[])
{
    char log[128];
    pid_t pid;

    snprintf(log, sizeof(log), "%s/log", t->dir);
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        become(t, log, argv);
    return pid;
}

/* Exit status, -1 if it did not end in time (it is killed then). */
static int wait_for(pid_t pid, uint64_t ms)
{
    uint64_t end = now_ms() + ms;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() >= end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        pause_ms(5);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void await_listening(struct rfs_test_target *t)
{
    uint64_t end = now_ms() + READY_MS;

    while (!is_listening(t->port)) {
        if (now_ms() >= end || waitpid(t->pid, NULL, WNOHANG) == t->pid)
            die(t->istgt ? "istgt does not start" : "tgtd does not start");
        pause_ms(20);
    }
}

/* --- both kinds --- */

static struct rfs_test_target *make(bool istgt)
{
    struct rfs_test_target *t = calloc(1, sizeof(*t));

    if (!t)
        die("no memory");
    t->istgt = istgt;
    t->port = rfs_test_free_port();
    t->control = 1;
    snprintf(t->dir, sizeof(t->dir), "%s/rfs-target-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(t->dir))
        die(t->dir);
    return t;
}

unsigned rfs_test_target_port(const struct rfs_test_target *t)
{
    return t->port;
}

const char *rfs_test_target_dir(const struct rfs_test_target *t)
{
    return t->dir;
}

const char *rfs_test_target_url(struct rfs_test_target *t, unsigned port, unsigned tid, unsigned lun)
{
    snprintf(t->url, sizeof(t->url), "iscsi://127.0.0.1:%u/iqn.2024-01.test.rfs:%s/%u", port, t->names[tid],
             lun);
    return t->url;
}

void rfs_test_target_file(const struct rfs_test_target *t, unsigned tid, unsigned lun, char *path,
                          unsigned size)
{
    snprintf(path, size, "%s/%u-%u.img", t->dir, tid, lun);
}

static void make_file(const struct rfs_test_target *t, unsigned tid, unsigned lun, uint64_t size)
{
    char path[128];
    int fd;

    rfs_test_target_file(t, tid, lun, path, sizeof(path));
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        die(path);
    close(fd);
}

void rfs_test_target_kill(struct rfs_test_target *t)
{
    if (t->pid <= 0)
        return;
    kill(t->pid, SIGKILL);
    waitpid(t->pid, NULL, 0);
    t->pid = 0;
}

void rfs_test_target_pause(struct rfs_test_target *t)
{
    kill(t->pid, SIGSTOP);
}

void rfs_test_target_resume(struct rfs_test_target *t)
{
    kill(t->pid, SIGCONT);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void rfs_test_target_free(struct rfs_test_target *t)
{
    if (!t)
        return;
    rfs_test_target_kill(t);
    nftw(t->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    for (unsigned i = 0; i < t->nadmins; i++)
        free(t->admins[i]);
    free(t);
}

/* --- tgtd --- */

static int run_admin(struct rfs_test_target *t, const char *command)
{
    char copy[1024], control[16], *save = NULL;
    char name[] = "tgtadm", option[] = "-C";
    char *argv[MAX_ARGS] = {name, option, control};
    int n = 3;

    snprintf(control, sizeof(control), "%u", t->control);
    snprintf(copy, sizeof(copy), "%s", command);
    for (char *word = strtok_r(copy, " ", &save); word && n < MAX_ARGS - 1; word = strtok_r(NULL, " ", &save))
        argv[n++] = word;
    return wait_for(spawn(t, argv), ADMIN_MS);
}

int rfs_test_tgtd_admin_once(struct rfs_test_target *t, const char *fmt, ...)
{
    char command[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    return run_admin(t, command);
}

int rfs_test_tgtd_admin(struct rfs_test_target *t, const char *fmt, ...)
{
    char command[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if (t->nadmins < MAX_ADMINS)
        t->admins[t->nadmins++] = strdup(command);
    return run_admin(t, command);
}

static void launch_tgtd(struct rfs_test_target *t)
{
    char control[16], portal[64];
    char name[] = "tgtd", foreground[] = "-f", option[] = "-C", iscsi[] = "--iscsi";
    char *argv[] = {name, foreground, option, control, iscsi, portal, NULL};
    uint64_t end = now_ms() + READY_MS;

    snprintf(control, sizeof(control), "%u", t->control);
    snprintf(portal, sizeof(portal), "portal=127.0.0.1:%u", t->port);
    t->pid = spawn(t, argv);
    await_listening(t);
    while (run_admin(t, "--op show --mode system") != 0) {
        if (now_ms() >= end)
            die("tgtd does not answer tgtadm");
        pause_ms(20);
    }
    for (unsigned i = 0; i < t->nadmins; i++)
        run_admin(t, t->admins[i]);
}

struct rfs_test_target *rfs_test_tgtd_start(void)
{
    struct rfs_test_target *t = make(false);

    launch_tgtd(t);
    return t;
}

static void must(int status, const char *what)
{
    errno = 0;
    if (status)
        die(what);
}

void rfs_test_tgtd_add_target(struct rfs_test_target *t, unsigned tid, const char *name)
{
    snprintf(t->names[tid], sizeof(t->names[tid]), "%s", name);
    must(rfs_test_tgtd_admin(t, "--lld iscsi --op new --mode target --tid %u -T iqn.2024-01.test.rfs:%s", tid,
                             name),
         "tgtadm new target");
    must(rfs_test_tgtd_admin(t, "--lld iscsi --op bind --mode target --tid %u -I ALL", tid), "tgtadm bind");
}

void rfs_test_tgtd_add_lun(struct rfs_test_target *t, unsigned tid, unsigned lun, uint64_t size, bool thin)
{
    char path[128];

    make_file(t, tid, lun, size);
    rfs_test_target_file(t, tid, lun, path, sizeof(path));
    must(rfs_test_tgtd_admin(t, "--lld iscsi --op new --mode logicalunit --tid %u --lun %u -b %s", tid, lun,
                             path),
         "tgtadm new logicalunit");
    if (thin)
        must(rfs_test_tgtd_admin(t,
                                 "--lld iscsi --op update --mode logicalunit --tid %u --lun %u --params "
                                 "thin_provisioning=1",
                                 tid, lun),
             "tgtadm thin_provisioning");
}

void rfs_test_tgtd_chap(struct rfs_test_target *t, unsigned tid, const char *user, const char *password,
                        bool outgoing)
{
    must(
        rfs_test_tgtd_admin(t, "--lld iscsi --op new --mode account --user %s --password %s", user, password),
        "tgtadm new account");
    must(rfs_test_tgtd_admin(t, "--lld iscsi --op bind --mode account --tid %u --user %s%s", tid, user,
                             outgoing ? " --outgoing" : ""),
         "tgtadm bind account");
}

unsigned rfs_test_tgtd_add_portal(struct rfs_test_target *t)
{
    unsigned port = rfs_test_free_port();

    must(rfs_test_tgtd_admin(t, "--lld iscsi --op new --mode portal --param portal=127.0.0.1:%u", port),
         "tgtadm new portal");
    return port;
}

/* --- istgt --- */

static const char istgt_conf[] = "[Global]\n"
                                 "  NodeBase \"iqn.2024-01.test.rfs\"\n"
                                 "  PidFile %1$s/pid\n"
                                 "  AuthFile %1$s/auth.conf\n"
                                 "  MediaDirectory %1$s\n"
                                 "  LogFacility \"local7\"\n"
                                 "  Timeout 30\n"
                                 "  NopInInterval 20\n"
                                 "  DiscoveryAuthMethod Auto\n"
                                 "  MaxSessions 16\n"
                                 "  MaxConnections 4\n"
                                 "  MaxR2T 32\n"
                                 "  MaxOutstandingR2T 16\n"
                                 "  DefaultTime2Wait 2\n"
                                 "  DefaultTime2Retain 60\n"
                                 "  FirstBurstLength 262144\n"
                                 "  MaxBurstLength 1048576\n"
                                 "  MaxRecvDataSegmentLength 262144\n"
                                 "  InitialR2T Yes\n"
                                 "  ImmediateData Yes\n"
                                 "  DataPDUInOrder Yes\n"
                                 "  DataSequenceInOrder Yes\n"
                                 "  ErrorRecoveryLevel 0\n"
                                 "[UnitControl]\n"
                                 "  AuthMethod Auto\n"
                                 "  AuthGroup AuthGroup10000\n"
                                 "  Portal UC1 127.0.0.1:%2$u\n"
                                 "  Netmask 127.0.0.1\n"
                                 "[PortalGroup1]\n"
                                 "  Portal DA1 127.0.0.1:%3$u\n"
                                 "[InitiatorGroup1]\n"
                                 "  InitiatorName \"ALL\"\n"
                                 "  Netmask 127.0.0.1/8\n"
                                 "[LogicalUnit1]\n"
                                 "  TargetName disk1\n"
                                 "  Mapping PortalGroup1 InitiatorGroup1\n"
                                 "  AuthMethod None\n"
                                 "  UnitType Disk\n"
                                 "  LUN0 Storage %1$s/1-0.img Auto\n";

static FILE *create_private(const struct rfs_test_target *t, const char *name)
{
    char path[128];
    FILE *f;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", t->dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* istgt insists on the mode */
    f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f)
        die(path);
    return f;
}

static void launch_istgt(struct rfs_test_target *t)
{
    char conf[128];
    char name[] = "istgt", foreground[] = "-D", option[] = "-c";
    char *argv[] = {name, foreground, option, conf, NULL};

    snprintf(conf, sizeof(conf), "%s/istgt.conf", t->dir);
    t->pid = spawn(t, argv);
    await_listening(t);
}

struct rfs_test_target *rfs_test_istgt_start(uint64_t size)
{
    struct rfs_test_target *t = make(true);
    FILE *f = create_private(t, "istgt.conf");

    snprintf(t->names[1], sizeof(t->names[1]), "disk1");
    fprintf(f, istgt_conf, t->dir, rfs_test_free_port(), t->port);
    fclose(f);
    fclose(create_private(t, "auth.conf"));
    make_file(t, 1, 0, size);
    launch_istgt(t);
    return t;
}

void rfs_test_target_start(struct rfs_test_target *t)
{
    if (t->istgt)
        launch_istgt(t);
    else
        launch_tgtd(t);
}
