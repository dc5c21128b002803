/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the tree: the directories whose entries are objects, and the links between objects.
 * Everything needs the service lock. Link texts are relative, so that they hold wherever the tree is mounted.
 */
#ifndef RFS_FS_CHILDREN_H
#define RFS_FS_CHILDREN_H

#include "tree.h"

extern const struct rfs_children rfs_children_elements, rfs_children_relationships, rfs_children_jobs;
extern const struct rfs_children rfs_children_of_element, rfs_children_affected_elements,
    rfs_children_affected_relationships;

bool rfs_link_source(struct rfs_service *svc, const void *object, struct rfs_text *out);
bool rfs_link_target(struct rfs_service *svc, const void *object, struct rfs_text *out);
bool rfs_link_job(struct rfs_service *svc, const void *object, struct rfs_text *out);

#endif
