/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue in SQLite. A transaction is collected in memory and written in one go at commit: so a number
 * can be reserved durably while one is open, and a failed one leaves nothing behind. The database is held
 * with SQLite's exclusive locking mode: no shared-memory file, whose pages a full disk would turn into
 * SIGBUS.
 */
#include "catalogue/catalogue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#define APPLICATION_ID  0x52465343 /* "RFSC" in the database's header, where file(1) looks */
#define RESERVE_NUMBERS 16         /* one sync for so many numbers; at most so many are lost by a crash */
#define BUSY_TIMEOUT_MS 2000
#define KINDS           (RFS_CAT_PEER + 1)

struct change {
    struct change *next;
    enum rfs_catalogue_kind kind;
    uint64_t number;
    char *json; /* NULL: delete */
};

struct rfs_catalogue {
    sqlite3 *db;
    int lock_fd;
    char *folder;
    char uuid[37];
    struct {
        uint64_t last;     /* given out */
        uint64_t reserved; /* up to here durably */
    } counters[KINDS];
    bool open; /* a transaction */
    struct change *changes, **tail;
    struct rfs_error failed; /* of the open transaction */
    struct rfs_error broken; /* a sync failed: nothing is believed to be durable any more */
};

/* Step n takes a database from schema n to n+1. Steps are never changed once released. */
static const char *const migrations[] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE record(kind INTEGER NOT NULL, number INTEGER NOT NULL, json TEXT NOT NULL,"
    " PRIMARY KEY(kind, number)) WITHOUT ROWID;"
    "CREATE TABLE counter(kind INTEGER PRIMARY KEY, reserved INTEGER NOT NULL);",
};
#define SCHEMA_VERSION ((int)(sizeof(migrations) / sizeof(migrations[0])))

static const struct {
    int code;
    enum rfs_rv rv;
    int err;
    const char *text;
} sqlite_errors[] = {
    {SQLITE_FULL, RFS_RV_NO_RESOURCES, ENOSPC, "no space left; free some, nothing was changed"},
    {SQLITE_NOMEM, RFS_RV_NO_RESOURCES, ENOMEM, "out of memory"},
    {SQLITE_TOOBIG, RFS_RV_NO_RESOURCES, EFBIG, "a record is too large"},
    {SQLITE_READONLY, RFS_RV_ACCESS_DENIED, EROFS, "is read-only; it has to be writable"},
    {SQLITE_PERM, RFS_RV_ACCESS_DENIED, EACCES, "permission denied"},
    {SQLITE_BUSY, RFS_RV_BUSY, EBUSY, "another program is using catalogue.db"},
    {SQLITE_CORRUPT, RFS_RV_FAILED, EIO, "catalogue.db is damaged; bring it back from a backup"},
    {SQLITE_NOTADB, RFS_RV_FAILED, EIO,
     "catalogue.db is not a catalogue; another state folder, or a backup, is needed"},
};

static bool sync_failed(int extended)
{
    return extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC;
}

/* SQLite's verdict on what was asked (`doing`) as our error. */
static int fail_sqlite(struct rfs_catalogue *cat, struct rfs_error *err, const char *doing)
{
    int code = sqlite3_errcode(cat->db) & 0xff;
    int extended = sqlite3_extended_errcode(cat->db);
    int errno_ = sqlite3_system_errno(cat->db);
    struct rfs_error why = RFS_ERROR_INIT;

    for (size_t i = 0; i < sizeof(sqlite_errors) / sizeof(sqlite_errors[0]); i++)
        if (sqlite_errors[i].code == code)
            rfs_fail_errno(&why, sqlite_errors[i].rv, sqlite_errors[i].err, "state folder %s: %s: %s",
                           cat->folder, doing, sqlite_errors[i].text);
    if (!why.rv && errno_)
        rfs_fail_sys(&why, errno_, "state folder %s: %s", cat->folder, doing);
    if (!why.rv)
        rfs_fail(&why, RFS_RV_FAILED, "state folder %s: %s: %s", cat->folder, doing, sqlite3_errmsg(cat->db));
    if (sync_failed(extended))
        cat->broken = why;
    if (err)
        *err = why;
    return -1;
}

static int run_sql(struct rfs_catalogue *cat, const char *sql, const char *doing, struct rfs_error *err)
{
    return sqlite3_exec(cat->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail_sqlite(cat, err, doing);
}

static void roll_back(struct rfs_catalogue *cat)
{
    if (!sqlite3_get_autocommit(cat->db)) /* SQLite has done it by itself after some errors */
        sqlite3_exec(cat->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Runs one statement with up to two numbers and a text bound; gives the first column of its row, if any, in
 * *value. SQLITE_ROW, SQLITE_DONE or an error. */
static int run_bound(struct rfs_catalogue *cat, const char *sql, uint64_t a, uint64_t b, const char *text,
                     int64_t *value)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(cat->db, sql, -1, &st, NULL);

    if (rc != SQLITE_OK)
        return rc;
    if (sqlite3_bind_parameter_count(st) >= 1)
        sqlite3_bind_int64(st, 1, (sqlite3_int64)a);
    if (sqlite3_bind_parameter_count(st) >= 2)
        sqlite3_bind_int64(st, 2, (sqlite3_int64)b);
    if (sqlite3_bind_parameter_count(st) >= 3)
        sqlite3_bind_text(st, 3, text, -1, SQLITE_STATIC);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && value)
        *value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st); /* an error of step stays to be asked for by sqlite3_errcode() */
    return rc;
}

/* --- the folder --- */

static int make_folder(const char *path, struct rfs_error *err)
{
    struct stat st;

    if (mkdir(path, 0700) && errno != EEXIST)
        return rfs_fail_sys(err, errno, "state folder %s cannot be made", path);
    if (stat(path, &st))
        return rfs_fail_sys(err, errno, "state folder %s", path);
    if (!S_ISDIR(st.st_mode))
        return rfs_fail_sys(err, ENOTDIR, "state folder %s", path);
    if ((st.st_mode & 07777) != 0700 && chmod(path, 0700))
        return rfs_fail_sys(err, errno, "state folder %s: its mode cannot be made 0700", path);
    return 0;
}

static char *path_in(const char *folder, const char *name)
{
    struct rfs_text path = RFS_TEXT_INIT;

    rfs_text_printf(&path, "%s/%s", folder, name);
    return path.data;
}

static int make_folders(const char *folder, struct rfs_error *err)
{
    static const char *const names[] = {"maps", "digests", "journal", "pool"};
    int rc = make_folder(folder, err);

    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = path_in(folder, names[i]);

        rc = make_folder(path, err);
        free(path);
    }
    return rc;
}

static int fail_held(int fd, const char *folder, struct rfs_error *err)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return rfs_fail(
        err, RFS_RV_IN_USE,
        "state folder %s is in use by the daemon with pid %s; stop it, or use another state folder", folder,
        *pid ? pid : "(unknown)");
}

/* An OFD lock: it goes with the last copy of the descriptor, so it survives a daemon's fork and ends with
 * SIGKILL. */
static int take_lock(struct rfs_catalogue *cat, struct rfs_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *path = path_in(cat->folder, "lock");
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

    cat->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    free(path);
    if (cat->lock_fd < 0)
        return rfs_fail_sys(err, errno, "state folder %s: its lock file cannot be opened", cat->folder);
    if (fcntl(cat->lock_fd, F_OFD_SETLK, &lock)) {
        if (errno == EAGAIN || errno == EACCES)
            return fail_held(cat->lock_fd, cat->folder, err);
        return rfs_fail_sys(err, errno, "state folder %s cannot be locked", cat->folder);
    }
    /* The pid is for people only: a full disk must not keep the daemon from starting. */
    return ftruncate(cat->lock_fd, 0) || pwrite(cat->lock_fd, pid, (size_t)len, 0) != len ? 0 : 0;
}

static int sync_folder(const char *path, struct rfs_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? rfs_fail_sys(err, errno, "state folder: %s cannot be synced", path) : 0;

    if (fd >= 0)
        close(fd);
    return rc;
}

/* SQLite would make the file with the umask's mode; its WAL takes the mode from the database. */
static int make_file(struct rfs_catalogue *cat, const char *path, struct rfs_error *err)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = 0;

    if (fd < 0)
        return rfs_fail_sys(err, errno, "state folder %s: catalogue.db cannot be opened", cat->folder);
    if (fstat(fd, &st) || ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600)))
        rc = rfs_fail_sys(err, errno, "state folder %s: the mode of catalogue.db cannot be made 0600",
                          cat->folder);
    close(fd);
    if (rc == 0 && st.st_size == 0) {
        char *parent = path_in(cat->folder, "..");

        rc = sync_folder(cat->folder, err);
        if (rc == 0 && access(parent, R_OK) == 0)
            rc = sync_folder(parent, err);
        free(parent);
    }
    return rc;
}

/* --- the database --- */

static int open_database(struct rfs_catalogue *cat, struct rfs_error *err)
{
    char *path = path_in(cat->folder, "catalogue.db");
    int rc = make_file(cat, path, err);

    if (rc == 0 &&
        sqlite3_open_v2(path, &cat->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        rc = cat->db ? fail_sqlite(cat, err, "opening catalogue.db")
                     : rfs_fail(err, RFS_RV_NO_RESOURCES, "state folder %s: out of memory", cat->folder);
    free(path);
    if (rc)
        return rc;
    sqlite3_extended_result_codes(cat->db, 1);
    sqlite3_busy_timeout(cat->db, BUSY_TIMEOUT_MS);
    return run_sql(cat,
                   "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                   "PRAGMA trusted_schema=OFF;",
                   "opening catalogue.db", err);
}

static int read_pragma(struct rfs_catalogue *cat, const char *sql, int64_t *value, struct rfs_error *err)
{
    if (run_bound(cat, sql, 0, 0, NULL, value) == SQLITE_ROW)
        return 0;
    return fail_sqlite(cat, err, "reading catalogue.db");
}

static int check_version(struct rfs_catalogue *cat, int64_t *version, struct rfs_error *err)
{
    int64_t application = 0, schema = 0;

    if (read_pragma(cat, "PRAGMA application_id", &application, err) ||
        read_pragma(cat, "PRAGMA schema_version", &schema, err) ||
        read_pragma(cat, "PRAGMA user_version", version, err))
        return -1;
    if (schema != 0 && application != APPLICATION_ID)
        return rfs_fail(err, RFS_RV_FAILED,
                        "state folder %s: catalogue.db belongs to another program; use another state folder",
                        cat->folder);
    if (*version > SCHEMA_VERSION)
        return rfs_fail(
            err, RFS_RV_NOT_SUPPORTED,
            "state folder %s was written by a newer version (its schema is %lld, this program knows %d); "
            "use that version, or another state folder",
            cat->folder, (long long)*version, SCHEMA_VERSION);
    return 0;
}

static int migrate(struct rfs_catalogue *cat, int64_t version, struct rfs_error *err)
{
    char sql[128];

    if (version == SCHEMA_VERSION)
        return 0;
    snprintf(sql, sizeof(sql), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;", APPLICATION_ID,
             SCHEMA_VERSION);
    if (run_sql(cat, "BEGIN IMMEDIATE", "migrating catalogue.db", err))
        return -1;
    for (int64_t i = version; i < SCHEMA_VERSION; i++)
        if (run_sql(cat, migrations[i], "migrating catalogue.db", err))
            return -1;
    return run_sql(cat, sql, "migrating catalogue.db", err);
}

static int make_uuid(char *uuid, struct rfs_error *err)
{
    unsigned char b[16];

    if (getrandom(b, sizeof(b), 0) != sizeof(b))
        return rfs_fail_sys(err, errno, "random bytes for the state folder's uuid");
    b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122: version 4, variant 1 */
    b[8] = (b[8] & 0x3f) | 0x80;
    for (unsigned i = 0; i < sizeof(b); i++)
        uuid += sprintf(uuid, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
    return 0;
}

static int read_uuid(struct rfs_catalogue *cat, struct rfs_error *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(cat->db, "SELECT value FROM meta WHERE key='uuid'", -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        snprintf(cat->uuid, sizeof(cat->uuid), "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : fail_sqlite(cat, err, "reading the uuid");
}

static int load_uuid(struct rfs_catalogue *cat, struct rfs_error *err)
{
    if (read_uuid(cat, err))
        return -1;
    if (cat->uuid[0])
        return 0;
    if (make_uuid(cat->uuid, err))
        return -1;
    if (run_bound(cat, "INSERT INTO meta VALUES('uuid', substr(?3, ?1, ?2))", 1, 36, cat->uuid, NULL) !=
        SQLITE_DONE)
        return fail_sqlite(cat, err, "keeping the uuid");
    return 0;
}

static int load_counters(struct rfs_catalogue *cat, struct rfs_error *err)
{
    for (unsigned kind = 1; kind < KINDS; kind++) {
        int64_t value = 0;
        int rc = run_bound(cat, "SELECT reserved FROM counter WHERE kind=?1", kind, 0, NULL, &value);

        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return fail_sqlite(cat, err, "reading the counters");
        cat->counters[kind].last = cat->counters[kind].reserved = (uint64_t)value;
    }
    return 0;
}

static int load(struct rfs_catalogue *cat, struct rfs_error *err)
{
    int64_t version = 0;

    if (make_folders(cat->folder, err) || take_lock(cat, err) || open_database(cat, err) ||
        check_version(cat, &version, err))
        return -1;
    if (migrate(cat, version, err)) {
        roll_back(cat);
        return -1;
    }
    return load_uuid(cat, err) || load_counters(cat, err) ? -1 : 0;
}

static void free_changes(struct rfs_catalogue *cat)
{
    while (cat->changes) {
        struct change *c = cat->changes;

        cat->changes = c->next;
        free(c->json);
        free(c);
    }
    cat->tail = &cat->changes;
}

static void free_catalogue(struct rfs_catalogue *cat)
{
    free_changes(cat);
    sqlite3_close(cat->db);
    if (cat->lock_fd >= 0)
        close(cat->lock_fd);
    free(cat->folder);
    free(cat);
}

struct rfs_catalogue *rfs_catalogue_open(const char *folder, struct rfs_error *err)
{
    struct rfs_catalogue *cat = rfs_xcalloc(1, sizeof(*cat));

    cat->folder = rfs_xstrdup(folder);
    cat->lock_fd = -1;
    cat->tail = &cat->changes;
    if (load(cat, err) == 0)
        return cat;
    free_catalogue(cat);
    return NULL;
}

static int keep_counter(struct rfs_catalogue *cat, unsigned kind, uint64_t value)
{
    static const char sql[] = "INSERT INTO counter VALUES(?1, ?2)"
                              " ON CONFLICT DO UPDATE SET reserved=max(reserved, ?2)";

    return run_bound(cat, sql, kind, value, NULL, NULL);
}

void rfs_catalogue_close(struct rfs_catalogue *cat)
{
    if (!cat)
        return;
    /* What was reserved and not given out goes back, so that an ordinary restart leaves no gap in the
     * numbers. */
    for (unsigned kind = 1; kind < KINDS && !cat->broken.rv; kind++)
        if (cat->counters[kind].last < cat->counters[kind].reserved)
            run_bound(cat, "UPDATE counter SET reserved=?2 WHERE kind=?1", kind, cat->counters[kind].last,
                      NULL, NULL);
    free_catalogue(cat);
}

const char *rfs_catalogue_uuid(const struct rfs_catalogue *cat)
{
    return cat->uuid;
}

static bool is_kind(enum rfs_catalogue_kind kind)
{
    return (unsigned)kind >= 1 && (unsigned)kind < KINDS;
}

int rfs_catalogue_each(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind,
                       int (*fn)(void *arg, uint64_t number, const char *json, struct rfs_error *err),
                       void *arg, struct rfs_error *err)
{
    sqlite3_stmt *st = NULL;
    int rc, stop = 0;

    rc = sqlite3_prepare_v2(cat->db, "SELECT number, json FROM record WHERE kind=?1 ORDER BY number", -1, &st,
                            NULL);
    if (rc != SQLITE_OK)
        return fail_sqlite(cat, err, "reading records");
    sqlite3_bind_int64(st, 1, kind);
    while (!stop && (rc = sqlite3_step(st)) == SQLITE_ROW)
        stop = fn(arg, (uint64_t)sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1), err);
    if (!stop && rc != SQLITE_DONE)
        stop = fail_sqlite(cat, err, "reading records");
    sqlite3_finalize(st);
    return stop;
}

static int check_broken(struct rfs_catalogue *cat, struct rfs_error *err)
{
    if (!cat->broken.rv)
        return 0;
    if (err)
        *err = cat->broken;
    return -1;
}

int rfs_catalogue_number(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t *number,
                         struct rfs_error *err)
{
    if (!is_kind(kind))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "the catalogue has no kind %d", (int)kind);
    if (check_broken(cat, err))
        return -1;
    if (cat->counters[kind].last >= cat->counters[kind].reserved) {
        uint64_t upto = cat->counters[kind].last + RESERVE_NUMBERS;

        if (keep_counter(cat, kind, upto) != SQLITE_DONE)
            return fail_sqlite(cat, err, "reserving numbers");
        cat->counters[kind].reserved = upto;
    }
    *number = ++cat->counters[kind].last;
    return 0;
}

/* --- transactions --- */

static void spoil(struct rfs_catalogue *cat, const char *why)
{
    if (!cat->failed.rv)
        rfs_fail(&cat->failed, RFS_RV_UNSPECIFIED, "state folder %s: %s", cat->folder, why);
}

void rfs_catalogue_begin(struct rfs_catalogue *cat)
{
    if (cat->open)
        spoil(cat, "a transaction was begun inside another");
    cat->open = true;
}

static void add_change(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t number,
                       const char *json)
{
    struct change *c;

    if (!cat->open)
        spoil(cat, "a record was changed outside a transaction");
    if (!is_kind(kind) || number == 0 || number > INT64_MAX)
        spoil(cat, "a record of an impossible kind or number was changed");
    if (cat->failed.rv)
        return;
    c = rfs_xcalloc(1, sizeof(*c));
    *c = (struct change){.kind = kind, .number = number, .json = rfs_xstrdup(json)};
    *cat->tail = c;
    cat->tail = &c->next;
}

void rfs_catalogue_put(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t number,
                       const char *json)
{
    if (!json)
        spoil(cat, "a record without content was put");
    add_change(cat, kind, number, json);
}

void rfs_catalogue_delete(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t number)
{
    add_change(cat, kind, number, NULL);
}

static int write_change(struct rfs_catalogue *cat, const struct change *c)
{
    static const char put[] = "INSERT OR REPLACE INTO record VALUES(?1, ?2, ?3)";
    static const char del[] = "DELETE FROM record WHERE kind=?1 AND number=?2";
    int rc = run_bound(cat, c->json ? put : del, c->kind, c->number, c->json, NULL);

    /* A number its owner chose itself must not be given out later. */
    if (rc == SQLITE_DONE && c->json && c->number > cat->counters[c->kind].reserved)
        rc = keep_counter(cat, c->kind, c->number);
    return rc;
}

static int write_changes(struct rfs_catalogue *cat, struct rfs_error *err)
{
    if (run_sql(cat, "BEGIN IMMEDIATE", "changing records", err))
        return -1;
    for (const struct change *c = cat->changes; c; c = c->next)
        if (write_change(cat, c) != SQLITE_DONE)
            return fail_sqlite(cat, err, "changing records");
    return run_sql(cat, "COMMIT", "changing records", err);
}

/* Only after a commit: a number from a transaction that failed was never used. */
static void raise_counters(struct rfs_catalogue *cat)
{
    for (const struct change *c = cat->changes; c; c = c->next) {
        if (c->json && c->number > cat->counters[c->kind].last)
            cat->counters[c->kind].last = c->number;
        if (c->json && c->number > cat->counters[c->kind].reserved)
            cat->counters[c->kind].reserved = c->number;
    }
}

static int commit(struct rfs_catalogue *cat, struct rfs_error *err)
{
    if (!cat->open)
        spoil(cat, "a commit without a transaction");
    if (cat->failed.rv) {
        if (err)
            *err = cat->failed;
        return -1;
    }
    if (check_broken(cat, err))
        return -1;
    if (!cat->changes)
        return 0;
    if (write_changes(cat, err)) {
        roll_back(cat);
        return -1;
    }
    raise_counters(cat);
    return 0;
}

int rfs_catalogue_commit(struct rfs_catalogue *cat, struct rfs_error *err)
{
    int rc = commit(cat, err);

    free_changes(cat);
    cat->open = false;
    cat->failed = (struct rfs_error)RFS_ERROR_INIT;
    return rc;
}
