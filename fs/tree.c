/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <string.h>

static const struct rfs_dir *table_of(const struct rfs_tree *tree, enum rfs_dir_id id)
{
    return id > RFS_DIR_NONE && id < RFS_DIR_COUNT ? &tree->dirs[id] : NULL;
}

const struct rfs_dir *rfs_tree_dir(const struct rfs_tree *tree, struct rfs_node node)
{
    return node.row ? NULL : table_of(tree, node.dir);
}

const struct rfs_row *rfs_tree_row(const struct rfs_tree *tree, struct rfs_node node)
{
    const struct rfs_dir *dir = table_of(tree, node.dir);

    return dir && node.row && node.row <= dir->count ? &dir->rows[node.row - 1] : NULL;
}

/* A directory is its own table's row 0, not a row of the parent's. */
struct rfs_node rfs_tree_row_node(const struct rfs_tree *tree, struct rfs_node dir, size_t index)
{
    const struct rfs_row *row = &tree->dirs[dir.dir].rows[index];

    if (row->kind == RFS_ROW_DIR)
        return (struct rfs_node){.dir = row->dir, .number = dir.number};
    return (struct rfs_node){.dir = dir.dir, .row = (unsigned)index + 1, .number = dir.number};
}

const struct rfs_row *rfs_tree_find(const struct rfs_tree *tree, struct rfs_node dir, const char *name,
                                    struct rfs_node *node)
{
    const struct rfs_dir *table = rfs_tree_dir(tree, dir);

    for (size_t i = 0; table && i < table->count; i++)
        if (!strcmp(table->rows[i].name, name)) {
            *node = rfs_tree_row_node(tree, dir, i);
            return &table->rows[i];
        }
    return NULL;
}

struct rfs_node rfs_tree_parent(const struct rfs_tree *tree, struct rfs_node node)
{
    const struct rfs_dir *dir = table_of(tree, node.dir), *parent;

    if (!dir)
        return (struct rfs_node){.dir = RFS_DIR_ROOT};
    if (node.row)
        return (struct rfs_node){.dir = node.dir, .number = node.number};
    parent = table_of(tree, dir->parent);
    return (struct rfs_node){.dir = dir->parent,
                             .number = parent && parent->object > RFS_KIND_SERVICE ? node.number : 0};
}

bool rfs_row_writable(const struct rfs_row *row)
{
    return row->write || row->method;
}

bool rfs_row_readable(const struct rfs_row *row)
{
    return (row->mode & 0444) != 0;
}

static const void *object_of(struct rfs_service *svc, enum rfs_kind kind, uint64_t number)
{
    switch (kind) {
    case RFS_KIND_SERVICE:
        return svc;
    case RFS_KIND_ELEMENT:
        return rfs_element_by_number(svc, number);
    case RFS_KIND_RELATIONSHIP:
        return rfs_relationship_by_number(svc, number);
    case RFS_KIND_JOB:
        return rfs_job_by_number(svc, number);
    }
    return svc; /* directories of no object */
}

const void *rfs_tree_object(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node)
{
    const struct rfs_dir *dir = table_of(tree, node.dir);

    return dir ? object_of(svc, dir->object, node.number) : NULL;
}

bool rfs_tree_exists(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node)
{
    const struct rfs_dir *dir = table_of(tree, node.dir);
    const struct rfs_row *row = rfs_tree_row(tree, node);
    struct rfs_text text = RFS_TEXT_INIT;
    const void *object;
    bool found;

    if (!dir)
        return false;
    if (node.row && !row && !(dir->children && dir->children->link))
        return false;
    if (node.row && !row) {
        found = dir->children->link(svc, node, &text);
    } else {
        object = object_of(svc, dir->object, node.number);
        found = object && (!row || !row->link || row->link(svc, object, &text));
    }
    rfs_text_free(&text);
    return found;
}

uint64_t rfs_tree_changed(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node)
{
    const struct rfs_dir *dir = table_of(tree, node.dir);
    const void *object =
        dir && dir->object > RFS_KIND_SERVICE ? object_of(svc, dir->object, node.number) : NULL;

    return object ? ((const struct rfs_object *)object)->changed_ms : 0;
}

/* "elements/NAME/relationships" with the object's name in the place of NAME or N. */
static void dir_path(struct rfs_service *svc, const struct rfs_dir *dir, uint64_t number,
                     struct rfs_text *out)
{
    const struct rfs_object *o = dir->object > RFS_KIND_SERVICE ? object_of(svc, dir->object, number) : NULL;
    const char *slash = strchr(dir->path, '/'), *rest;

    if (dir->object <= RFS_KIND_SERVICE || !slash) {
        rfs_text_puts(out, dir->path);
        return;
    }
    rest = strchr(slash + 1, '/');
    rfs_text_append(out, dir->path, (size_t)(slash + 1 - dir->path));
    if (o)
        rfs_text_puts(out, o->name);
    else
        rfs_text_printf(out, "(gone, number %llu)", (unsigned long long)number);
    rfs_text_puts(out, rest ? rest : "");
}

void rfs_tree_path(const struct rfs_tree *tree, struct rfs_service *svc, struct rfs_node node,
                   struct rfs_text *out)
{
    const struct rfs_dir *dir = table_of(tree, node.dir);
    const struct rfs_row *row = rfs_tree_row(tree, node);

    rfs_text_puts(out, "");
    if (!dir) {
        rfs_text_puts(out, "a temporary file");
        return;
    }
    dir_path(svc, dir, node.number, out);
    if (row)
        rfs_text_printf(out, "%s%s", *dir->path ? "/" : "", row->name);
    else if (!*dir->path)
        rfs_text_puts(out, "/");
}
