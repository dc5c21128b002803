/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "methods/handlers.h"
#include "model/property.h"

/* A filter compares a property as it is printed, so that what is found is what is read. */
static bool property_is(struct rfs_service *svc, const struct rfs_relationship *rel, const char *name,
                        const struct rfs_value_map *map, uint64_t number)
{
    struct rfs_text text = RFS_TEXT_INIT;
    bool same = false;

    rfs_text_puts(&text, "");
    for (size_t i = 0; i < rfs_relationship_properties.count; i++)
        if (!strcmp(rfs_relationship_properties.rows[i].name, name)) {
            rfs_relationship_properties.rows[i].render(svc, rel, &text);
            same = !strcmp(text.data, rfs_value_name(map, (int)number));
        }
    rfs_text_free(&text);
    return same;
}

static bool selected(struct rfs_service *svc, const struct rfs_relationship *rel,
                     const struct rfs_request *req)
{
    for (size_t i = 0; i < req->count; i++) {
        const struct rfs_token *t = &req->tokens[i];

        if (t->param->type == RFS_PARAM_ENUM &&
            !property_is(svc, rel, t->param->name, t->param->values, t->number))
            return false;
    }
    return true;
}

void rfs_get_replication_relationships(struct rfs_call *call)
{
    struct rfs_relationship *rel, *tmp;

    HASH_ITER (o.by_number, call->svc->relationships_by_number, rel, tmp)
        if (selected(call->svc, rel, &call->request))
            rfs_text_printf(&call->reply, "synchronizations=relationships/%s\n", rel->o.name);
    rfs_call_finish(call, RFS_RV_OK, NULL);
}
