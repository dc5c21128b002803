/* SPDX-License-Identifier: Apache-2.0 */
#include "children.h"

#include <stdlib.h>
#include <string.h>

#define LIST(name)                                                                                           \
    static void name(struct rfs_service *svc, uint64_t number,                                               \
                     void (*emit)(void *arg, const char *name, struct rfs_node node), void *arg)
#define FIND(name)                                                                                           \
    static bool name(struct rfs_service *svc, uint64_t number, const char *wanted, struct rfs_node *node)
#define LINK(name) static bool name(struct rfs_service *svc, struct rfs_node node, struct rfs_text *out)

/* --- elements/, relationships/, jobs/ --- */

LIST(list_elements)
{
    struct rfs_element *el, *tmp;

    HASH_ITER (o.by_number, svc->elements_by_number, el, tmp)
        emit(arg, el->o.name, (struct rfs_node){.dir = RFS_DIR_ELEMENT, .number = el->o.number});
}

FIND(find_element)
{
    const struct rfs_element *el = rfs_element_by_name(svc, wanted);

    if (el)
        *node = (struct rfs_node){.dir = RFS_DIR_ELEMENT, .number = el->o.number};
    return el != NULL;
}

LIST(list_relationships)
{
    struct rfs_relationship *rel, *tmp;

    HASH_ITER (o.by_number, svc->relationships_by_number, rel, tmp)
        emit(arg, rel->o.name, (struct rfs_node){.dir = RFS_DIR_RELATIONSHIP, .number = rel->o.number});
}

FIND(find_relationship)
{
    const struct rfs_relationship *rel = rfs_relationship_by_name(svc, wanted);

    if (rel)
        *node = (struct rfs_node){.dir = RFS_DIR_RELATIONSHIP, .number = rel->o.number};
    return rel != NULL;
}

LIST(list_jobs)
{
    struct rfs_job *job, *tmp;

    HASH_ITER (o.by_number, svc->jobs_by_number, job, tmp)
        emit(arg, job->o.name, (struct rfs_node){.dir = RFS_DIR_JOB, .number = job->o.number});
}

FIND(find_job)
{
    const struct rfs_job *job;

    if (!*wanted || *wanted == '0' || strlen(wanted) > 18 || wanted[strspn(wanted, "0123456789")])
        return false;
    job = rfs_job_by_number(svc, strtoull(wanted, NULL, 10));
    if (job)
        *node = (struct rfs_node){.dir = RFS_DIR_JOB, .number = job->o.number};
    return job != NULL;
}

const struct rfs_children rfs_children_elements = {
    .shown = "NAME",
    .help = "one a volume; mkdir creates, rmdir removes",
    .list = list_elements,
    .find = find_element,
    .create = rfs_element_create,
    .remove = rfs_element_remove,
};

const struct rfs_children rfs_children_relationships = {
    .shown = "NAME",
    .help = "one a relationship",
    .list = list_relationships,
    .find = find_relationship,
    .no_create = "write a request to service/attach_replica instead",
    .no_remove = "write Detach to the relationship's operation instead",
};

const struct rfs_children rfs_children_jobs = {
    .shown = "N",
    .help = "one a job; numbers are never used twice; rmdir removes a finished one",
    .list = list_jobs,
    .find = find_job,
    .remove = rfs_job_remove,
    .no_create = "methods start jobs, for example service/attach_replica",
};

/* --- links: row 1 is the source's side, row 2 the target's, so each link has a number of its own --- */

enum { SIDE_SOURCE = 1, SIDE_TARGET = 2 };

static const struct rfs_element *element_on_side(const struct rfs_relationship *rel, unsigned side)
{
    return side == SIDE_SOURCE ? rel->source : side == SIDE_TARGET ? rel->target : NULL;
}

static struct rfs_node link_node(enum rfs_dir_id dir, unsigned side, uint64_t number)
{
    return (struct rfs_node){.dir = dir, .row = side, .number = number};
}

LIST(list_of_element)
{
    const struct rfs_element *el = rfs_element_by_number(svc, number);

    if (!el)
        return;
    for (const struct rfs_relationship *rel = el->as_source; rel; rel = rel->next_of_source)
        emit(arg, rel->o.name, link_node(RFS_DIR_ELEMENT_RELATIONSHIPS, SIDE_SOURCE, rel->o.number));
    if (el->as_target)
        emit(arg, el->as_target->o.name,
             link_node(RFS_DIR_ELEMENT_RELATIONSHIPS, SIDE_TARGET, el->as_target->o.number));
}

FIND(find_of_element)
{
    const struct rfs_relationship *rel = rfs_relationship_by_name(svc, wanted);

    for (unsigned side = SIDE_SOURCE; rel && side <= SIDE_TARGET; side++)
        if (element_on_side(rel, side)->o.number == number) {
            *node = link_node(RFS_DIR_ELEMENT_RELATIONSHIPS, side, rel->o.number);
            return true;
        }
    return false;
}

LINK(link_of_element)
{
    const struct rfs_relationship *rel = rfs_relationship_by_number(svc, node.number);

    if (!rel || node.row > SIDE_TARGET)
        return false;
    rfs_text_printf(out, "../../../relationships/%s", rel->o.name);
    return true;
}

/* The element itself may have gone since; its number is not used again. */
static const struct rfs_element *affected_element(struct rfs_service *svc, const struct rfs_job *job,
                                                  unsigned side)
{
    if (side != SIDE_SOURCE && side != SIDE_TARGET)
        return NULL;
    return rfs_element_by_number(svc, side == SIDE_SOURCE ? job->source_number : job->target_number);
}

LIST(list_affected_elements)
{
    const struct rfs_job *job = rfs_job_by_number(svc, number);

    for (unsigned side = SIDE_SOURCE; job && side <= SIDE_TARGET; side++) {
        const struct rfs_element *el = affected_element(svc, job, side);

        if (el)
            emit(arg, el->o.name, link_node(RFS_DIR_AFFECTED_ELEMENTS, side, number));
    }
}

FIND(find_affected_element)
{
    const struct rfs_job *job = rfs_job_by_number(svc, number);

    for (unsigned side = SIDE_SOURCE; job && side <= SIDE_TARGET; side++) {
        const struct rfs_element *el = affected_element(svc, job, side);

        if (el && !strcmp(el->o.name, wanted)) {
            *node = link_node(RFS_DIR_AFFECTED_ELEMENTS, side, number);
            return true;
        }
    }
    return false;
}

LINK(link_affected_element)
{
    const struct rfs_job *job = rfs_job_by_number(svc, node.number);
    const struct rfs_element *el = job ? affected_element(svc, job, node.row) : NULL;

    if (el)
        rfs_text_printf(out, "../../../../elements/%s", el->o.name);
    return el != NULL;
}

static const struct rfs_relationship *affected_relationship(struct rfs_service *svc, uint64_t job_number)
{
    const struct rfs_job *job = rfs_job_by_number(svc, job_number);

    return job ? rfs_relationship_by_number(svc, job->relationship_number) : NULL;
}

LIST(list_affected_relationships)
{
    const struct rfs_relationship *rel = affected_relationship(svc, number);

    if (rel)
        emit(arg, rel->o.name, link_node(RFS_DIR_AFFECTED_RELATIONSHIPS, SIDE_SOURCE, number));
}

FIND(find_affected_relationship)
{
    const struct rfs_relationship *rel = affected_relationship(svc, number);

    if (!rel || strcmp(rel->o.name, wanted))
        return false;
    *node = link_node(RFS_DIR_AFFECTED_RELATIONSHIPS, SIDE_SOURCE, number);
    return true;
}

LINK(link_affected_relationship)
{
    const struct rfs_relationship *rel = affected_relationship(svc, node.number);

    if (!rel || node.row != SIDE_SOURCE)
        return false;
    rfs_text_printf(out, "../../../../relationships/%s", rel->o.name);
    return true;
}

#define LINKS_ONLY "the links here follow the relationships and jobs"

const struct rfs_children rfs_children_of_element = {
    .shown = "NAME",
    .help = "link to each relationship that the element is in",
    .list = list_of_element,
    .find = find_of_element,
    .link = link_of_element,
    .no_create = LINKS_ONLY,
    .no_remove = LINKS_ONLY,
};

const struct rfs_children rfs_children_affected_elements = {
    .shown = "NAME",
    .help = "link to each element that the job works on",
    .list = list_affected_elements,
    .find = find_affected_element,
    .link = link_affected_element,
    .no_create = LINKS_ONLY,
    .no_remove = LINKS_ONLY,
};

const struct rfs_children rfs_children_affected_relationships = {
    .shown = "NAME",
    .help = "link to the relationship that the job works for",
    .list = list_affected_relationships,
    .find = find_affected_relationship,
    .link = link_affected_relationship,
    .no_create = LINKS_ONLY,
    .no_remove = LINKS_ONLY,
};

bool rfs_link_source(struct rfs_service *svc, const void *object, struct rfs_text *out)
{
    rfs_text_printf(out, "../../elements/%s", ((const struct rfs_relationship *)object)->source->o.name);
    return true;
}

bool rfs_link_target(struct rfs_service *svc, const void *object, struct rfs_text *out)
{
    rfs_text_printf(out, "../../elements/%s", ((const struct rfs_relationship *)object)->target->o.name);
    return true;
}

bool rfs_link_job(struct rfs_service *svc, const void *object, struct rfs_text *out)
{
    const struct rfs_job *job = ((const struct rfs_relationship *)object)->job;

    if (job)
        rfs_text_printf(out, "../../jobs/%s", job->o.name);
    return job != NULL;
}
