/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/rangelock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct user {
    struct rfs_range range;
    unsigned granted;
    struct rfs_rangelock *rl;
    struct user *release_when_granted; /* what its callback lets go: itself or another */
    struct user *acquire_when_granted;
    bool acquired;
};

static void on_granted(struct rfs_range *range)
{
    struct user *u = (struct user *)range;

    u->granted++;
    if (u->release_when_granted)
        rfs_rangelock_release(u->rl, &u->release_when_granted->range);
    if (u->acquire_when_granted)
        u->acquire_when_granted->acquired = rfs_rangelock_acquire(u->rl, &u->acquire_when_granted->range);
}

static void setup_user(struct user *u, struct rfs_rangelock *rl, uint64_t offset, uint64_t length,
                       bool exclusive)
{
    memset(u, 0, sizeof(*u));
    u->rl = rl;
    u->range.offset = offset;
    u->range.length = length;
    u->range.exclusive = exclusive;
    u->range.granted = on_granted;
}

static bool acquire(struct user *u, struct rfs_rangelock *rl, uint64_t offset, uint64_t length,
                    bool exclusive)
{
    setup_user(u, rl, offset, length, exclusive);
    return rfs_rangelock_acquire(rl, &u->range);
}

static void release(struct user *u)
{
    rfs_rangelock_release(u->rl, &u->range);
}

static void test_pairs(void **state)
{
    static const struct {
        uint64_t a, a_len, b, b_len;
        bool a_ex, b_ex, both;
    } rows[] = {
        {0, 10, 0, 10, false, false, true},
        {0, 10, 0, 10, true, false, false},
        {0, 10, 0, 10, false, true, false},
        {0, 10, 0, 10, true, true, false},
        {0, 10, 10, 10, true, true, true},
        {10, 10, 0, 10, true, true, true},
        {0, 11, 10, 10, true, true, false},
        {10, 10, 0, 11, true, true, false},
        {5, 1, 0, 100, true, true, false},
        {0, 100, 5, 1, true, true, false},
        {0, UINT64_MAX, 1ull << 62, 512, true, false, false},
        {4096, UINT64_MAX, 0, 4096, true, true, true},
        {4096, UINT64_MAX, 0, 4097, true, true, false},
        {100, 0, 0, 200, true, true, true},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rfs_rangelock *rl = rfs_rangelock_new();
        struct user a, b;

        assert_true(acquire(&a, rl, rows[i].a, rows[i].a_len, rows[i].a_ex));
        setup_user(&b, rl, rows[i].b, rows[i].b_len, rows[i].b_ex);
        assert_int_equal(rfs_rangelock_try(rl, &b.range), rows[i].both);
        if (rows[i].both)
            release(&b);
        assert_int_equal(acquire(&b, rl, rows[i].b, rows[i].b_len, rows[i].b_ex), rows[i].both);
        assert_int_equal(b.granted, 0);
        release(&a);
        assert_int_equal(b.granted, !rows[i].both);
        assert_false(rfs_rangelock_empty(rl));
        release(&b);
        assert_true(rfs_rangelock_empty(rl));
        rfs_rangelock_free(rl);
    }
    (void)state;
}

/* A shared request does not overtake a waiting exclusive one, and all shared ones behind it go together. */
static void test_order(void **state)
{
    struct rfs_rangelock *rl = rfs_rangelock_new();
    struct user reader, writer, late1, late2, elsewhere;

    assert_true(acquire(&reader, rl, 0, 100, false));
    assert_false(acquire(&writer, rl, 50, 100, true));
    assert_false(acquire(&late1, rl, 140, 10, false));
    assert_false(acquire(&late2, rl, 0, 60, false));
    assert_true(acquire(&elsewhere, rl, 150, 10, true));
    release(&reader);
    assert_int_equal(writer.granted, 1);
    assert_int_equal(late1.granted + late2.granted, 0);
    release(&writer);
    assert_int_equal(late1.granted, 1);
    assert_int_equal(late2.granted, 1);
    release(&late1);
    release(&late2);
    release(&elsewhere);
    rfs_rangelock_free(rl);
    (void)state;
}

static void test_withdraw(void **state)
{
    struct rfs_rangelock *rl = rfs_rangelock_new();
    struct user holder, waiting, behind;

    assert_true(acquire(&holder, rl, 0, 10, false));
    assert_false(acquire(&waiting, rl, 0, 10, true));
    assert_false(acquire(&behind, rl, 0, 10, false));
    release(&waiting);
    assert_int_equal(waiting.granted, 0);
    assert_int_equal(behind.granted, 1);
    release(&holder);
    release(&behind);
    assert_true(rfs_rangelock_empty(rl));
    rfs_rangelock_free(rl);
    (void)state;
}

/* What callbacks do in the middle of a release: release themselves, withdraw another that is about to be
 * told, take something new. */
static void test_reentrance(void **state)
{
    struct rfs_rangelock *rl = rfs_rangelock_new();
    struct user holder, first, second, third, fresh;

    assert_true(acquire(&holder, rl, 0, 100, true));
    assert_false(acquire(&first, rl, 0, 10, true));
    assert_false(acquire(&second, rl, 10, 10, true));
    assert_false(acquire(&third, rl, 0, 20, true));
    setup_user(&fresh, rl, 30, 10, true);
    first.release_when_granted = &second;
    first.acquire_when_granted = &fresh;
    third.release_when_granted = &third;
    release(&holder);
    assert_int_equal(first.granted, 1);
    assert_int_equal(second.granted, 0);
    assert_true(fresh.acquired);
    assert_int_equal(third.granted, 0);
    release(&first);
    assert_int_equal(third.granted, 1);
    release(&fresh);
    assert_true(rfs_rangelock_empty(rl));
    rfs_rangelock_free(rl);
    (void)state;
}

/* A long queue whose every member lets go at once must not deepen the stack with each. */
static void test_long_chain(void **state)
{
    enum { N = 5000 };
    struct rfs_rangelock *rl = rfs_rangelock_new();
    struct user *users = calloc(N, sizeof(*users)), holder;

    assert_non_null(users);
    assert_true(acquire(&holder, rl, 0, 10, true));
    for (int i = 0; i < N; i++) {
        assert_false(acquire(&users[i], rl, 0, 10, true));
        users[i].release_when_granted = &users[i];
    }
    release(&holder);
    for (int i = 0; i < N; i++)
        assert_int_equal(users[i].granted, 1);
    assert_true(rfs_rangelock_empty(rl));
    rfs_rangelock_free(rl);
    free(users);
    (void)state;
}

/* --- against a naive model --- */

#define USERS 40

struct model {
    struct user users[USERS];
    bool present[USERS];
    int order[USERS]; /* by arrival */
    int n;
};

static bool naive_conflict(const struct rfs_range *a, const struct rfs_range *b)
{
    if (!a->exclusive && !b->exclusive)
        return false;
    for (uint64_t i = a->offset; i < a->offset + a->length; i++)
        if (i >= b->offset && i < b->offset + b->length)
            return true;
    return false;
}

static bool naive_held(const struct model *m, int position)
{
    for (int i = 0; i < position; i++)
        if (naive_conflict(&m->users[m->order[i]].range, &m->users[m->order[position]].range))
            return false;
    return true;
}

static void model_remove(struct model *m, int user)
{
    int i = 0;

    while (m->order[i] != user)
        i++;
    memmove(&m->order[i], &m->order[i + 1], sizeof(int) * (size_t)(--m->n - i));
    m->present[user] = false;
}

static void check_all(const struct model *m)
{
    for (int i = 0; i < m->n; i++) {
        const struct user *u = &m->users[m->order[i]];

        assert_int_equal(u->acquired || u->granted, naive_held(m, i));
        assert_true(u->granted <= 1 && !(u->acquired && u->granted));
    }
}

static void model_step(struct model *m, struct rfs_rangelock *rl, unsigned *seed)
{
    int i = rand_r(seed) % USERS;
    struct user *u = &m->users[i];

    if (m->present[i]) {
        model_remove(m, i);
        release(u);
        return;
    }
    setup_user(u, rl, (uint64_t)(rand_r(seed) % 60), (uint64_t)(rand_r(seed) % 12 + 1),
               rand_r(seed) % 3 == 0);
    m->order[m->n++] = i;
    if (rand_r(seed) % 4 == 0) {
        u->acquired = rfs_rangelock_try(rl, &u->range);
        assert_int_equal(u->acquired, naive_held(m, m->n - 1));
        m->n -= !u->acquired;
        m->present[i] = u->acquired;
    } else {
        u->acquired = rfs_rangelock_acquire(rl, &u->range);
        m->present[i] = true;
    }
}

static void test_random(void **state)
{
    for (unsigned run = 1; run <= 20; run++) {
        struct rfs_rangelock *rl = rfs_rangelock_new();
        struct model m = {.n = 0};
        unsigned seed = run;

        for (int step = 0; step < 2000; step++) {
            model_step(&m, rl, &seed);
            check_all(&m);
        }
        while (m.n) {
            struct user *u = &m.users[m.order[rand_r(&seed) % m.n]];

            model_remove(&m, (int)(u - m.users));
            release(u);
            check_all(&m);
        }
        assert_true(rfs_rangelock_empty(rl));
        rfs_rangelock_free(rl);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),      cmocka_unit_test(test_order),      cmocka_unit_test(test_withdraw),
        cmocka_unit_test(test_reentrance), cmocka_unit_test(test_long_chain), cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
