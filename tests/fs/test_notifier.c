/* SPDX-License-Identifier: Apache-2.0
 * The notifier's beginning and end while others are at it; under ThreadSanitizer this looks for races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "notifier.h"

#define ROUNDS 200

struct world {
    struct rfs_log *log;
    struct rfs_fs *fs;
    _Atomic bool done;
};

static int setup(void **state)
{
    struct world *w = rfs_xcalloc(1, sizeof(*w));

    w->log = rfs_log_new(false, RFS_LOG_ERROR);
    w->fs = rfs_fs_new(w->log, 0, 0, 022);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    rfs_fs_free(w->fs);
    rfs_log_free(w->log);
    free(w);
    return 0;
}

static void *tell(void *arg)
{
    struct world *w = arg;

    while (!atomic_load(&w->done)) {
        rfs_notifier_changed(w->fs->notifier, RFS_KIND_SERVICE, 1, "x", true);
    }
    return NULL;
}

static void *start(void *arg)
{
    struct world *w = arg;

    assert_int_equal(rfs_notifier_start(w->fs->notifier, NULL), 0);
    return NULL;
}

/* stop() may come while start() is not through yet, or twice. */
static void test_start_stop(void **state)
{
    struct world *w = *state;
    pthread_t teller, starter;

    assert_int_equal(pthread_create(&teller, NULL, tell, w), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        assert_int_equal(pthread_create(&starter, NULL, start, w), 0);
        rfs_notifier_stop(w->fs->notifier);
        pthread_join(starter, NULL);
        rfs_notifier_stop(w->fs->notifier);
        rfs_notifier_stop(w->fs->notifier);
    }
    atomic_store(&w->done, true);
    pthread_join(teller, NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start_stop, setup, teardown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
