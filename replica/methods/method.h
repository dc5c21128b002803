/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of methods: every control file of the tree is one row, with its parameters, help and handler.
 * Usage texts, parameter checks, docs and the tree come from it. Constant data; any thread.
 */
#ifndef RFS_METHODS_METHOD_H
#define RFS_METHODS_METHOD_H

#include <sys/types.h>

#include "model/call.h"
#include "model/model.h"
#include "model/request.h"

enum rfs_method_place {
    RFS_PLACE_SERVICE,      /* service/ */
    RFS_PLACE_CAPABILITIES, /* service/capabilities/ */
    RFS_PLACE_ELEMENT,      /* elements/NAME/ */
    RFS_PLACE_RELATIONSHIP, /* relationships/NAME/ */
    RFS_PLACE_JOB,          /* jobs/N/ */
};

enum rfs_method_flags {
    RFS_METHOD_SETTINGS = 1, /* takes setting.NAME=value */
    RFS_METHOD_QUERY = 2,    /* changes nothing: mode 0666 */
};

struct rfs_method {
    const char *name;     /* of the file */
    const char *cim_name; /* of the standard, or NULL where it is ours */
    enum rfs_method_place place;
    mode_t mode; /* 0666 query, 0600 modifying, 0200 write-only */
    unsigned flags;
    const struct rfs_param *params; /* ends with a NULL name */
    void (*handler)(struct rfs_call *call);
    const char *help;    /* a line or two */
    const char *outputs; /* "job synchronization", or NULL */
    const char *example; /* a request */
    const char *returns; /* "0 4096 1 4 5 6 8 32768 32769" */
    /* Reading a freshly opened file: NULL = the usage text; `operation` renders the legal operations instead.
     * Lock held. */
    void (*render)(struct rfs_service *svc, const void *object, struct rfs_text *out);
};

const struct rfs_method *rfs_method_table(size_t *count);
const struct rfs_method *rfs_method_find(enum rfs_method_place place, const char *name); /* NULL: none */

/* '#' lines: what it does, parameters with types and values, outputs, return values, an example. */
void rfs_method_usage(const struct rfs_method *method, struct rfs_text *out);

/* Handlers of writes that are not methods. Each takes call->object, call->attribute and call->value. */
void rfs_element_create(struct rfs_call *call);     /* mkdir elements/VALUE */
void rfs_element_remove(struct rfs_call *call);     /* rmdir */
void rfs_element_write(struct rfs_call *call);      /* an attribute of an element */
void rfs_relationship_write(struct rfs_call *call); /* a writable property or setting of a relationship */
void rfs_job_write(struct rfs_call *call);          /* a writable attribute of a job */
void rfs_job_remove(struct rfs_call *call);         /* rmdir */

#endif
