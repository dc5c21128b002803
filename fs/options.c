/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct rfs_options *o;
    struct rfs_text *message;
    bool allow_other, allow_root, fsname, subtype;
};

static int complain(struct parser *ps, const char *what, const char *value, const char *hint)
{
    rfs_text_printf(ps->message, "%s%s%s%s%s", what, value ? " '" : "", value ? value : "",
                    value ? "': " : ": ", hint);
    return -1;
}

static int parse_number(const char *text, int base, unsigned long max, unsigned long *number)
{
    char *end;

    errno = 0;
    *number = strtoul(text, &end, base);
    return !*text || *end || errno || *number > max || strspn(text, "0123456789") != strlen(text) ? -1 : 0;
}

/* --- -o: mount options, by what is done with them --- */

static int set_state_dir(struct parser *ps, const char *value)
{
    if (!*value)
        return complain(ps, "--state-dir", NULL, "give a folder");
    free(ps->o->state_dir);
    ps->o->state_dir = rfs_xstrdup(value);
    return 0;
}

static int set_workers(struct parser *ps, const char *value)
{
    unsigned long n;

    if (parse_number(value, 10, RFS_WORKERS_MAX, &n) || !n)
        return complain(ps, "workers", value, "give a number from 1 to 64");
    ps->o->workers = (unsigned)n;
    return 0;
}

static int set_uid(struct parser *ps, const char *value)
{
    const struct passwd *pw;
    unsigned long n;

    if (!parse_number(value, 10, UINT32_MAX - 1, &n)) {
        ps->o->uid = (uid_t)n;
        return 0;
    }
    pw = getpwnam(value);
    if (!pw)
        return complain(ps, "uid", value, "no such user; give a name or a number");
    ps->o->uid = pw->pw_uid;
    return 0;
}

static int set_gid(struct parser *ps, const char *value)
{
    const struct group *gr;
    unsigned long n;

    if (!parse_number(value, 10, UINT32_MAX - 1, &n)) {
        ps->o->gid = (gid_t)n;
        return 0;
    }
    gr = getgrnam(value);
    if (!gr)
        return complain(ps, "gid", value, "no such group; give a name or a number");
    ps->o->gid = gr->gr_gid;
    return 0;
}

static int set_umask(struct parser *ps, const char *value)
{
    unsigned long n;

    if (parse_number(value, 8, 0777, &n))
        return complain(ps, "umask", value, "give an octal number up to 0777");
    ps->o->umask = (mode_t)n;
    return 0;
}

enum treatment { OURS, PASS, SWALLOW };

/* `name` ends in '=' where a value belongs to it, in '*' where anything may follow. */
static const struct mount_option {
    const char *name;
    enum treatment treatment;
    int (*set)(struct parser *ps, const char *value);
} mount_options[] = {
    {"state_dir=", OURS, set_state_dir},
    {"workers=", OURS, set_workers},
    {"uid=", OURS, set_uid},
    {"gid=", OURS, set_gid},
    {"umask=", OURS, set_umask},
    {"allow_other", PASS, NULL},
    {"allow_root", PASS, NULL},
    {"default_permissions", SWALLOW, NULL}, /* always on */
    {"fsname=", PASS, NULL},
    {"subtype=", PASS, NULL},
    {"max_read=", PASS, NULL},
    {"auto_unmount", PASS, NULL},
    {"context=", PASS, NULL},
    {"fscontext=", PASS, NULL},
    {"defcontext=", PASS, NULL},
    {"rootcontext=", PASS, NULL},
    {"debug", PASS, NULL},
    {"ro", PASS, NULL},
    {"rw", PASS, NULL},
    {"suid", PASS, NULL},
    {"nosuid", PASS, NULL},
    {"dev", PASS, NULL},
    {"nodev", PASS, NULL},
    {"exec", PASS, NULL},
    {"noexec", PASS, NULL},
    {"async", PASS, NULL},
    {"sync", PASS, NULL},
    {"dirsync", PASS, NULL},
    {"atime", PASS, NULL},
    {"noatime", PASS, NULL},
    {"nodiratime", SWALLOW, NULL},
    {"diratime", SWALLOW, NULL},
    {"relatime", SWALLOW, NULL},
    {"norelatime", SWALLOW, NULL},
    {"strictatime", SWALLOW, NULL},
    {"lazytime", SWALLOW, NULL},
    {"auto", SWALLOW, NULL},
    {"noauto", SWALLOW, NULL},
    {"user", SWALLOW, NULL},
    {"user=", SWALLOW, NULL},
    {"nouser", SWALLOW, NULL},
    {"users", SWALLOW, NULL},
    {"owner", SWALLOW, NULL},
    {"group", SWALLOW, NULL},
    {"nofail", SWALLOW, NULL},
    {"_netdev", SWALLOW, NULL},
    {"defaults", SWALLOW, NULL},
    {"silent", SWALLOW, NULL},
    {"loud", SWALLOW, NULL},
    {"comment=", SWALLOW, NULL},
    {"helper=", SWALLOW, NULL},
    {"uhelper=", SWALLOW, NULL},
    {"x-*", SWALLOW, NULL},
    {"X-*", SWALLOW, NULL},
};

static bool matches(const struct mount_option *m, const char *option)
{
    size_t len = strlen(m->name);

    switch (m->name[len - 1]) {
    case '=':
        return !strncmp(m->name, option, len);
    case '*':
        return !strncmp(m->name, option, len - 1);
    default:
        return !strcmp(m->name, option);
    }
}

static void pass(struct parser *ps, const char *option)
{
    struct rfs_text *out = &ps->o->mount_options;

    ps->allow_other |= !strcmp(option, "allow_other");
    ps->allow_root |= !strcmp(option, "allow_root");
    ps->fsname |= !strncmp(option, "fsname=", 7);
    ps->subtype |= !strncmp(option, "subtype=", 8);
    rfs_text_printf(out, "%s%s", out->len ? "," : "", option);
}

static int take_mount_option(struct parser *ps, const char *option)
{
    for (size_t i = 0; i < sizeof(mount_options) / sizeof(mount_options[0]); i++) {
        const struct mount_option *m = &mount_options[i];

        if (!matches(m, option))
            continue;
        if (m->treatment == OURS)
            return m->set(ps, option + strlen(m->name));
        if (m->treatment == PASS)
            pass(ps, option);
        return 0;
    }
    return complain(ps, "mount option", option, "not known; replicafs --help lists them");
}

/* A comma inside an option's value is written "\,"; it is passed on as it is. */
static int take_mount_options(struct parser *ps, const char *list)
{
    char *copy = rfs_xstrdup(list), *p = copy, *end;
    int rc = 0;

    while (p && !rc) {
        for (end = p; *end && *end != ','; end++)
            if (*end == '\\' && end[1])
                end++;
        end = *end ? end : NULL;
        if (end)
            *end++ = '\0';
        if (*p)
            rc = take_mount_option(ps, p);
        p = end;
    }
    free(copy);
    return rc;
}

/* --- the rest --- */

enum { OPT_STATE_DIR = 256, OPT_WORKERS, OPT_PRINT_TREE };

static const struct option long_options[] = {
    {"state-dir", required_argument, NULL, OPT_STATE_DIR},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"print-tree", no_argument, NULL, OPT_PRINT_TREE},
    {"foreground", no_argument, NULL, 'f'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int take_option(struct parser *ps, int c, const char *shown)
{
    switch (c) {
    case 'f':
        ps->o->foreground = true;
        return 0;
    case 'v':
        ps->o->verbose++;
        return 0;
    case 'o':
        return take_mount_options(ps, optarg);
    case 'h':
        ps->o->action = RFS_ACTION_HELP;
        return 0;
    case 'V':
        ps->o->action = RFS_ACTION_VERSION;
        return 0;
    case OPT_PRINT_TREE:
        ps->o->action = RFS_ACTION_PRINT_TREE;
        return 0;
    case OPT_STATE_DIR:
        return set_state_dir(ps, optarg);
    case OPT_WORKERS:
        return set_workers(ps, optarg);
    case ':':
        return complain(ps, "option", shown, "its value is missing");
    default:
        return complain(ps, "option", shown, "not known; replicafs --help lists them");
    }
}

/* fstab's first field, and the place where configuration files will be named. */
static int take_config(struct parser *ps, const char *config)
{
    static const char *const words[] = {"none", "replicafs", "-"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strcmp(config, words[i]))
            return 0;
    return complain(ps, "configuration file", config,
                    "configuration documents come with a later version; leave it out, or write none");
}

static int take_operands(struct parser *ps, int argc, char **argv)
{
    if (argc < 1)
        return complain(ps, "usage", NULL,
                        "replicafs [OPTIONS] [CONFIG] MOUNTPOINT; the mount point is missing");
    if (argc > 2)
        return complain(ps, "argument", argv[2], "too many; replicafs [OPTIONS] [CONFIG] MOUNTPOINT");
    if (argc == 2 && take_config(ps, argv[0]))
        return -1;
    if (!*argv[argc - 1])
        return complain(ps, "usage", NULL, "the mount point is empty");
    ps->o->mountpoint = rfs_xstrdup(argv[argc - 1]);
    return 0;
}

static void add_defaults(struct parser *ps, bool root)
{
    if (root && !ps->allow_root && !ps->allow_other)
        pass(ps, "allow_other");
    if (!ps->fsname)
        pass(ps, "fsname=replicafs");
    if (!ps->subtype)
        pass(ps, "subtype=replicafs");
    pass(ps, "default_permissions");
}

int rfs_options_parse(struct rfs_options *o, int argc, char **argv, bool root, uid_t uid, gid_t gid,
                      struct rfs_text *message)
{
    struct parser ps = {.o = o, .message = message};
    int c;

    *o = (struct rfs_options){.state_dir = rfs_xstrdup(RFS_STATE_DIR_DEFAULT), .uid = uid, .gid = gid};
    optind = 0; /* glibc: from the beginning, also the second time */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":fvo:hV", long_options, NULL)) != -1)
        if (take_option(&ps, c, optind > 0 ? argv[optind - 1] : ""))
            return -1;
    if (o->action != RFS_ACTION_RUN)
        return 0;
    if (take_operands(&ps, argc - optind, argv + optind))
        return -1;
    add_defaults(&ps, root);
    return 0;
}

void rfs_options_free(struct rfs_options *o)
{
    free(o->mountpoint);
    free(o->state_dir);
    rfs_text_free(&o->mount_options);
}

void rfs_options_usage(struct rfs_text *out)
{
    rfs_text_puts(
        out,
        "usage: replicafs [OPTIONS] [CONFIG] MOUNTPOINT\n"
        "Mounts the tree in which block volumes are replicated; unmount with umount or fusermount3 -u.\n"
        "CONFIG: none, - or replicafs, as in fstab; configuration documents come with a later version.\n\n"
        "  --state-dir=DIR     what survives: catalogue and maps (" RFS_STATE_DIR_DEFAULT ")\n"
        "  --workers=N         threads that do block I/O (one a core, at most 4)\n"
        "  -f, --foreground    stay, and log to stderr; otherwise return when the mount answers\n"
        "  -v, --verbose       log more; twice for debugging\n"
        "  -o OPTION[,OPTION]  uid=, gid=, umask=   owner and modes of the files\n"
        "                      allow_other          other users too (default for root), allow_root\n"
        "                      ro, noatime, nodev, nosuid, noexec, fsname=, max_read= …   as for any mount\n"
        "                      state_dir=, workers= as above, for fstab\n"
        "  --print-tree        the tree as markdown\n"
        "  --help, --version\n\n"
        "fstab: none /mnt/replica fuse.replicafs state_dir=/var/lib/replicafs,_netdev 0 0\n"
        "Exit status: 0 well ended, 1 failed, 2 wrong usage.\n");
}
