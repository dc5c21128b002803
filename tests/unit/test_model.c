/* SPDX-License-Identifier: Apache-2.0
 * Model and methods on devices in memory: the state table cell by cell, AttachReplica in all its forms, jobs,
 * restarts, and the loop that fails the 1st, 2nd, 3rd … device call of a whole copy. */
#include "model_rig.h"

#include "model/state_table.h"

#define SIZE (1u << 20)

static struct rig *new_rig(void)
{
    struct rig *rig = rfs_xcalloc(1, sizeof(*rig));

    rig_start(rig);
    return rig;
}

static void attach(struct rig *rig, const char *type, const char *more, struct rig_answer *answer)
{
    char line[400];

    snprintf(line, sizeof(line), "source=elements/a target=elements/b copy_type=%s name=r force=1 %s", type,
             more);
    rig_service(rig, "attach_replica", line, answer);
}

/* --- the state table --- */

struct put_state {
    struct rig *rig;
    uint32_t state;
};

/* Puts the resting relationship into a state, as if it had come there; the engine is idle. */
static void put_state(void *arg)
{
    struct put_state *p = arg;
    struct rfs_relationship *rel = rfs_relationship_by_name(p->rig->svc, "r"), next = *rel;
    struct rfs_error err;

    next.copy_state = p->state;
    assert_int_equal(rfs_publish(p->rig->svc, &(struct rfs_edit){.rel = rel, .rel_next = &next}, &err), 0);
}

static bool has_live_job(struct rig *rig)
{
    struct rfs_job *job;
    bool live = false;

    rfs_service_lock(rig->svc);
    for (job = rig->svc->jobs_by_number; job; job = job->o.by_number.next)
        live |= !rfs_job_finished(job);
    rfs_service_unlock(rig->svc);
    return live;
}

/* What the published cell promises, checked against what the operation did. */
static void check_outcome(struct rig *rig, const struct rfs_cell *cell, uint32_t state, enum rfs_rv rv,
                          bool available, bool force)
{
    struct rig_answer answer;

    if (cell->never || (cell->legal && !available)) {
        assert_int_equal(rv, RFS_RV_NOT_SUPPORTED);
        assert_int_equal(rig_copy_state(rig, "r"), state);
    } else if (!cell->legal) {
        /* An operation that is nowhere available says so before it says that the state is wrong. */
        assert_int_equal(rv, available ? RFS_RV_INVALID_STATE : RFS_RV_NOT_SUPPORTED);
        assert_int_equal(rig_copy_state(rig, "r"), state);
    } else if (cell->force && !force) {
        assert_int_equal(rv, RFS_RV_REQUIRES_FORCE);
        assert_int_equal(rig_copy_state(rig, "r"), state);
    } else if (cell->gone) {
        assert_int_equal(rv, RFS_RV_OK);
        assert_int_equal(rig_relationship(rig, "r"), 0);
    } else if (cell->via) {
        assert_int_equal(rv, RFS_RV_JOB_STARTED);
        assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", rig_relationship(rig, "r"),
                                    rfs_value_name(&rfs_map_copy_state, (int)cell->final), &answer),
                         RFS_RV_OK);
        assert_false(has_live_job(rig));
    } else {
        assert_int_equal(rv, RFS_RV_OK);
        assert_int_equal(rig_copy_state(rig, "r"), cell->final);
    }
}

static void walk_cell(struct rig *rig, const char *type, uint32_t sync_type, uint32_t state,
                      uint32_t operation, bool force)
{
    struct rfs_cell cell = rfs_state_cell(sync_type, state, operation);
    struct put_state put = {rig, state};
    struct rig_answer answer;
    char line[100];

    if (!rig_relationship(rig, "r")) {
        attach(rig, type, "wait_for_copy_state=Initialized", &answer);
        assert_int_equal(answer.rv, RFS_RV_OK);
    }
    rfs_loop_call(rig->svc->control, put_state, &put);
    snprintf(line, sizeof(line), "%s force=%d", rfs_value_name(&rfs_map_operation, (int)operation), force);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), line, &answer);
    check_outcome(rig, &cell, state, answer.rv, rfs_state_available(sync_type, operation), force);
}

static void walk_table(const char *type, uint32_t sync_type)
{
    struct rig *rig = new_rig();
    uint32_t states[16];
    unsigned count = rfs_state_list(sync_type, states), cells = 0;

    rig_add(rig, "a", SIZE, 1);
    rig_add(rig, "b", SIZE, 2);
    for (unsigned s = 0; s < count; s++)
        for (size_t o = 0; o < rfs_map_operation.count; o++)
            for (int force = 0; force < 2; force++, cells++)
                walk_cell(rig, type, sync_type, states[s], (uint32_t)rfs_map_operation.values[o].number,
                          force);
    assert_true(cells >= 14 * 24 * 2);
    rig_free(rig);
}

static void test_mirror_table(void **state)
{
    walk_table("Sync", RFS_sync_type_MIRROR);
}

static void test_clone_table(void **state)
{
    walk_table("UnSyncAssoc", RFS_sync_type_CLONE);
}

/* Spot checks against the reference's text, so that a slip in the one table cannot hide behind itself. */
static void test_table_text(void **state)
{
    struct rfs_cell c =
        rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_UNSYNCHRONIZED, RFS_operation_DETACH);

    assert_true(c.legal && c.force && c.gone);
    c = rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_SUSPENDED, RFS_operation_RESUME);
    assert_int_equal(c.via, RFS_copy_state_UNSYNCHRONIZED);
    assert_int_equal(c.final, RFS_copy_state_SYNCHRONIZED);
    c = rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_FAILEDOVER, RFS_operation_FAILBACK);
    assert_int_equal(c.final, RFS_copy_state_SYNCHRONIZED);
    c = rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_SYNCHRONIZED, RFS_operation_REVERSE_ROLES);
    assert_true(c.swap && c.final == RFS_copy_state_SYNCHRONIZED);
    c = rfs_state_cell(RFS_sync_type_SNAPSHOT, RFS_copy_state_SYNCHRONIZED, RFS_operation_DETACH);
    assert_true(c.gone && c.hydrate);
    c = rfs_state_cell(RFS_sync_type_SNAPSHOT, RFS_copy_state_INVALID, RFS_operation_RETURN_TO_RESOURCE_POOL);
    assert_true(c.gone && c.force);
    c = rfs_state_cell(RFS_sync_type_CLONE, RFS_copy_state_SYNCHRONIZED, RFS_operation_DEACTIVATE);
    assert_false(c.legal || c.never);
    c = rfs_state_cell(RFS_sync_type_CLONE, RFS_copy_state_SYNCHRONIZED, RFS_operation_FAILOVER);
    assert_true(c.never);
    c = rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_RESTORED, RFS_operation_RESUME);
    assert_int_equal(c.via, RFS_copy_state_UNSYNCHRONIZED);
    c = rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_SKEWED, RFS_operation_RESTORE_FROM_REPLICA);
    assert_true(c.force && c.final == RFS_copy_state_RESTORED);
    c = rfs_state_cell(RFS_sync_type_MIRROR, RFS_copy_state_PREPARED, RFS_operation_UNPREPARE);
    assert_true(c.legal && c.same);
}

/* --- AttachReplica --- */

static void test_attach_copies(void **state)
{
    static const char *const types[] = {"Sync", "Async", "UnSyncAssoc", "5"};

    for (size_t i = 0; i < 4; i++) {
        struct rig *rig = new_rig();
        struct rig_device *a = rig_add(rig, "a", SIZE, 3), *b = rig_add(rig, "b", SIZE + 65536, 4);
        uint8_t tail[65536];
        struct rig_answer answer;

        memcpy(tail, b->bytes + SIZE, sizeof(tail));
        attach(rig, types[i], "wait_for_copy_state=Synchronized timeout=30", &answer);
        assert_int_equal(answer.rv, RFS_RV_OK);
        assert_non_null(strstr(answer.reply, "job=jobs/1\n"));
        assert_memory_equal(a->bytes, b->bytes, SIZE);
        assert_memory_equal(tail, b->bytes + SIZE, sizeof(tail));
        if (i == 3) {
            while (rig_relationship(rig, "r")) /* goes by itself, right behind the answer */
                usleep(1000);
        } else {
            assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_SYNCHRONIZED);
        }
        rig_free(rig);
    }
}

static void test_attach_refusals(void **state)
{
    static const struct {
        const char *line;
        enum rfs_rv rv;
        const char *says;
    } rows[] = {
        {"source=a target=a copy_type=Sync", RFS_RV_INVALID_PARAMETER, "elements/a"},
        {"source=a target=nil copy_type=Sync", RFS_RV_NOT_FOUND, "elements/nil"},
        {"source=a target=small copy_type=Sync", RFS_RV_INVALID_PARAMETER, "at least as large"},
        {"source=a target=b copy_type=Snap", RFS_RV_INVALID_PARAMETER, "UnSyncAssoc (4)"},
        {"source=a target=b", RFS_RV_INVALID_PARAMETER, "copy_type"},
        {"source=a target=b copy_type=Sync bogus=1", RFS_RV_INVALID_PARAMETER, "bogus"},
        {"source=a target=b copy_type=Sync copy_type=Sync", RFS_RV_INVALID_PARAMETER, "more than once"},
        {"source=a target=b copy_type=Sync name=x/y", RFS_RV_INVALID_PARAMETER, "0x2f"},
        {"source=a target=b copy_type=Sync setting.verify=perhaps", RFS_RV_INVALID_PARAMETER, "verify"},
        {"source=a target=b copy_type=Sync setting.nil=1", RFS_RV_INVALID_PARAMETER, "nil"},
        {"source=a target=b copy_type=Sync replication_setting_data=x", RFS_RV_INVALID_PARAMETER, "setting."},
        {"source=a target=b copy_type=Sync wait_for_copy_state=Split", RFS_RV_INVALID_PARAMETER, "Split"},
        {"source=a target=used copy_type=Sync", RFS_RV_IN_USE, "relationships/other"},
        {"source=used target=b copy_type=Sync", RFS_RV_IN_USE, "chains"},
        {"source=b target=a copy_type=Sync", RFS_RV_IN_USE, "relationships/other"},
        {"source=a target=b copy_type=Sync name=other", RFS_RV_IN_USE, "relationships/other exists"},
        {"source=a target=disk copy_type=Sync", RFS_RV_REQUIRES_FORCE, "dos"},
    };
    struct rig *rig = new_rig();
    struct rig_device *disk;
    struct rig_answer answer;

    rig_add(rig, "a", SIZE, 5);
    rig_add(rig, "b", SIZE, 0);
    rig_add(rig, "small", SIZE / 2, 0);
    rig_add(rig, "used", SIZE, 0);
    disk = rig_add(rig, "disk", SIZE, 0);
    /* A partition table with one partition. */
    memcpy(disk->bytes + 446, "\x00\x00\x02\x00\x83\x00\x20\x00\x01\x00\x00\x00\xff\x07\x00\x00", 16);
    memcpy(disk->bytes + 510, "\x55\xaa", 2);
    assert_int_equal(
        rig_service(rig, "attach_replica", "source=a target=used copy_type=Sync name=other", &answer),
        RFS_RV_JOB_STARTED);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_service(rig, "attach_replica", rows[i].line, &answer);
        if (answer.rv != rows[i].rv || !strstr(answer.err.msg, rows[i].says))
            fail_msg("%s: %d %s", rows[i].line, answer.rv, answer.err.msg);
    }
    assert_int_equal(HASH_CNT(o.by_number, rig->svc->relationships_by_number), 1);
    rig_free(rig);
}

static void test_initial_states(void **state)
{
    static const char *const states[] = {"Initialized", "Inactive", "Prepared"};

    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = new_rig();
        struct rig_device *a = rig_add(rig, "a", SIZE, 6), *b = rig_add(rig, "b", SIZE, 7);
        struct rig_answer answer;
        char more[80];

        snprintf(more, sizeof(more), "wait_for_copy_state=%s", states[i]);
        attach(rig, "Async", more, &answer);
        assert_int_equal(answer.rv, RFS_RV_OK);
        assert_null(strstr(answer.reply, "job="));
        assert_memory_not_equal(a->bytes, b->bytes, SIZE);
        assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                                    "Activate wait_for_copy_state=Synchronized timeout=30", &answer),
                         RFS_RV_OK);
        assert_memory_equal(a->bytes, b->bytes, SIZE);
        rig_free(rig);
    }
}

/* --- faults --- */

struct fail_nth {
    struct rig_device *d;
    struct rfs_fault_rule rule;
    uint64_t calls;
};

static void add_rule(void *arg)
{
    struct fail_nth *f = arg;

    rfs_fault_add(f->d->fault, &f->rule);
}

static void count_calls(void *arg)
{
    struct fail_nth *f = arg;

    f->calls = rfs_fault_calls(f->d->fault);
}

/* One whole copy in which the Nth call of one side fails for good; returns whether the fault was met. */
static bool run_with_fault(int side, uint64_t nth, enum rfs_io_status status)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 8), *b = rig_add(rig, "b", SIZE, 9);
    struct fail_nth f = {.d = side ? b : a, .rule = {.nth = nth, .what = RFS_FAULT_STATUS, .status = status}};
    struct rig_answer answer;
    uint32_t copy_state;

    attach(rig, "Sync", "wait_for_copy_state=Initialized", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    rig_on_device(f.d, count_calls, &f);
    uint64_t before = f.calls;
    rig_on_device(f.d, add_rule, &f);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
               "Activate wait_for_copy_state=Synchronized timeout=30", &answer);
    copy_state = rig_copy_state(rig, "r");
    if (copy_state == RFS_copy_state_SYNCHRONIZED) {
        assert_memory_equal(a->bytes, b->bytes, SIZE);
    } else { /* told as it is, and put right by what the message asks for, or by asking again */
        bool looked = copy_state == RFS_copy_state_INITIALIZED; /* the target could not even be looked at */

        assert_true(looked || copy_state == RFS_copy_state_BROKEN);
        assert_true(answer.rv == RFS_RV_FAILED || (looked && answer.rv == RFS_RV_NO_RESOURCES));
        assert_true(strlen(answer.err.msg) > 20);
        rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                   looked ? "Activate wait_for_copy_state=Synchronized timeout=30"
                          : "ResyncReplica wait_for_copy_state=Synchronized timeout=30",
                   &answer);
        assert_int_equal(answer.rv, RFS_RV_OK);
        assert_memory_equal(a->bytes, b->bytes, SIZE);
    }
    rig_on_device(f.d, count_calls, &f);
    bool met = f.calls - before >= nth;
    rig_free(rig);
    return met;
}

static void fail_each_call(int side, enum rfs_io_status status)
{
    uint64_t nth = 1;

    while (run_with_fault(side, nth, status))
        nth++;
    assert_true(nth > 1);
}

static void test_nth_source_error(void **state)
{
    fail_each_call(0, RFS_IO_ERROR);
}

static void test_nth_target_error(void **state)
{
    fail_each_call(1, RFS_IO_ERROR);
}

static void test_nth_target_full(void **state)
{
    fail_each_call(1, RFS_IO_NOSPACE);
}

static void flip(void *arg)
{
    struct rig_device *d = arg;

    rfs_fault_add(d->fault, &(struct rfs_fault_rule){.ops = 1u << RFS_IO_WRITE,
                                                     .offset = 70000,
                                                     .length = 1,
                                                     .nth = 1,
                                                     .what = RFS_FAULT_FLIP,
                                                     .at = 70000});
}

/* One flipped byte between write and read-back is found, reported and copied again. */
static void test_flipped_byte(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 10), *b = rig_add(rig, "b", SIZE, 11);
    struct rig_answer answer;
    struct rfs_relationship *rel;
    char events[8192] = "";

    attach(rig, "Sync", "wait_for_copy_state=Initialized", &answer);
    rig_on_device(b, flip, b);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                                "Activate wait_for_copy_state=Synchronized timeout=30", &answer),
                     RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    rfs_service_lock(rig->svc);
    rel = rfs_relationship_by_name(rig->svc, "r");
    assert_int_equal(rel->mismatch_count, 1);
    rfs_service_unlock(rig->svc);
    rfs_events_read(rig->svc->events, 0, events, sizeof(events) - 1);
    assert_non_null(strstr(events, "\"type\":\"Mismatch\""));
    rig_free(rig);
}

static void outage(void *arg)
{
    rfs_fault_outage(((struct rig_device *)arg)->fault, UINT64_MAX);
}

static void restore(void *arg)
{
    rfs_fault_restore(((struct rig_device *)arg)->fault);
}

static void test_outage(const char *mode, uint32_t after)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 12), *b = rig_add(rig, "b", SIZE, 13);
    struct rig_answer answer;
    char more[160];

    snprintf(more, sizeof(more), "wait_for_copy_state=Initialized setting.copy_recovery_mode=%s", mode);
    attach(rig, "Async", more, &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    rig_on_device(b, outage, b);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), "Activate force=1",
               &answer);
    assert_int_equal(answer.rv, RFS_RV_JOB_STARTED);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", rig_relationship(rig, "r"),
                                "Partitioned timeout=20", &answer),
                     RFS_RV_OK);
    rig_on_device(b, restore, b);
    snprintf(more, sizeof(more), "%s timeout=20", rfs_value_name(&rfs_map_copy_state, (int)after));
    assert_int_equal(
        rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", rig_relationship(rig, "r"), more, &answer),
        RFS_RV_OK);
    if (after == RFS_copy_state_SUSPENDED)
        assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                                    "Resume wait_for_copy_state=Synchronized timeout=20", &answer),
                         RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    rig_free(rig);
}

static void test_outage_automatic(void **state)
{
    test_outage("Automatic", RFS_copy_state_SYNCHRONIZED);
}

static void test_outage_manual(void **state)
{
    test_outage("Manual", RFS_copy_state_SUSPENDED);
}

/* --- jobs and restarts --- */

static enum rfs_rv job_request(struct rig *rig, uint64_t number, const char *what)
{
    struct rig_answer answer;

    return rig_method(rig, RFS_PLACE_JOB, "request_state_change", number, what, &answer);
}

static uint32_t job_state(struct rig *rig, uint64_t number)
{
    struct rfs_job *job;
    uint32_t s;

    rfs_service_lock(rig->svc);
    job = rfs_job_by_number(rig->svc, number);
    s = job ? job->job_state : 0;
    rfs_service_unlock(rig->svc);
    return s;
}

static void test_job_requests(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 14), *b = rig_add(rig, "b", SIZE, 15);
    struct rig_answer answer;

    attach(rig, "Sync", "setting.rate_limit=65536 setting.max_transfer=65536", &answer);
    assert_int_equal(answer.rv, RFS_RV_JOB_STARTED);
    assert_int_equal(job_request(rig, 1, "Service"), RFS_RV_INVALID_TRANSITION);
    assert_int_equal(job_request(rig, 1, "Suspend timeout_period=5"), RFS_RV_TIMEOUT_UNSUPPORTED);
    assert_int_equal(job_request(rig, 1, "suspend"), RFS_RV_OK);
    assert_int_equal(job_state(rig, 1), RFS_job_state_SUSPENDED);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_SUSPENDED);
    assert_int_equal(job_request(rig, 1, "2"), RFS_RV_OK);
    assert_int_equal(job_state(rig, 1), RFS_job_state_RUNNING);
    assert_int_equal(job_request(rig, 1, "Terminate"), RFS_RV_OK);
    assert_int_equal(job_state(rig, 1), RFS_job_state_TERMINATED);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_ABORTED);
    assert_int_equal(job_request(rig, 1, "Start"), RFS_RV_INVALID_TRANSITION);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), "ResyncReplica",
               &answer);
    assert_int_equal(job_request(rig, 2, "Kill"), RFS_RV_OK);
    assert_int_equal(job_state(rig, 2), RFS_job_state_KILLED);
    assert_int_equal(
        rig_value(rig, rfs_relationship_write, rig_relationship(rig, "r"), "rate_limit", "", &answer), 0);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_BROKEN);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                                "ResyncReplica wait_for_copy_state=Synchronized timeout=20", &answer),
                     RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    assert_int_equal(rig_value(rig, rfs_job_remove, 1, NULL, NULL, &answer), RFS_RV_OK);
    assert_int_equal(job_state(rig, 1), 0);
    rig_free(rig);
}

/* A stop in mid-copy parks the job; the next start goes on with the same job, where the map says. */
static void test_restart(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 16), *b = rig_add(rig, "b", SIZE, 17);
    struct rig_answer answer;

    attach(rig, "Sync", "setting.rate_limit=131072 setting.max_transfer=65536", &answer);
    assert_int_equal(answer.rv, RFS_RV_JOB_STARTED);
    rig_stop(rig);
    rig_start(rig);
    assert_int_equal(job_state(rig, 1), RFS_job_state_RUNNING);
    assert_int_equal(
        rig_value(rig, rfs_relationship_write, rig_relationship(rig, "r"), "rate_limit", "0", &answer), 0);
    assert_int_equal(rig_method(rig, RFS_PLACE_JOB, "wait", 1, "Completed timeout=20", &answer), RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_SYNCHRONIZED);
    rig_stop(rig);
    rig_start(rig);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_SYNCHRONIZED);
    rig_free(rig);
}

/* A map that is gone at the start of a mirror that was in step: everything is copied again, by itself. */
static void test_lost_map(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 18), *b = rig_add(rig, "b", SIZE, 19);
    struct rig_answer answer;
    char path[200];

    attach(rig, "Sync", "wait_for_copy_state=Synchronized timeout=20", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    rig_stop(rig);
    snprintf(path, sizeof(path), "rm %s/maps/*", rig->dir);
    assert_int_equal(system(path), 0);
    memset(b->bytes, 0x5a, SIZE);
    rig_start(rig);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", rig_relationship(rig, "r"),
                                "Synchronized timeout=20", &answer),
                     RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    rig_free(rig);
}

static void shell(const struct rig *rig, const char *fmt, ...)
{
    char command[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    assert_int_equal(system(command), 0);
}

static void wait_state(struct rig *rig, const char *line)
{
    struct rig_answer answer;

    if (rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", rig_relationship(rig, "r"), line, &answer))
        fail_msg("%s: %s", line, answer.err.msg);
}

/* A point in time cannot be had again: a clone without its map is Invalid, and nothing is written to it unasked. */
static void test_lost_map_of_a_clone(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 30), *b = rig_add(rig, "b", SIZE, 31);
    struct rig_answer answer;
    uint8_t *before = rfs_xmalloc(SIZE);

    attach(rig, "UnSyncAssoc", "wait_for_copy_state=Synchronized timeout=20", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    rig_stop(rig);
    memcpy(before, b->bytes, SIZE);
    memset(a->bytes, 0x11, SIZE);
    shell(rig, "rm %s/maps/*", rig->dir);
    rig_start(rig);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_INVALID);
    assert_false(has_live_job(rig));
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), "ResyncReplica",
               &answer);
    assert_int_equal(answer.rv, RFS_RV_REQUIRES_FORCE);
    assert_memory_equal(before, b->bytes, SIZE);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
               "ResyncReplica force=1 wait_for_copy_state=Synchronized timeout=20", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    free(before);
    rig_free(rig);
}

/* A state folder that was brought back from a backup is recognised: nothing is claimed and nothing written unasked. */
static void test_folder_from_backup(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 32), *b = rig_add(rig, "b", SIZE, 33);
    struct rig_answer answer;
    struct rfs_relationship *rel;

    attach(rig, "Sync", "wait_for_copy_state=Synchronized timeout=20", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    rig_stop(rig);
    shell(rig, "cp -a %s %s.backup && rm -r %s && mv %s.backup %s", rig->dir, rig->dir, rig->dir, rig->dir,
          rig->dir);
    memset(b->bytes, 0x22, SIZE);
    for (int start = 0; start < 2; start++) { /* and is still so after one more start */
        rig_start(rig);
        assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_BROKEN);
        rfs_service_lock(rig->svc);
        rel = rfs_relationship_by_name(rig->svc, "r");
        assert_false(rel->target_consistent);
        assert_int_equal(rfs_pmap_dirty_bytes(rel->map), SIZE);
        assert_non_null(strstr(rel->o.last_error, "backup"));
        rfs_service_unlock(rig->svc);
        assert_int_equal(b->bytes[0], 0x22);
        if (!start)
            rig_stop(rig);
    }
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
               "ResyncReplica wait_for_copy_state=Synchronized timeout=20", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    rig_free(rig);
}

/* Manual recovery is not stood in for by a restart. */
static void test_manual_over_restart(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *a = rig_add(rig, "a", SIZE, 34), *b = rig_add(rig, "b", SIZE, 35);
    struct rig_answer answer;

    attach(rig, "Sync", "wait_for_copy_state=Initialized setting.copy_recovery_mode=Manual", &answer);
    rig_on_device(b, outage, b);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), "Activate force=1",
               &answer);
    assert_int_equal(answer.rv, RFS_RV_JOB_STARTED);
    wait_state(rig, "Partitioned timeout=20");
    rig_stop(rig);
    rig_start(rig);
    wait_state(rig, "Suspended timeout=20");
    assert_int_equal(job_state(rig, 1), RFS_job_state_SUSPENDED);
    assert_memory_not_equal(a->bytes, b->bytes, SIZE);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                                "Resume wait_for_copy_state=Synchronized timeout=20", &answer),
                     RFS_RV_OK);
    assert_memory_equal(a->bytes, b->bytes, SIZE);
    rig_free(rig);
}

/* What was put on the target between attach and Activate is not overwritten without force. */
static void test_activate_looks_first(void **state)
{
    struct rig *rig = new_rig();
    struct rig_device *b;
    struct rig_answer answer;

    rig_add(rig, "a", SIZE, 36);
    b = rig_add(rig, "b", SIZE, 0);
    rig_service(rig, "attach_replica", "source=a target=b copy_type=Sync name=r wait_for_copy_state=Prepared",
                &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    memcpy(b->bytes + 446, "\x00\x00\x02\x00\x83\x00\x20\x00\x01\x00\x00\x00\xff\x07\x00\x00", 16);
    memcpy(b->bytes + 510, "\x55\xaa", 2);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), "Activate", &answer);
    assert_int_equal(answer.rv, RFS_RV_REQUIRES_FORCE);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_PREPARED);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
               "Activate force=1 wait_for_copy_state=Synchronized timeout=20", &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    rig_free(rig);
}

/* Map files that nobody names are cleared away at a start; the named ones stay. */
static void test_orphan_maps(void **state)
{
    struct rig *rig = new_rig();
    struct rig_answer answer;

    rig_add(rig, "a", SIZE, 37);
    rig_add(rig, "b", SIZE, 38);
    attach(rig, "Sync", "wait_for_copy_state=Synchronized timeout=20", &answer);
    rig_stop(rig);
    shell(rig, "touch %s/maps/7.1 %s/maps/1.9 %s/maps/1.1.new", rig->dir, rig->dir, rig->dir);
    rig_start(rig);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_SYNCHRONIZED);
    shell(rig, "test \"$(ls %s/maps)\" = 1.1", rig->dir);
    rig_free(rig);
}

/* A wait says where it ended; zero is a look; what nothing leads to is refused; a kill leaves its reason. */
static void test_waits_and_reasons(void **state)
{
    struct rig *rig = new_rig();
    struct rig_answer answer;
    struct rfs_relationship *rel;
    uint64_t r;

    rig_add(rig, "a", SIZE, 39);
    rig_add(rig, "b", SIZE, 40);
    attach(rig, "Sync", "setting.rate_limit=65536 setting.max_transfer=65536", &answer);
    r = rig_relationship(rig, "r");
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", r, "Synchronized timeout=0", &answer),
                     RFS_RV_TIMEOUT);
    assert_non_null(strstr(answer.err.msg, "relationships/r is UnSynchronized, not Synchronized"));
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", r, "Synchronized timeout=0.05", &answer),
                     RFS_RV_TIMEOUT);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "wait", r, "Restored", &answer),
                     RFS_RV_INVALID_PARAMETER);
    assert_int_equal(rig_method(rig, RFS_PLACE_JOB, "wait", 1, "Completed timeout=0", &answer),
                     RFS_RV_TIMEOUT);
    assert_non_null(strstr(answer.err.msg, "jobs/1 is Running"));
    assert_int_equal(job_request(rig, 1, "Kill"), RFS_RV_OK);
    rfs_service_lock(rig->svc);
    rel = rfs_relationship_by_name(rig->svc, "r");
    assert_non_null(strstr(rel->o.last_error, "jobs/1 was killed"));
    rfs_service_unlock(rig->svc);
    /* A refused request does not pass for what is wrong with the object. */
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", r, "Resume", &answer),
                     RFS_RV_INVALID_STATE);
    rfs_service_lock(rig->svc);
    assert_non_null(strstr(rel->o.last_error, "jobs/1 was killed"));
    assert_non_null(strstr(rel->o.last_refusal, "Resume is not legal"));
    rfs_service_unlock(rig->svc);
    assert_int_equal(rig_value(rig, rfs_relationship_write, r, "rate_limit", "0", &answer), RFS_RV_OK);
    rfs_service_lock(rig->svc);
    assert_null(rel->o.last_refusal);
    rfs_service_unlock(rig->svc);
    rig_free(rig);
}

/* Text that the catalogue could not keep is refused instead of lost at the next start. */
static void test_not_utf8(void **state)
{
    struct rig *rig = new_rig();
    struct rig_answer answer;

    rig_add(rig, "a", SIZE, 41);
    assert_int_equal(
        rig_value(rig, rfs_element_write, rig_element(rig, "a"), "url", "file:/t\xe9\xe8", &answer),
        RFS_RV_INVALID_PARAMETER);
    assert_int_equal(
        rig_value(rig, rfs_element_write, rig_element(rig, "a"), "password", "\xff\xfe", &answer),
        RFS_RV_INVALID_PARAMETER);
    assert_null(strchr(answer.err.msg, '\xff'));
    rig_free(rig);
}

static void test_generation(void **state)
{
    struct rig *rig = new_rig();
    struct rig_answer answer;

    rig_add(rig, "a", SIZE, 20);
    rig_add(rig, "b", SIZE, 21);
    attach(rig, "Sync", "wait_for_copy_state=Initialized", &answer);
    assert_int_equal(rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"),
                                "Activate generation=999", &answer),
                     RFS_RV_OUT_OF_DATE);
    assert_int_equal(rig_copy_state(rig, "r"), RFS_copy_state_INITIALIZED);
    rig_free(rig);
}

static void test_elements(void **state)
{
    struct rig *rig = new_rig();
    struct rig_answer answer;
    uint64_t a;

    rig_add(rig, "a", SIZE, 22);
    rig_add(rig, "b", SIZE, 23);
    a = rig_element(rig, "a");
    assert_int_equal(rig_value(rig, rfs_element_create, 0, NULL, "a", &answer), RFS_RV_IN_USE);
    assert_int_equal(rig_value(rig, rfs_element_create, 0, NULL, ".a", &answer), RFS_RV_INVALID_PARAMETER);
    assert_int_equal(rig_value(rig, rfs_element_write, a, "url", "http://x", &answer),
                     RFS_RV_INVALID_PARAMETER);
    assert_int_equal(rig_value(rig, rfs_element_write, a, "url", "file:/test", &answer), RFS_RV_OK);
    attach(rig, "Sync", "", &answer);
    assert_int_equal(rig_value(rig, rfs_element_remove, a, NULL, NULL, &answer), RFS_RV_IN_USE);
    assert_int_equal(rig_value(rig, rfs_element_write, a, "username", "u", &answer), RFS_RV_IN_USE);
    assert_int_equal(rig_value(rig, rfs_element_write, a, "url", "file:/test", &answer),
                     RFS_RV_OK); /* so already */
    assert_int_equal(rig_value(rig, rfs_element_write, a, "username", "", &answer), RFS_RV_OK);
    rig_method(rig, RFS_PLACE_RELATIONSHIP, "operation", rig_relationship(rig, "r"), "Detach force=1",
               &answer);
    assert_int_equal(answer.rv, RFS_RV_OK);
    assert_int_equal(rig_value(rig, rfs_element_remove, a, NULL, NULL, &answer), RFS_RV_OK);
    assert_int_equal(rig_element(rig, "a"), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_text),
        cmocka_unit_test(test_mirror_table),
        cmocka_unit_test(test_clone_table),
        cmocka_unit_test(test_attach_copies),
        cmocka_unit_test(test_attach_refusals),
        cmocka_unit_test(test_initial_states),
        cmocka_unit_test(test_nth_source_error),
        cmocka_unit_test(test_nth_target_error),
        cmocka_unit_test(test_nth_target_full),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_outage_automatic),
        cmocka_unit_test(test_outage_manual),
        cmocka_unit_test(test_job_requests),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_lost_map),
        cmocka_unit_test(test_lost_map_of_a_clone),
        cmocka_unit_test(test_folder_from_backup),
        cmocka_unit_test(test_manual_over_restart),
        cmocka_unit_test(test_activate_looks_first),
        cmocka_unit_test(test_orphan_maps),
        cmocka_unit_test(test_waits_and_reasons),
        cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_generation),
        cmocka_unit_test(test_elements),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
