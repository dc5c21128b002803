/* SPDX-License-Identifier: Apache-2.0 */
#include "model/record.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum type { STRING, CHARS, U64, U32, BOOL };

struct field {
    const char *key;
    enum type type;
    size_t offset, size; /* size: of a CHARS array */
};

#define FIELD(struct_, member, kind)                                                                         \
    {                                                                                                        \
#member, kind, offsetof(struct_, member), sizeof(((struct_ *)0)->member)                             \
    }
#define EL(member, kind)  FIELD(struct rfs_element, member, kind)
#define REL(member, kind) FIELD(struct rfs_relationship, member, kind)
#define JOB(member, kind) FIELD(struct rfs_job, member, kind)
#define OBJECT(F)                                                                                            \
    F(o.name, STRING), F(o.generation, U64), F(o.changed_ms, U64), F(o.created_ms, U64),                     \
        F(o.last_error, STRING)

static const struct field element_fields[] = {
    OBJECT(EL),
    EL(url, STRING),
    EL(username, STRING),
    EL(password, STRING),
    EL(target_username, STRING),
    EL(target_password, STRING),
    EL(header_digest, BOOL),
    EL(known, BOOL),
    EL(info.size, U64),
    EL(info.block_size, U32),
    EL(info.physical_block_size, U32),
    EL(info.vendor, CHARS),
    EL(info.product, CHARS),
    EL(info.revision, CHARS),
    EL(info.serial, CHARS),
    EL(info.device_id, CHARS),
    EL(info.identity, CHARS),
    EL(info.provisioning, CHARS),
};

static const struct field relationship_fields[] = {
    OBJECT(REL),
    REL(size, U64),
    REL(sync_type, U32),
    REL(mode, U32),
    REL(copy_type, U32),
    REL(copy_state, U32),
    REL(requested_copy_state, U32),
    REL(progress_status, U32),
    REL(target_consistent, BOOL),
    REL(settings.copy_recovery_mode, U32),
    REL(settings.copy_priority, U32),
    REL(settings.verify, U32),
    REL(settings.rate_limit, U64),
    REL(settings.region_size, U64),
    REL(settings.max_requests, U64),
    REL(settings.max_transfer, U64),
    REL(settings.detect_zeroes, BOOL),
    REL(settings.failed_copy_stops_host_io, BOOL),
    REL(when_established, U64),
    REL(when_activated, U64),
    REL(when_deactivated, U64),
    REL(when_suspended, U64),
    REL(when_synced, U64),
    REL(when_synchronized, U64),
    REL(map_generation, U64),
    REL(last_job_state, U32),
    REL(last_job_error, STRING),
    REL(mismatch_count, U64),
};

static const struct field job_fields[] = {
    OBJECT(JOB),
    JOB(job_state, U32),
    JOB(operation, U32),
    JOB(method_name, STRING),
    JOB(relationship_name, STRING),
    JOB(source_name, STRING),
    JOB(target_name, STRING),
    JOB(relationship_number, U64),
    JOB(source_number, U64),
    JOB(target_number, U64),
    JOB(bytes_total, U64),
    JOB(bytes_done, U64),
    JOB(high_water, U64),
    JOB(lost, BOOL),
    JOB(start_ms, U64),
    JOB(end_ms, U64),
    JOB(suspended_ms, U64),
    JOB(error_code, U32),
    JOB(error_description, STRING),
    JOB(delete_on_completion, BOOL),
    JOB(time_before_removal, U64),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Messages may quote bytes that are not UTF-8, which JSON cannot hold. Names, urls and secrets never have them. */
static json_t *any_string(const char *s)
{
    struct rfs_text text = RFS_TEXT_INIT;
    json_t *value;

    rfs_text_json(&text, s);
    value = json_loads(text.data, JSON_DECODE_ANY, NULL);
    rfs_text_free(&text);
    return value;
}

static json_t *get(const void *object, const struct field *f)
{
    const char *at = (const char *)object + f->offset;

    switch (f->type) {
    case STRING: {
        const char *s = *(char *const *)(const void *)at;

        return s ? any_string(s) : NULL;
    }
    case CHARS:
        return *at ? any_string(at) : NULL;
    case U64:
        return json_integer((json_int_t) * (const uint64_t *)(const void *)at);
    case U32:
        return json_integer(*(const uint32_t *)(const void *)at);
    case BOOL:
        return json_boolean(*(const bool *)(const void *)at);
    }
    return NULL;
}

static void set(void *object, const struct field *f, const json_t *value)
{
    char *at = (char *)object + f->offset;

    switch (f->type) {
    case STRING:
        *(char **)(void *)at = rfs_xstrdup(json_string_value(value));
        break;
    case CHARS:
        if (json_string_value(value))
            strncpy(at, json_string_value(value), f->size - 1);
        break;
    case U64:
        *(uint64_t *)(void *)at = (uint64_t)json_integer_value(value);
        break;
    case U32:
        *(uint32_t *)(void *)at = (uint32_t)json_integer_value(value);
        break;
    case BOOL:
        *(bool *)(void *)at = json_is_true(value);
        break;
    }
}

static json_t *write_fields(const void *object, const struct field *fields, size_t count)
{
    json_t *record = json_object();

    for (size_t i = 0; i < count; i++) {
        json_t *value = get(object, &fields[i]);

        if (value)
            json_object_set_new(record, fields[i].key, value);
    }
    return record;
}

static char *dump(json_t *record)
{
    char *text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);

    json_decref(record);
    return text;
}

static json_t *parse(const char *json, struct rfs_error *err)
{
    json_error_t why;
    json_t *record = json_loads(json, 0, &why);

    if (!json_is_object(record)) {
        json_decref(record);
        rfs_fail(err, RFS_RV_FAILED, "a catalogue record cannot be read: %s", why.text);
        return NULL;
    }
    return record;
}

static void read_fields(void *object, const struct field *fields, size_t count, const json_t *record)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(record, fields[i].key);

        if (value)
            set(object, &fields[i], value);
    }
}

char *rfs_record_element(const struct rfs_element *el)
{
    return dump(write_fields(el, element_fields, COUNT(element_fields)));
}

char *rfs_record_relationship(const struct rfs_relationship *rel)
{
    json_t *record = write_fields(rel, relationship_fields, COUNT(relationship_fields));

    json_object_set_new(record, "source", json_integer((json_int_t)rel->source->o.number));
    json_object_set_new(record, "target", json_integer((json_int_t)rel->target->o.number));
    json_object_set_new(record, "job", json_integer(rel->job ? (json_int_t)rel->job->o.number : 0));
    return dump(record);
}

char *rfs_record_job(const struct rfs_job *job)
{
    return dump(write_fields(job, job_fields, COUNT(job_fields)));
}

int rfs_record_read_element(struct rfs_element *el, const char *json, struct rfs_error *err)
{
    json_t *record = parse(json, err);

    if (!record)
        return -1;
    read_fields(el, element_fields, COUNT(element_fields), record);
    json_decref(record);
    return 0;
}

static uint64_t reference(const json_t *record, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(record, key));
}

int rfs_record_read_relationship(struct rfs_relationship *rel, struct rfs_relationship_refs *refs,
                                 const char *json, struct rfs_error *err)
{
    json_t *record = parse(json, err);

    if (!record)
        return -1;
    read_fields(rel, relationship_fields, COUNT(relationship_fields), record);
    refs->source = reference(record, "source");
    refs->target = reference(record, "target");
    refs->job = reference(record, "job");
    json_decref(record);
    return 0;
}

int rfs_record_read_job(struct rfs_job *job, const char *json, struct rfs_error *err)
{
    json_t *record = parse(json, err);

    if (!record)
        return -1;
    read_fields(job, job_fields, COUNT(job_fields), record);
    json_decref(record);
    return 0;
}

static void put(struct rfs_service *svc, enum rfs_catalogue_kind kind, uint64_t number, char *json)
{
    rfs_catalogue_put(svc->catalogue, kind, number, json);
    explicit_bzero(json, strlen(json));
    free(json);
}

void rfs_record_put_element(struct rfs_service *svc, const struct rfs_element *el)
{
    put(svc, RFS_CAT_ELEMENT, el->o.number, rfs_record_element(el));
}

void rfs_record_put_relationship(struct rfs_service *svc, const struct rfs_relationship *rel)
{
    put(svc, RFS_CAT_RELATIONSHIP, rel->o.number, rfs_record_relationship(rel));
}

void rfs_record_put_job(struct rfs_service *svc, const struct rfs_job *job)
{
    put(svc, RFS_CAT_JOB, job->o.number, rfs_record_job(job));
}
