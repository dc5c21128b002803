/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree as tables: one table a directory, one row a name. lookup, getattr, readdir, open and --print-tree read the
 * same rows; the rows of an object's directory are taken from the model's property and method tables, so that nothing
 * is listed twice. Directories of objects (elements/ …) have children instead of rows.
 *
 * A tree is made once and constant from then on; any thread. Functions that take `svc` need the service lock.
 */
#ifndef RFS_FS_TREE_H
#define RFS_FS_TREE_H

#include <stdbool.h>
#include <sys/types.h>

#include "methods/method.h"
#include "model/property.h"
#include "node.h"

struct rfs_fs;
struct rfs_caller;

enum rfs_row_kind {
    RFS_ROW_DIR,
    RFS_ROW_DOCUMENT, /* rendered here: README, status … */
    RFS_ROW_EVENTS,
    RFS_ROW_PROPERTY,
    RFS_ROW_METHOD,
    RFS_ROW_LINK,
};

struct rfs_row {
    const char *name;
    enum rfs_row_kind kind;
    mode_t mode; /* permission bits */
    const char *help;

    enum rfs_dir_id dir; /* DIR */
    void (*document)(struct rfs_fs *fs, const struct rfs_caller *who,
                     struct rfs_text *out); /* takes the lock itself */
    const struct rfs_property *property;
    void (*write)(struct rfs_call *call); /* PROPERTY that can be written */
    const struct rfs_method *method;
    size_t usage_size; /* METHOD */
    /* LINK: where it points to; false: it is not there now. */
    bool (*link)(struct rfs_service *svc, const void *object, struct rfs_text *out);
};

/* What a directory holds besides rows: directories of objects, or links to objects. */
struct rfs_children {
    const char *shown; /* in docs: "NAME" */
    const char *help;
    void (*list)(struct rfs_service *svc, uint64_t number,
                 void (*emit)(void *arg, const char *name, struct rfs_node node), void *arg);
    bool (*find)(struct rfs_service *svc, uint64_t number, const char *name, struct rfs_node *node);
    /* Links: where the child points to; false: it is gone. NULL: the children are directories. */
    bool (*link)(struct rfs_service *svc, struct rfs_node node, struct rfs_text *out);
    void (*create)(struct rfs_call *call); /* mkdir; NULL: refused with no_create */
    void (*remove)(struct rfs_call *call); /* rmdir; NULL: refused with no_remove */
    const char *no_create, *no_remove;     /* what to do instead */
};

struct rfs_dir {
    const char *path; /* "elements/NAME"; "" for the root */
    const char *help;
    enum rfs_dir_id parent;
    enum rfs_kind object; /* whose directory it is; 0: of no object */
    const struct rfs_children *children;
    struct rfs_row *rows;
    size_t count;
};

struct rfs_tree {
    struct rfs_dir dirs[RFS_DIR_COUNT];
};

struct rfs_tree *rfs_tree_new(void);
void rfs_tree_free(struct rfs_tree *tree);

/* The table of a directory node, or NULL. */
const struct rfs_dir *rfs_tree_dir(const struct rfs_tree *tree, struct rfs_node node);
/* The row of a node, or NULL (directories that are not in a row, children, temporary files, nonsense). */
const struct rfs_row *rfs_tree_row(const struct rfs_tree *tree, struct rfs_node node);
/* The row called `name` as a node; NULL: none. */
const struct rfs_row *rfs_tree_find(const struct rfs_tree *tree, struct rfs_node dir, const char *name,
                                    struct rfs_node *node);
struct rfs_node rfs_tree_row_node(const struct rfs_tree *tree, struct rfs_node dir, size_t index);
struct rfs_node rfs_tree_parent(const struct rfs_tree *tree, struct rfs_node node);

bool rfs_row_writable(const struct rfs_row *row); /* takes requests */
bool rfs_row_readable(const struct rfs_row *row); /* by anybody at all */

/* What property and link functions want: the object whose directory the node is in. NULL: it is gone. */
const void *rfs_tree_object(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node);
/* Does the node still name something? */
bool rfs_tree_exists(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node);
/* When its object last changed, wall clock in ms; 0: it has none. */
uint64_t rfs_tree_changed(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node);
/* "relationships/db/operation"; "/" for the root. */
void rfs_tree_path(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node,
                   struct rfs_text *out);

#endif
