/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "render.h"

#define BAR 20

static void put_property(struct rfs_service *svc, const struct rfs_property_table *table, const char *name,
                         const void *object, struct rfs_text *out)
{
    for (size_t i = 0; i < table->count; i++)
        if (!strcmp(table->rows[i].name, name))
            table->rows[i].render(svc, object, out);
}

static void duration(uint64_t seconds, struct rfs_text *out)
{
    unsigned long long s = seconds;

    if (s >= 86400)
        rfs_text_printf(out, "%llu d ", s / 86400);
    if (s >= 3600)
        rfs_text_printf(out, "%llu:%02llu:%02llu", s / 3600 % 24, s / 60 % 60, s % 60);
    else
        rfs_text_printf(out, "%llu:%02llu", s / 60, s % 60);
}

static void put_bar(const struct rfs_job_progress *p, struct rfs_text *out)
{
    double part = p->bytes_total ? (double)p->bytes_done / (double)p->bytes_total : 0;
    unsigned filled = (unsigned)((part > 1 ? 1 : part) * BAR);

    rfs_text_puts(out, "[");
    for (unsigned i = 0; i < BAR; i++)
        rfs_text_puts(out, i < filled ? "=" : i == filled ? ">" : ".");
    rfs_text_printf(out, "] %5.1f%% (%llu/%llu MiB)", part * 100, (unsigned long long)(p->bytes_done >> 20),
                    (unsigned long long)(p->bytes_total >> 20));
}

static void put_job(struct rfs_service *svc, const struct rfs_job *job, struct rfs_text *out)
{
    struct rfs_job_progress p;

    rfs_job_progress(job, &p);
    rfs_text_puts(out, "      ");
    put_bar(&p, out);
    if (job->job_state == RFS_job_state_RUNNING) {
        rfs_text_printf(out, " %llu MiB/s eta ", (unsigned long long)(p.bytes_per_second >> 20));
        if (p.eta == UINT64_MAX)
            rfs_text_puts(out, "?");
        else
            duration(p.eta, out);
    }
    rfs_text_puts(out, " ");
    put_property(svc, &rfs_job_properties, "operation", job, out);
    rfs_text_printf(out, " %s jobs/%s\n", rfs_value_name(&rfs_map_job_state, (int)job->job_state),
                    job->o.name);
}

static void put_error(const char *what, const char *message, struct rfs_text *out)
{
    if (message && *message)
        rfs_text_printf(out, "      %s: %s\n", what, message);
}

static void put_relationship(struct rfs_service *svc, const struct rfs_relationship *rel,
                             struct rfs_text *out)
{
    rfs_text_printf(out, "%s : %s -> %s  %s/%s  %s", rel->o.name, rel->source->o.name, rel->target->o.name,
                    rfs_value_name(&rfs_map_sync_type, (int)rel->sync_type),
                    rfs_value_name(&rfs_map_mode, (int)rel->mode),
                    rfs_value_name(&rfs_map_copy_state, (int)rel->copy_state));
    if (rel->progress_status != RFS_progress_status_COMPLETED)
        rfs_text_printf(out, " (%s)", rfs_value_name(&rfs_map_progress_status, (int)rel->progress_status));
    rfs_text_puts(out, "\n");
    if (rel->job && !rfs_job_finished(rel->job))
        put_job(svc, rel->job, out);
    put_error("error", rel->o.last_error, out);
    if (!rel->o.last_error)
        put_error("last job", rel->last_job_error, out);
}

static void put_service(struct rfs_service *svc, struct rfs_text *out)
{
    unsigned counts[8] = {0};
    const struct rfs_element *el;

    for (el = svc->elements_by_number; el; el = el->o.by_number.next)
        counts[el->state & 7]++;
    rfs_text_printf(out, "replicafs %s up ", RFS_VERSION);
    duration((rfs_now_ms() - svc->started_ms) / 1000, out);
    rfs_text_printf(
        out, ", %u relationships, %u jobs, %u elements", HASH_CNT(o.by_number, svc->relationships_by_number),
        HASH_CNT(o.by_number, svc->jobs_by_number), HASH_CNT(o.by_number, svc->elements_by_number));
    for (unsigned i = 0; i < rfs_map_element_state.count; i++) {
        const struct rfs_value *v = &rfs_map_element_state.values[i];

        if (counts[v->number & 7])
            rfs_text_printf(out, ", %u %s", counts[v->number & 7], v->name);
    }
    rfs_text_puts(out, "\n");
}

/* --- the order: what needs somebody first, then by name --- */

struct item {
    bool fine;
    const struct rfs_object *object; /* the first member of what it is */
};

static int in_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    return x->fine != y->fine ? x->fine - y->fine : strcmp(x->object->name, y->object->name);
}

static bool relationship_fine(const struct rfs_relationship *rel)
{
    return rel->copy_state != RFS_copy_state_BROKEN && rel->copy_state != RFS_copy_state_INVALID &&
           rel->copy_state != RFS_copy_state_PARTITIONED;
}

static void put_relationships(struct rfs_service *svc, struct rfs_text *out)
{
    size_t n = 0;
    struct item *items = rfs_xcalloc(HASH_CNT(o.by_number, svc->relationships_by_number) + 1, sizeof(*items));
    const struct rfs_relationship *rel;

    for (rel = svc->relationships_by_number; rel; rel = rel->o.by_number.next)
        items[n++] = (struct item){.fine = relationship_fine(rel), .object = &rel->o};
    qsort(items, n, sizeof(*items), in_order);
    for (size_t i = 0; i < n; i++)
        put_relationship(svc, (const struct rfs_relationship *)items[i].object, out);
    free(items);
}

static bool element_fine(const struct rfs_element *el)
{
    return el->state != RFS_element_state_OFFLINE && el->state != RFS_element_state_REFUSED;
}

static void put_elements(struct rfs_service *svc, struct rfs_text *out)
{
    size_t n = 0;
    struct item *items = rfs_xcalloc(HASH_CNT(o.by_number, svc->elements_by_number) + 1, sizeof(*items));
    const struct rfs_element *el;

    for (el = svc->elements_by_number; el; el = el->o.by_number.next)
        if (el->o.last_error)
            items[n++] = (struct item){.fine = element_fine(el), .object = &el->o};
    qsort(items, n, sizeof(*items), in_order);
    for (size_t i = 0; i < n; i++) {
        el = (const struct rfs_element *)items[i].object;
        rfs_text_printf(out, "elements/%s : %s\n      error: %s\n", el->o.name,
                        rfs_value_name(&rfs_map_element_state, (int)el->state), el->o.last_error);
    }
    free(items);
}

void rfs_render_status(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out)
{
    rfs_service_lock(fs->svc);
    put_service(fs->svc, out);
    put_relationships(fs->svc, out);
    put_elements(fs->svc, out);
    rfs_service_unlock(fs->svc);
}
