/* SPDX-License-Identifier: Apache-2.0 */
#include "model/object.h"

#include <stdlib.h>
#include <string.h>

#include "model/record.h"

/* Every string an object owns, so that publishing and freeing cannot forget one. */
static unsigned element_strings(struct rfs_element *el, char **s[8])
{
    unsigned n = 0;

    s[n++] = &el->o.name;
    s[n++] = &el->o.last_error;
    s[n++] = &el->o.last_refusal;
    s[n++] = &el->url;
    s[n++] = &el->username;
    s[n++] = &el->password;
    s[n++] = &el->target_username;
    s[n++] = &el->target_password;
    return n;
}

static unsigned relationship_strings(struct rfs_relationship *rel, char **s[8])
{
    unsigned n = 0;

    s[n++] = &rel->o.name;
    s[n++] = &rel->o.last_error;
    s[n++] = &rel->o.last_refusal;
    s[n++] = &rel->last_job_error;
    return n;
}

static unsigned job_strings(struct rfs_job *job, char **s[8])
{
    unsigned n = 0;

    s[n++] = &job->o.name;
    s[n++] = &job->o.last_error;
    s[n++] = &job->o.last_refusal;
    s[n++] = &job->method_name;
    s[n++] = &job->relationship_name;
    s[n++] = &job->source_name;
    s[n++] = &job->target_name;
    s[n++] = &job->error_description;
    return n;
}

/* Frees those strings of `from` that `keep` does not have. */
static void free_other(char **from[8], char **keep[8], unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!keep || *from[i] != *keep[i]) {
            if (*from[i])
                explicit_bzero(*from[i], strlen(*from[i]));
            free(*from[i]);
        }
}

void rfs_free_element(struct rfs_element *el)
{
    char **s[8];

    if (!el)
        return;
    free_other(s, NULL, element_strings(el, s));
    free(el);
}

void rfs_free_relationship(struct rfs_relationship *rel)
{
    char **s[8];

    if (!rel)
        return;
    free_other(s, NULL, relationship_strings(rel, s));
    free(rel);
}

void rfs_free_job(struct rfs_job *job)
{
    char **s[8];

    if (!job)
        return;
    free_other(s, NULL, job_strings(job, s));
    free(job);
}

/* Frees what `drop` has and `keep` has not; the two are versions of the same objects. */
static void free_versions(const struct rfs_edit *edit, bool old)
{
    char **a[8], **b[8];

    if (edit->el) {
        element_strings(old ? edit->el_next : edit->el, b);
        free_other(a, b, element_strings(old ? edit->el : edit->el_next, a));
    }
    if (edit->rel) {
        relationship_strings(old ? edit->rel_next : edit->rel, b);
        free_other(a, b, relationship_strings(old ? edit->rel : edit->rel_next, a));
    }
    if (edit->job) {
        job_strings(old ? edit->job_next : edit->job, b);
        free_other(a, b, job_strings(old ? edit->job : edit->job_next, a));
    }
}

static void bump(struct rfs_service *svc, struct rfs_object *o)
{
    o->generation++;
    o->changed_ms = rfs_now_ms();
    svc->generation++;
}

static void tell(struct rfs_service *svc, struct rfs_object *o, bool removed)
{
    if (svc->observer.changed)
        svc->observer.changed(svc->observer.arg, o->kind, o->number, o->name, removed);
}

void rfs_changed(struct rfs_service *svc, struct rfs_object *o)
{
    rfs_service_lock(svc);
    bump(svc, o);
    rfs_service_unlock(svc);
    tell(svc, o, false);
    rfs_waiters_check(o);
}

void rfs_publish_volatile(struct rfs_service *svc, const struct rfs_edit *edit)
{
    rfs_service_lock(svc);
    free_versions(edit, true);
    if (edit->el)
        *edit->el = *edit->el_next;
    if (edit->rel)
        *edit->rel = *edit->rel_next;
    if (edit->job)
        *edit->job = *edit->job_next;
    rfs_service_unlock(svc);
    if (edit->el)
        rfs_changed(svc, &edit->el->o);
    /* The job first: who waits for the relationship may look at the job next. */
    if (edit->job)
        rfs_changed(svc, &edit->job->o);
    if (edit->rel)
        rfs_changed(svc, &edit->rel->o);
}

int rfs_publish(struct rfs_service *svc, const struct rfs_edit *edit, struct rfs_error *err)
{
    rfs_catalogue_begin(svc->catalogue);
    if (edit->el)
        rfs_record_put_element(svc, edit->el_next);
    if (edit->rel)
        rfs_record_put_relationship(svc, edit->rel_next);
    if (edit->job)
        rfs_record_put_job(svc, edit->job_next);
    if (edit->new_rel)
        rfs_record_put_relationship(svc, edit->new_rel);
    if (edit->new_job)
        rfs_record_put_job(svc, edit->new_job);
    if (edit->gone)
        rfs_catalogue_delete(svc->catalogue, RFS_CAT_RELATIONSHIP, edit->gone->o.number);
    if (rfs_catalogue_commit(svc->catalogue, err)) {
        free_versions(edit, false);
        return -1;
    }
    if (edit->new_job)
        rfs_insert_job(svc, edit->new_job);
    if (edit->new_rel)
        rfs_insert_relationship(svc, edit->new_rel);
    rfs_publish_volatile(svc, edit);
    return 0;
}

void rfs_insert_element(struct rfs_service *svc, struct rfs_element *el)
{
    rfs_service_lock(svc);
    HASH_ADD(o.by_number, svc->elements_by_number, o.number, sizeof(el->o.number), el);
    HASH_ADD_KEYPTR(o.by_name, svc->elements_by_name, el->o.name, strlen(el->o.name), el);
    svc->generation++;
    rfs_service_unlock(svc);
    tell(svc, &el->o, false);
}

void rfs_insert_relationship(struct rfs_service *svc, struct rfs_relationship *rel)
{
    rfs_service_lock(svc);
    HASH_ADD(o.by_number, svc->relationships_by_number, o.number, sizeof(rel->o.number), rel);
    HASH_ADD_KEYPTR(o.by_name, svc->relationships_by_name, rel->o.name, strlen(rel->o.name), rel);
    rel->next_of_source = rel->source->as_source;
    rel->source->as_source = rel;
    rel->target->as_target = rel;
    svc->generation++;
    rfs_service_unlock(svc);
    tell(svc, &rel->o, false);
    rfs_changed(svc, &rel->source->o);
    rfs_changed(svc, &rel->target->o);
}

void rfs_insert_job(struct rfs_service *svc, struct rfs_job *job)
{
    rfs_service_lock(svc);
    HASH_ADD(o.by_number, svc->jobs_by_number, o.number, sizeof(job->o.number), job);
    svc->generation++;
    rfs_service_unlock(svc);
    tell(svc, &job->o, false);
}

void rfs_drop_element(struct rfs_service *svc, struct rfs_element *el)
{
    struct rfs_error err;

    rfs_service_lock(svc);
    HASH_DELETE(o.by_number, svc->elements_by_number, el);
    HASH_DELETE(o.by_name, svc->elements_by_name, el);
    svc->generation++;
    rfs_service_unlock(svc);
    rfs_fail(&err, RFS_RV_NOT_FOUND, "elements/%s was removed", el->o.name);
    rfs_waiters_end(&el->o, false, &err);
    tell(svc, &el->o, true);
    rfs_free_element(el);
}

static void untie(struct rfs_relationship *rel)
{
    struct rfs_relationship **at = &rel->source->as_source;

    while (*at && *at != rel)
        at = &(*at)->next_of_source;
    if (*at)
        *at = rel->next_of_source;
    if (rel->target->as_target == rel)
        rel->target->as_target = NULL;
}

void rfs_drop_relationship(struct rfs_service *svc, struct rfs_relationship *rel, bool done,
                           const struct rfs_error *err)
{
    struct rfs_element *source = rel->source, *target = rel->target;
    struct rfs_job *job, *tmp;

    rfs_service_lock(svc);
    HASH_DELETE(o.by_number, svc->relationships_by_number, rel);
    HASH_DELETE(o.by_name, svc->relationships_by_name, rel);
    untie(rel);
    HASH_ITER (o.by_number, svc->jobs_by_number, job, tmp)
        if (job->relationship == rel)
            job->relationship = NULL;
    svc->generation++;
    rfs_service_unlock(svc);
    rfs_waiters_end(&rel->o, done, err);
    tell(svc, &rel->o, true);
    rfs_changed(svc, &source->o);
    rfs_changed(svc, &target->o);
    rfs_free_relationship(rel);
}

void rfs_drop_job(struct rfs_service *svc, struct rfs_job *job)
{
    struct rfs_error err;

    rfs_service_lock(svc);
    HASH_DELETE(o.by_number, svc->jobs_by_number, job);
    if (job->relationship && job->relationship->job == job)
        job->relationship->job = NULL;
    svc->generation++;
    rfs_service_unlock(svc);
    rfs_fail(&err, RFS_RV_NOT_FOUND, "jobs/%s was removed", job->o.name);
    rfs_waiters_end(&job->o, false, &err);
    tell(svc, &job->o, true);
    rfs_free_job(job);
}

static void replace(struct rfs_service *svc, struct rfs_object *o, char **slot, const char *message)
{
    if ((!message && !*slot) || (message && *slot && !strcmp(message, *slot)))
        return;
    rfs_service_lock(svc);
    free(*slot);
    *slot = rfs_xstrdup(message);
    rfs_service_unlock(svc);
    rfs_changed(svc, o);
}

void rfs_set_last_error(struct rfs_service *svc, struct rfs_object *o, const char *message)
{
    replace(svc, o, &o->last_error, message);
}

void rfs_set_refusal(struct rfs_service *svc, struct rfs_object *o, const char *message)
{
    replace(svc, o, &o->last_refusal, message);
}

int rfs_check_generation(const struct rfs_object *o, const char *path, const struct rfs_request *req,
                         struct rfs_error *err)
{
    const struct rfs_token *t = rfs_request_get(req, "generation");

    if (!t || t->number == o->generation)
        return 0;
    return rfs_fail(
        err, RFS_RV_OUT_OF_DATE,
        "%s/%s has changed: its generation is %llu, the request was made for %llu; look at it again", path,
        o->name, (unsigned long long)o->generation, (unsigned long long)t->number);
}
