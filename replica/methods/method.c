/* SPDX-License-Identifier: Apache-2.0 */
#include "methods/method.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "methods/handlers.h"

#define END                                                                                                  \
    {                                                                                                        \
        NULL, NULL, RFS_PARAM_STRING, 0, NULL, NULL                                                          \
    }
/* What every creating and modifying method also takes (design section 3, rule 1). */
#define FORCE                                                                                                \
    {                                                                                                        \
        "force", NULL, RFS_PARAM_BOOL, 0, NULL,                                                              \
            "1: do it although something would be overwritten or left incomplete"                            \
    }
#define WAIT_FOR                                                                                             \
    {                                                                                                        \
        "wait_for_copy_state", NULL, RFS_PARAM_ENUM, 0, &rfs_map_copy_state,                                 \
            "answer only when this CopyState has been reached; NotApplicable = do not wait"                  \
    }
#define TIMEOUT                                                                                              \
    {                                                                                                        \
        "timeout", NULL, RFS_PARAM_INTERVAL, 0, NULL,                                                        \
            "seconds to wait at most; then Timeout, the operation goes on"                                   \
    }
#define GENERATION                                                                                           \
    {                                                                                                        \
        "generation", NULL, RFS_PARAM_UINT, 0, NULL,                                                         \
            "refuse with Cache Out of Date unless the object's generation is this"                           \
    }
#define STATE(map, help)                                                                                     \
    {                                                                                                        \
        "state", NULL, RFS_PARAM_ENUM, RFS_PARAM_REQUIRED | RFS_PARAM_BARE, &rfs_map_##map, help             \
    }

static const struct rfs_param attach_params[] = {
    {"source_element", "source", RFS_PARAM_ELEMENT, RFS_PARAM_REQUIRED, NULL,
     "SourceElement: what is copied"},
    {"target_element", "target", RFS_PARAM_ELEMENT, RFS_PARAM_REQUIRED, NULL,
     "TargetElement: what is overwritten"},
    {"copy_type", NULL, RFS_PARAM_ENUM, RFS_PARAM_REQUIRED, &rfs_map_copy_type,
     "Async and Sync: a mirror of that Mode; UnSyncAssoc: a clone that stays associated; UnSyncUnAssoc: a "
     "clone whose "
     "relationship goes when the copy is complete"},
    {"name", NULL, RFS_PARAM_NAME, 0, NULL, "name of the relationship; SOURCE-TARGET otherwise"},
    FORCE,
    WAIT_FOR,
    TIMEOUT,
    END};

static const struct rfs_param modify_params[] = {
    {"operation", NULL, RFS_PARAM_ENUM, RFS_PARAM_REQUIRED, &rfs_map_operation, "Operation"},
    {"synchronization", NULL, RFS_PARAM_RELATIONSHIP, RFS_PARAM_REQUIRED, NULL,
     "Synchronization: the relationship"},
    FORCE,
    WAIT_FOR,
    TIMEOUT,
    GENERATION,
    END};

static const struct rfs_param relationships_params[] = {
    {"type", NULL, RFS_PARAM_ENUM, 0, &rfs_map_relationship_type, "Type"},
    {"sync_type", NULL, RFS_PARAM_ENUM, 0, &rfs_map_sync_type, "SyncType"},
    {"mode", NULL, RFS_PARAM_ENUM, 0, &rfs_map_mode, "Mode"},
    {"locality", NULL, RFS_PARAM_ENUM, 0, &rfs_map_locality, "Locality"},
    {"copy_state", NULL, RFS_PARAM_ENUM, 0, &rfs_map_copy_state, "CopyState"},
    {"all", NULL, RFS_PARAM_BOOL, 0, NULL, "1: no filter; a request must not be empty"},
    END};

static const struct rfs_param operation_params[] = {
    {"operation", NULL, RFS_PARAM_ENUM, RFS_PARAM_REQUIRED | RFS_PARAM_BARE, &rfs_map_operation, "Operation"},
    FORCE,
    WAIT_FOR,
    TIMEOUT,
    GENERATION,
    END};

static const struct rfs_param wait_relationship_params[] = {STATE(copy_state, "CopyState to wait for"),
                                                            TIMEOUT, END};
static const struct rfs_param wait_element_params[] = {STATE(element_state, "state to wait for"), TIMEOUT,
                                                       END};
static const struct rfs_param wait_job_params[] = {STATE(job_state, "JobState to wait for"), TIMEOUT, END};

static const struct rfs_param set_params[] = {
    {"url", NULL, RFS_PARAM_STRING, 0, NULL, "iscsi://HOST[:PORT]/IQN/LUN or file:/PATH"},
    {"username", NULL, RFS_PARAM_STRING, 0, NULL, "CHAP user name"},
    {"password", NULL, RFS_PARAM_SECRET, 0, NULL, "CHAP secret"},
    {"password_file", NULL, RFS_PARAM_STRING, 0, NULL,
     "file whose first line is the CHAP secret; not readable by others"},
    {"target_username", NULL, RFS_PARAM_STRING, 0, NULL, "CHAP user name of the target (mutual)"},
    {"target_password", NULL, RFS_PARAM_SECRET, 0, NULL, "CHAP secret of the target (mutual)"},
    {"target_password_file", NULL, RFS_PARAM_STRING, 0, NULL, "file with it"},
    {"header_digest", NULL, RFS_PARAM_BOOL, 0, NULL, "1: offer CRC32C over headers"},
    {"offline_ok", NULL, RFS_PARAM_BOOL, 0, NULL, "1: store also what cannot be reached now"},
    GENERATION,
    END};

static const struct rfs_param request_state_params[] = {
    {"requested_state", NULL, RFS_PARAM_ENUM, RFS_PARAM_REQUIRED | RFS_PARAM_BARE, &rfs_map_requested_state,
     "Start (goes on with a suspended job), Suspend, Terminate (keeps what was copied), Kill"},
    {"timeout_period", NULL, RFS_PARAM_INTERVAL, 0, NULL, "not supported: must be 0 or absent"},
    END};

static void render_operations(struct rfs_service *svc, const void *object, struct rfs_text *out)
{
    rfs_legal_operations(object, out);
}

static const struct rfs_method table[] = {
    {"attach_replica", "AttachReplica", RFS_PLACE_SERVICE, 0600, RFS_METHOD_SETTINGS, attach_params,
     rfs_attach_replica,
     "Makes TargetElement a replica of SourceElement and starts the copy.\n"
     "A mirror's target is brought in step once; later writes to the source are not yet followed in this "
     "version.",
     "job synchronization",
     "source_element=elements/a target_element=elements/b copy_type=Sync name=db setting.verify=copied",
     "0 3 4 5 6 8 4096 32769 40001 40002", NULL},
    {"modify_replica_synchronization", "ModifyReplicaSynchronization", RFS_PLACE_SERVICE, 0600,
     RFS_METHOD_SETTINGS, modify_params, rfs_modify_replica_synchronization,
     "Carries out an operation on a relationship; reading relationships/NAME/operation tells which are "
     "legal.",
     "job synchronization", "operation=Suspend synchronization=relationships/db",
     "0 1 3 4 5 6 8 4096 32768 32769 40002 40003", NULL},
    {"get_replication_relationships", "GetReplicationRelationships", RFS_PLACE_SERVICE, 0666,
     RFS_METHOD_QUERY, relationships_params, rfs_get_replication_relationships,
     "Lists relationships; each filter is optional, all given ones must hold.", "synchronizations",
     "sync_type=Mirror copy_state=Synchronized", "0 5", NULL},
    {"set", NULL, RFS_PLACE_ELEMENT, 0200, 0, set_params, rfs_element_set,
     "Sets several attributes of the element at once, all or nothing; connects with the new values.", NULL,
     "url=iscsi://192.0.2.7/iqn.2026-11.com.example:disk/1 username=u password_file=/etc/replicafs/secret",
     "0 3 4 5 6 8 40001 40002 40003", NULL},
    {"wait", NULL, RFS_PLACE_ELEMENT, 0200, 0, wait_element_params, rfs_element_wait,
     "Is answered when the element has reached the state.", NULL, "Online timeout=60", "0 3 4 5", NULL},
    {"operation", "ModifyReplicaSynchronization", RFS_PLACE_RELATIONSHIP, 0600, RFS_METHOD_SETTINGS,
     operation_params, rfs_relationship_operation,
     "Carries out an operation on this relationship. Reading it lists the operations that are legal now.",
     "job synchronization", "ResyncReplica wait_for_copy_state=Synchronized timeout=600",
     "0 1 3 4 5 6 4096 32768 32769 40002 40003", render_operations},
    {"wait", NULL, RFS_PLACE_RELATIONSHIP, 0200, 0, wait_relationship_params, rfs_relationship_wait,
     "Is answered when the relationship has reached the CopyState.", NULL, "Synchronized timeout=3600",
     "0 3 4 5", NULL},
    {"request_state_change", "RequestStateChange", RFS_PLACE_JOB, 0600, 0, request_state_params,
     rfs_job_request_state, "Asks the job to change its state.", NULL, "Suspend", "0 4096 4097 4098 5 6",
     NULL},
    {"wait", NULL, RFS_PLACE_JOB, 0200, 0, wait_job_params, rfs_job_wait,
     "Is answered when the job has reached the JobState.", NULL, "Completed timeout=3600", "0 3 4 5", NULL},
};

const struct rfs_method *rfs_method_table(size_t *count)
{
    *count = sizeof(table) / sizeof(table[0]);
    return table;
}

const struct rfs_method *rfs_method_find(enum rfs_method_place place, const char *name)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].place == place && !strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}

static const char *type_text(enum rfs_param_type type)
{
    switch (type) {
    case RFS_PARAM_STRING:
        return "text";
    case RFS_PARAM_NAME:
        return "name";
    case RFS_PARAM_BOOL:
        return "0 or 1";
    case RFS_PARAM_UINT:
        return "number";
    case RFS_PARAM_ENUM:
        return "";
    case RFS_PARAM_INTERVAL:
        return "seconds";
    case RFS_PARAM_ELEMENT:
        return "elements/NAME";
    case RFS_PARAM_RELATIONSHIP:
        return "relationships/NAME";
    case RFS_PARAM_JOB:
        return "jobs/N";
    case RFS_PARAM_SECRET:
        return "secret";
    }
    return "";
}

static void usage_param(const struct rfs_param *p, struct rfs_text *out)
{
    rfs_text_printf(out, "#   %s%s%s", p->name, p->alias ? ", " : "", p->alias ? p->alias : "");
    rfs_text_printf(out, " (%s%s", type_text(p->type), p->type == RFS_PARAM_ENUM ? "" : ", ");
    if (p->type == RFS_PARAM_ENUM) {
        rfs_value_list(p->values, true, out);
        rfs_text_puts(out, "; ");
    }
    rfs_text_printf(out, "%s%s)\n#       %s\n", p->flags & RFS_PARAM_REQUIRED ? "required" : "optional",
                    p->flags & RFS_PARAM_ARRAY  ? ", may be repeated"
                    : p->flags & RFS_PARAM_BARE ? ", may stand first without its key"
                                                : "",
                    p->help);
}

static void usage_returns(const char *returns, struct rfs_text *out)
{
    char *copy = rfs_xstrdup(returns), *save = NULL;

    rfs_text_puts(out, "# Return values:");
    for (char *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save)) {
        const char *text = rfs_rv_text((enum rfs_rv)strtoul(s, NULL, 10));

        rfs_text_printf(out, "%s %s %s", s == copy ? "" : ";", s, text ? text : "");
    }
    rfs_text_puts(out, "\n");
    free(copy);
}

/* Every line of a help text as a comment line. */
static void usage_help(const char *help, struct rfs_text *out)
{
    while (*help) {
        size_t len = strcspn(help, "\n");

        rfs_text_printf(out, "# %.*s\n", (int)len, help);
        help += len + (help[len] == '\n');
    }
}

void rfs_method_usage(const struct rfs_method *m, struct rfs_text *out)
{
    rfs_text_printf(out, "# %s%s%s%s\n", m->name, m->cim_name ? " (" : "", m->cim_name ? m->cim_name : "",
                    m->cim_name ? ")" : "");
    usage_help(m->help, out);
    rfs_text_puts(out, "# Write one line of key=value words, then read the reply from the same "
                       "descriptor.\n# Parameters:\n");
    for (const struct rfs_param *p = m->params; p->name; p++)
        usage_param(p, out);
    if (m->flags & RFS_METHOD_SETTINGS)
        rfs_text_puts(out, "#   setting.NAME (optional)\n#       a setting of the relationship, as in "
                           "relationships/NAME/settings/\n");
    if (m->outputs)
        rfs_text_printf(out, "# Reply: return_value message %s\n", m->outputs);
    usage_returns(m->returns, out);
    rfs_text_printf(out, "# Example:\n#   %s\n", m->example);
}
