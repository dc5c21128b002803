/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of file: devices share: a loop, a private folder, devices on files in it.
 */
#ifndef RFS_TESTS_FILE_ENV_H
#define RFS_TESTS_FILE_ENV_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "device/device.h"
#include "../lib/async.h"

#define FILE_INLINE static inline __attribute__((unused))
#define MIB         (1u << 20)

struct fixture {
    struct rfs_loop *loop;
    char dir[64];
    bool mounted;
    char disk[64]; /* a loop device that is to be detached */
};

FILE_INLINE int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));

    fx->loop = async_loop();
    strcpy(fx->dir, "/tmp/rfs-file-XXXXXX");
    *state = fx;
    return mkdtemp(fx->dir) ? 0 : -1;
}

FILE_INLINE int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

FILE_INLINE int run(const char *fmt, ...)
{
    char command[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    return system(command);
}

FILE_INLINE void detach_loop(struct fixture *fx)
{
    if (fx->disk[0])
        run("losetup -d %s", fx->disk);
    fx->disk[0] = '\0';
}

FILE_INLINE int teardown(void **state)
{
    struct fixture *fx = *state;

    rfs_loop_stop(fx->loop);
    detach_loop(fx);
    if (fx->mounted)
        umount2(fx->dir, MNT_DETACH);
    run("rm -rf '%s'", fx->dir);
    free(fx);
    return 0;
}

/* --- files --- */

struct opener {
    char url[256];
    struct rfs_device_config config;
};

FILE_INLINE struct rfs_device *open_url(void *arg, struct rfs_loop *loop,
                                        const struct rfs_device_events *events, void *events_arg,
                                        struct rfs_error *err)
{
    struct opener *o = arg;

    o->config.name = "e";
    o->config.url = o->url;
    return rfs_device_open(loop, &o->config, events, events_arg, err);
}

FILE_INLINE void url_in(struct opener *o, const struct fixture *fx, const char *name)
{
    memset(o, 0, sizeof(*o));
    snprintf(o->url, sizeof(o->url), "file:%s/%s", fx->dir, name);
}

FILE_INLINE void make_file(const struct opener *o, off_t size)
{
    int fd = open(o->url + 5, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

FILE_INLINE void expect_refused(struct fixture *fx, struct opener *o, const char *text, enum rfs_rv rv)
{
    struct async_device d;

    async_open(&d, fx->loop, open_url, o);
    async_wait_state(&d, RFS_DEVICE_REFUSED);
    assert_non_null(strstr(d.why.msg, text));
    assert_non_null(strstr(d.why.msg, o->url + 5));
    assert_int_equal(d.why.rv, rv);
    assert_int_equal(async_flush(&d), RFS_IO_LOST);
    async_close(&d);
}

#endif
