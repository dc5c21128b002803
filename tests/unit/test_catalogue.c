/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catalogue/catalogue.h"

struct fixture {
    char base[64];   /* temporary folder */
    char folder[96]; /* the state folder inside it, not made yet */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->base, "/tmp/test_catalogue.XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->folder, sizeof(f->folder), "%s/state", f->base);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    umount2(f->folder, MNT_DETACH); /* where a failed test has left it */
    nftw(f->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static struct rfs_catalogue *open_good(const char *folder)
{
    struct rfs_error err = RFS_ERROR_INIT;
    struct rfs_catalogue *cat = rfs_catalogue_open(folder, &err);

    if (!cat)
        fail_msg("%s", err.msg);
    return cat;
}

static void put_one(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, uint64_t number,
                    const char *json)
{
    struct rfs_error err = RFS_ERROR_INIT;

    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, kind, number, json);
    if (rfs_catalogue_commit(cat, &err))
        fail_msg("%s", err.msg);
}

/* All records of a kind as "number=json;" one after another. */
static int append_record(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    char *all = arg;
    size_t len = strlen(all);

    snprintf(all + len, 4096 - len, "%llu=%s;", (unsigned long long)number, json);
    return 0;
}

static const char *list(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind, char all[4096])
{
    struct rfs_error err = RFS_ERROR_INIT;

    all[0] = '\0';
    if (rfs_catalogue_each(cat, kind, append_record, all, &err))
        fail_msg("%s", err.msg);
    return all;
}

static unsigned mode_of(const char *folder, const char *name)
{
    char path[256];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_folder(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat;
    char uuid[37];
    mode_t old = umask(0);

    assert_int_equal(mkdir(f->folder, 0777), 0);
    cat = open_good(f->folder);
    umask(old);
    assert_int_equal(mode_of(f->folder, "."), 0700);
    assert_int_equal(mode_of(f->folder, "maps"), 0700);
    assert_int_equal(mode_of(f->folder, "digests"), 0700);
    assert_int_equal(mode_of(f->folder, "journal"), 0700);
    assert_int_equal(mode_of(f->folder, "pool"), 0700);
    assert_int_equal(mode_of(f->folder, "catalogue.db"), 0600);
    assert_int_equal(mode_of(f->folder, "lock"), 0600);
    snprintf(uuid, sizeof(uuid), "%s", rfs_catalogue_uuid(cat));
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
    assert_int_equal(uuid[14], '4');
    put_one(cat, RFS_CAT_ELEMENT, 1, "{}");
    assert_int_equal(mode_of(f->folder, "catalogue.db-wal"), 0600);
    rfs_catalogue_close(cat);
    cat = open_good(f->folder);
    assert_string_equal(rfs_catalogue_uuid(cat), uuid);
    rfs_catalogue_close(cat);
}

static void test_records(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    char all[4096];

    put_one(cat, RFS_CAT_SERVICE, 1, "{\"name\":\"s\"}");
    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 10, "ten");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 2, "two");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 3, "three");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 2, "zwei");
    rfs_catalogue_delete(cat, RFS_CAT_ELEMENT, 3);
    rfs_catalogue_delete(cat, RFS_CAT_ELEMENT, 77);
    assert_int_equal(rfs_catalogue_commit(cat, &err), 0);
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "2=zwei;10=ten;");
    assert_string_equal(list(cat, RFS_CAT_JOB, all), "");
    rfs_catalogue_begin(cat);
    assert_int_equal(rfs_catalogue_commit(cat, &err), 0);
    rfs_catalogue_close(cat);
    cat = open_good(f->folder);
    assert_string_equal(list(cat, RFS_CAT_SERVICE, all), "1={\"name\":\"s\"};");
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "2=zwei;10=ten;");
    rfs_catalogue_close(cat);
}

static int stop_at_two(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    ++*(int *)arg;
    return number == 2 ? rfs_fail(err, RFS_RV_FAILED, "record %s", json) : 0;
}

static void test_each_stops(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    int calls = 0;

    for (uint64_t i = 1; i <= 4; i++)
        put_one(cat, RFS_CAT_JOB, i, "x");
    assert_int_equal(rfs_catalogue_each(cat, RFS_CAT_JOB, stop_at_two, &calls, &err), -1);
    assert_int_equal(calls, 2);
    assert_string_equal(err.msg, "record x");
    rfs_catalogue_close(cat);
}

/* Misuse and impossible records make the commit fail, and nothing of the transaction happen. */
static void test_failed_puts(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    char all[4096];

    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 1, "one");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, UINT64_MAX, "too large");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 2, "two");
    assert_int_equal(rfs_catalogue_commit(cat, &err), -1);
    assert_true(err.rv != RFS_RV_OK && err.msg[0]);
    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, (enum rfs_catalogue_kind)99, 1, "no such kind");
    assert_int_equal(rfs_catalogue_commit(cat, NULL), -1);
    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 1, NULL);
    assert_int_equal(rfs_catalogue_commit(cat, &err), -1);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 1, "outside");
    assert_int_equal(rfs_catalogue_commit(cat, &err), -1);
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "");
    put_one(cat, RFS_CAT_ELEMENT, 1, "good again");
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "1=good again;");
    rfs_catalogue_close(cat);
}

static uint64_t number_of(struct rfs_catalogue *cat, enum rfs_catalogue_kind kind)
{
    struct rfs_error err = RFS_ERROR_INIT;
    uint64_t number = 0;

    if (rfs_catalogue_number(cat, kind, &number, &err))
        fail_msg("%s", err.msg);
    return number;
}

static void test_numbers(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    uint64_t number;

    for (uint64_t i = 1; i <= 40; i++)
        assert_int_equal(number_of(cat, RFS_CAT_JOB), i);
    assert_int_equal(number_of(cat, RFS_CAT_ELEMENT), 1);
    put_one(cat, RFS_CAT_JOB, 40, "{}");
    rfs_catalogue_begin(cat);
    rfs_catalogue_delete(cat, RFS_CAT_JOB, 40);
    assert_int_equal(rfs_catalogue_commit(cat, &err), 0);
    rfs_catalogue_close(cat);
    cat = open_good(f->folder); /* an ordinary restart leaves no gap */
    assert_int_equal(number_of(cat, RFS_CAT_JOB), 41);
    put_one(cat, RFS_CAT_JOB, 1000, "{}"); /* chosen by the caller */
    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, RFS_CAT_GROUP, 900, "{}");
    rfs_catalogue_put(cat, RFS_CAT_GROUP, 5, "{}");
    assert_int_equal(rfs_catalogue_commit(cat, &err), 0);
    assert_int_equal(number_of(cat, RFS_CAT_JOB), 1001);
    rfs_catalogue_close(cat);
    cat = open_good(f->folder);
    assert_int_equal(number_of(cat, RFS_CAT_JOB), 1002);
    assert_int_equal(number_of(cat, RFS_CAT_GROUP), 901);
    assert_int_equal(rfs_catalogue_number(cat, (enum rfs_catalogue_kind)0, &number, &err), -1);
    rfs_catalogue_close(cat);
}

/* A number got while a transaction is open, which then fails, is not given out again. */
static void test_number_in_transaction(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    uint64_t number;

    rfs_catalogue_begin(cat);
    number = number_of(cat, RFS_CAT_ELEMENT);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, number, "{}");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 0, "{}");
    assert_int_equal(rfs_catalogue_commit(cat, &err), -1);
    assert_true(number_of(cat, RFS_CAT_ELEMENT) > number);
    rfs_catalogue_close(cat);
}

/* --- SIGKILL --- */

/* Each transaction writes generation g into 20 records; says so when its commit has returned; a number each.
 */
static void write_until_killed(const char *folder, int out)
{
    struct rfs_catalogue *cat = rfs_catalogue_open(folder, NULL);
    struct {
        uint64_t generation, number;
    } said;

    for (uint64_t g = 1; cat; g++) {
        char json[4000];

        memset(json, 'x', sizeof(json) - 1);
        json[sizeof(json) - 1] = '\0';
        json[snprintf(json, 32, "%llu ", (unsigned long long)g)] = 'x';
        if (rfs_catalogue_number(cat, RFS_CAT_JOB, &said.number, NULL))
            break;
        rfs_catalogue_begin(cat);
        for (uint64_t i = 1; i <= 20; i++)
            rfs_catalogue_put(cat, RFS_CAT_ELEMENT, i, json);
        if (rfs_catalogue_commit(cat, NULL))
            break;
        said.generation = g;
        if (write(out, &said, sizeof(said)) != sizeof(said))
            break;
    }
    _exit(1);
}

struct generations {
    uint64_t low, high;
    unsigned n;
};

static int note_generation(void *arg, uint64_t number, const char *json, struct rfs_error *err)
{
    struct generations *g = arg;
    uint64_t here = strtoull(json, NULL, 10);

    g->low = g->n == 0 || here < g->low ? here : g->low;
    g->high = here > g->high ? here : g->high;
    g->n++;
    assert_int_equal(strlen(json), 3999);
    return 0;
}

static void check_after_kill(const char *folder, uint64_t said, uint64_t number)
{
    struct rfs_catalogue *cat = open_good(folder);
    struct generations g = {0};

    assert_int_equal(rfs_catalogue_each(cat, RFS_CAT_ELEMENT, note_generation, &g, NULL), 0);
    assert_int_equal(g.n, 20);
    assert_int_equal(g.low, g.high); /* nothing half */
    assert_true(g.high >= said && g.high <= said + 1);
    assert_true(number_of(cat, RFS_CAT_JOB) > number);
    rfs_catalogue_close(cat);
}

static void kill_writer(const char *folder, unsigned commits, unsigned delay_us)
{
    struct {
        uint64_t generation, number;
    } said = {0}, more;
    int fds[2], status;
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        write_until_killed(folder, fds[1]);
    }
    close(fds[1]);
    while (said.generation < commits)
        assert_int_equal(read(fds[0], &said, sizeof(said)), sizeof(said));
    usleep(delay_us); /* to hit another instant of a transaction each time */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(fds[0], &more, sizeof(more)) == sizeof(more))
        said = more;
    close(fds[0]);
    check_after_kill(folder, said.generation, said.number);
}

static void test_killed_writer(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 12; i++)
        kill_writer(f->folder, 3 + i, i * 173);
}

/* --- who may open --- */

static void test_second_opener(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    char pid[32];

    snprintf(pid, sizeof(pid), "pid %ld;", (long)getpid());
    assert_null(rfs_catalogue_open(f->folder, &err));
    assert_int_equal(err.rv, RFS_RV_IN_USE);
    assert_int_equal(err.err, EBUSY);
    assert_non_null(strstr(err.msg, pid));
    assert_non_null(strstr(err.msg, f->folder));
    put_one(cat, RFS_CAT_ELEMENT, 1, "{}"); /* the refused one has not disturbed the first */
    rfs_catalogue_close(cat);
    cat = open_good(f->folder);
    rfs_catalogue_close(cat);
}

static void change_database(const char *folder, const char *sql)
{
    char path[256];
    sqlite3 *db = NULL;

    snprintf(path, sizeof(path), "%s/catalogue.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_newer_version(void **state)
{
    struct fixture *f = *state;
    struct rfs_catalogue *cat = open_good(f->folder);
    struct rfs_error err = RFS_ERROR_INIT;
    char all[4096];

    put_one(cat, RFS_CAT_ELEMENT, 1, "kept");
    rfs_catalogue_close(cat);
    change_database(f->folder, "PRAGMA user_version=4711");
    assert_null(rfs_catalogue_open(f->folder, &err));
    assert_int_equal(err.rv, RFS_RV_NOT_SUPPORTED);
    assert_non_null(strstr(err.msg, "4711"));
    assert_non_null(strstr(err.msg, "knows 1"));
    change_database(f->folder, "PRAGMA user_version=1");
    cat = open_good(f->folder);
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "1=kept;");
    rfs_catalogue_close(cat);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_foreign_files(void **state)
{
    struct fixture *f = *state;
    struct rfs_error err = RFS_ERROR_INIT;

    assert_int_equal(mkdir(f->folder, 0700), 0);
    change_database(f->folder, "CREATE TABLE somebody(else_s)");
    assert_null(rfs_catalogue_open(f->folder, &err));
    assert_non_null(strstr(err.msg, "another program"));
    write_file(f->folder, "catalogue.db",
               "This is no database at all, but text that is longer than a header of "
               "one hundred bytes, which is what SQLite looks at first.");
    assert_null(rfs_catalogue_open(f->folder, &err));
    assert_non_null(strstr(err.msg, "not a catalogue"));
    assert_null(rfs_catalogue_open("/proc/no such folder/state", &err));
    assert_non_null(strstr(err.msg, "/proc/no such folder/state"));
}

/* --- full and read-only file systems --- */

static bool mount_tmpfs(const char *path, const char *options)
{
    assert_int_equal(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", 0, options) == 0)
        return true;
    print_message("[  NOTE  ] no tmpfs can be mounted here (%s)\n", strerror(errno));
    return false;
}

static void fill_up(const char *folder)
{
    static const char block[4096];
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/filler", folder);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof(block)) == sizeof(block))
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void check_full(struct rfs_catalogue *cat, const char *folder)
{
    struct rfs_error err = RFS_ERROR_INIT;
    char big[64 * 1024], all[4096];

    memset(big, 'b', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 1, "changed");
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 2, big);
    assert_int_equal(rfs_catalogue_commit(cat, &err), -1);
    assert_int_equal(err.rv, RFS_RV_NO_RESOURCES);
    assert_int_equal(err.err, ENOSPC);
    assert_non_null(strstr(err.msg, folder));
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "1=old;");
}

static void fill_and_recover(const char *folder)
{
    struct rfs_catalogue *cat = open_good(folder);
    struct rfs_error err = RFS_ERROR_INIT;
    char path[256], all[4096];

    put_one(cat, RFS_CAT_ELEMENT, 1, "old");
    fill_up(folder);
    check_full(cat, folder);
    rfs_catalogue_close(cat);
    cat = open_good(folder); /* a full disk does not keep the daemon from starting */
    check_full(cat, folder);
    snprintf(path, sizeof(path), "%s/filler", folder);
    assert_int_equal(unlink(path), 0);
    rfs_catalogue_begin(cat);
    rfs_catalogue_put(cat, RFS_CAT_ELEMENT, 1, "new");
    assert_int_equal(rfs_catalogue_commit(cat, &err), 0);
    rfs_catalogue_close(cat);
    cat = open_good(folder);
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "1=new;");
    rfs_catalogue_close(cat);
}

static void test_disk_full(void **state)
{
    struct fixture *f = *state;

    if (!mount_tmpfs(f->folder, "size=512k"))
        skip();
    fill_and_recover(f->folder);
}

static void test_disk_full_from_the_start(void **state)
{
    struct fixture *f = *state;
    struct rfs_error err = RFS_ERROR_INIT;

    if (!mount_tmpfs(f->folder, "size=64k"))
        skip();
    fill_up(f->folder);
    assert_null(rfs_catalogue_open(f->folder, &err));
    assert_int_equal(err.rv, RFS_RV_NO_RESOURCES);
    assert_non_null(strstr(err.msg, f->folder));
}

static void test_read_only(void **state)
{
    struct fixture *f = *state;
    struct rfs_error err = RFS_ERROR_INIT;
    struct rfs_catalogue *cat;
    char all[4096];

    if (!mount_tmpfs(f->folder, "size=1m"))
        skip();
    cat = open_good(f->folder);
    put_one(cat, RFS_CAT_ELEMENT, 1, "old");
    rfs_catalogue_close(cat);
    assert_int_equal(mount(NULL, f->folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_null(rfs_catalogue_open(f->folder, &err));
    assert_int_equal(err.rv, RFS_RV_ACCESS_DENIED);
    assert_non_null(strstr(err.msg, f->folder));
    assert_int_equal(mount(NULL, f->folder, NULL, MS_REMOUNT, NULL), 0);
    cat = open_good(f->folder);
    assert_string_equal(list(cat, RFS_CAT_ELEMENT, all), "1=old;");
    rfs_catalogue_close(cat);
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_folder),        ROW(test_records),       ROW(test_each_stops),
        ROW(test_failed_puts),   ROW(test_numbers),       ROW(test_number_in_transaction),
        ROW(test_killed_writer), ROW(test_second_opener), ROW(test_newer_version),
        ROW(test_foreign_files), ROW(test_disk_full),     ROW(test_disk_full_from_the_start),
        ROW(test_read_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
