/* SPDX-License-Identifier: Apache-2.0
 *
 * The properties of each kind of object: one table a kind, from which come the attribute files, the documents
 * that list properties, and their help. Rendering needs the service lock and never touches a LUN.
 */
#ifndef RFS_MODEL_PROPERTY_H
#define RFS_MODEL_PROPERTY_H

#include <sys/types.h>

#include "model/model.h"

enum rfs_property_flags {
    RFS_PROP_POLL = 1,        /* poll(2) wakes on change */
    RFS_PROP_TABLE = 2,       /* several key=value lines instead of one line */
    RFS_PROP_SECRET = 4,      /* mode 0200; reading answers EACCES, root or not */
    RFS_PROP_JSON_NUMBER = 8, /* status.json: a number or a boolean instead of a string */
};

struct rfs_property {
    const char *name;
    mode_t mode; /* 0444, 0644, 0200 */
    unsigned flags;
    const char *help; /* one line for README/docs/tree.md */
    /* Appends the value without a newline (RFS_PROP_TABLE: with newlines); nothing = the empty value (NULL).
     */
    void (*render)(struct rfs_service *svc, const void *object, struct rfs_text *out);
};

struct rfs_property_table {
    const struct rfs_property *rows;
    size_t count;
};

extern const struct rfs_property_table rfs_element_properties;
extern const struct rfs_property_table rfs_relationship_properties;
extern const struct rfs_property_table rfs_setting_properties; /* object: struct rfs_relationship */
extern const struct rfs_property_table rfs_job_properties;
extern const struct rfs_property_table rfs_service_properties; /* object: struct rfs_service */

#endif
