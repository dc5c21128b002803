/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "render.h"

#define CACHE_MS 1000

/* A LUN's INQUIRY strings may hold any bytes; JSON takes UTF-8 only. */
static json_t *json_text(const char *s)
{
    json_t *value = json_string(s);
    struct rfs_text text = RFS_TEXT_INIT;

    if (value)
        return value;
    rfs_text_json(&text, s);
    value = json_loads(text.data, JSON_DECODE_ANY, NULL);
    rfs_text_free(&text);
    return value ? value : json_null();
}

static json_t *json_number(const char *s)
{
    char *end;
    long long integer;
    double real;

    errno = 0;
    integer = strtoll(s, &end, 10);
    if (!errno && !*end)
        return json_integer(integer);
    real = strtod(s, &end);
    return *end ? json_text(s) : json_real(real);
}

static json_t *json_value(const char *s, bool number)
{
    if (!*s)
        return json_null();
    return number ? json_number(s) : json_text(s);
}

/* key=value lines; counters are what tables hold, so what looks like a number is one. */
static json_t *json_table(char *text)
{
    json_t *object = json_object();
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, '=');

        if (!value)
            continue;
        *value++ = '\0';
        json_object_set_new(object, line, json_value(value, value[strspn(value, "0123456789.")] == '\0'));
    }
    return object;
}

static void add_properties(json_t *to, struct rfs_service *svc, const struct rfs_property_table *table,
                           const void *object)
{
    struct rfs_text text = RFS_TEXT_INIT;

    for (size_t i = 0; i < table->count; i++) {
        const struct rfs_property *p = &table->rows[i];
        json_t *value;

        if (p->flags & RFS_PROP_SECRET)
            continue;
        rfs_text_clear(&text);
        rfs_text_puts(&text, "");
        p->render(svc, object, &text);
        value = p->flags & RFS_PROP_TABLE ? json_table(text.data)
                                          : json_value(text.data, p->flags & RFS_PROP_JSON_NUMBER);
        json_object_set_new(to, p->name, value);
    }
    rfs_text_free(&text);
}

static json_t *json_path(const char *folder, const char *name)
{
    return json_sprintf("%s/%s", folder, name);
}

static json_t *json_element(struct rfs_service *svc, const struct rfs_element *el)
{
    json_t *o = json_object(), *links = json_array();

    json_object_set_new(o, "name", json_string(el->o.name));
    add_properties(o, svc, &rfs_element_properties, el);
    for (const struct rfs_relationship *rel = el->as_source; rel; rel = rel->next_of_source)
        json_array_append_new(links, json_path("relationships", rel->o.name));
    if (el->as_target)
        json_array_append_new(links, json_path("relationships", el->as_target->o.name));
    json_object_set_new(o, "relationships", links);
    return o;
}

static json_t *json_relationship(struct rfs_service *svc, const struct rfs_relationship *rel)
{
    json_t *o = json_object(), *settings = json_object();

    json_object_set_new(o, "name", json_string(rel->o.name));
    json_object_set_new(o, "source", json_path("elements", rel->source->o.name));
    json_object_set_new(o, "target", json_path("elements", rel->target->o.name));
    json_object_set_new(o, "job", rel->job ? json_path("jobs", rel->job->o.name) : json_null());
    add_properties(o, svc, &rfs_relationship_properties, rel);
    add_properties(settings, svc, &rfs_setting_properties, rel);
    json_object_set_new(o, "settings", settings);
    return o;
}

static json_t *json_job(struct rfs_service *svc, const struct rfs_job *job)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(job->o.name));
    json_object_set_new(o, "relationship",
                        job->relationship ? json_path("relationships", job->relationship->o.name)
                                          : json_null());
    json_object_set_new(o, "source",
                        job->source_name ? json_path("elements", job->source_name) : json_null());
    json_object_set_new(o, "target",
                        job->target_name ? json_path("elements", job->target_name) : json_null());
    add_properties(o, svc, &rfs_job_properties, job);
    return o;
}

static json_t *json_time(uint64_t ms)
{
    struct rfs_text text = RFS_TEXT_INIT;
    json_t *value;

    rfs_text_time(&text, ms);
    value = json_string(text.data);
    rfs_text_free(&text);
    return value;
}

/* One lock hold, so that everything in the document was so at one instant. */
static json_t *snapshot(struct rfs_service *svc, uint64_t *generation)
{
    json_t *o = json_object(), *service = json_object(), *elements = json_array(),
           *relationships = json_array(), *jobs = json_array();
    const struct rfs_element *el;
    const struct rfs_relationship *rel;
    const struct rfs_job *job;

    rfs_service_lock(svc);
    *generation = svc->generation;
    json_object_set_new(o, "time", json_time(rfs_now_ms()));
    json_object_set_new(o, "generation", json_integer((json_int_t)svc->generation));
    json_object_set_new(o, "version", json_string(RFS_VERSION));
    add_properties(service, svc, &rfs_service_properties, svc);
    for (el = svc->elements_by_number; el; el = el->o.by_number.next)
        json_array_append_new(elements, json_element(svc, el));
    for (rel = svc->relationships_by_number; rel; rel = rel->o.by_number.next)
        json_array_append_new(relationships, json_relationship(svc, rel));
    for (job = svc->jobs_by_number; job; job = job->o.by_number.next)
        json_array_append_new(jobs, json_job(svc, job));
    rfs_service_unlock(svc);
    json_object_set_new(o, "service", service);
    json_object_set_new(o, "elements", elements);
    json_object_set_new(o, "relationships", relationships);
    json_object_set_new(o, "jobs", jobs);
    return o;
}

static int append(const char *buffer, size_t size, void *arg)
{
    rfs_text_append(arg, buffer, size);
    return 0;
}

static void refresh(struct rfs_fs *fs, struct rfs_cache *cache)
{
    json_t *document = snapshot(fs->svc, &cache->generation);

    rfs_text_clear(&cache->text);
    json_dump_callback(document, append, &cache->text, JSON_INDENT(1));
    rfs_text_puts(&cache->text, "\n");
    json_decref(document);
    cache->made_ms = rfs_mono_ms();
    cache->valid = true;
}

static uint64_t generation(struct rfs_service *svc)
{
    uint64_t g;

    rfs_service_lock(svc);
    g = svc->generation;
    rfs_service_unlock(svc);
    return g;
}

void rfs_render_status_json(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out)
{
    struct rfs_cache *cache = &fs->json;

    pthread_mutex_lock(&cache->lock);
    if (!cache->valid || cache->generation != generation(fs->svc) ||
        rfs_mono_ms() - cache->made_ms > CACHE_MS)
        refresh(fs, cache);
    rfs_text_append(out, cache->text.data, cache->text.len);
    pthread_mutex_unlock(&cache->lock);
}
