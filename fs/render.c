/* SPDX-License-Identifier: Apache-2.0 */
#include "render.h"

#include <errno.h>

/* An attribute is one line, the empty value an empty line; tables bring their own line ends. */
static void render_property(struct rfs_service *svc, const struct rfs_property *p, const void *object,
                            struct rfs_text *out)
{
    p->render(svc, object, out);
    if (!(p->flags & RFS_PROP_TABLE))
        rfs_text_puts(out, "\n");
}

static int render_of_object(struct rfs_fs *fs, struct rfs_node node, const struct rfs_row *row,
                            struct rfs_text *out)
{
    const void *object;

    rfs_service_lock(fs->svc);
    object = rfs_tree_object(fs->tree, fs->svc, node);
    if (object && row->property)
        render_property(fs->svc, row->property, object, out);
    else if (object && row->method->render)
        row->method->render(fs->svc, object, out);
    else if (object)
        rfs_method_usage(row->method, out);
    rfs_service_unlock(fs->svc);
    return object ? 0 : ENOENT;
}

int rfs_render_node(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who,
                    struct rfs_text *out)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);

    if (!row)
        return ENOENT;
    rfs_text_puts(out, "");
    if (row->document) {
        row->document(fs, who, out);
        return 0;
    }
    if (row->property || row->method)
        return render_of_object(fs, node, row, out);
    return ENOENT;
}

int rfs_render_size(struct rfs_fs *fs, struct rfs_node node, const struct rfs_caller *who, uint64_t *size)
{
    const struct rfs_row *row = rfs_tree_row(fs->tree, node);
    struct rfs_text text = RFS_TEXT_INIT;
    int rc;

    *size = 0;
    if (!row)
        return ENOENT;
    if (!rfs_row_readable(row)) {
        *size = RFS_REQUEST_MAX;
        return 0;
    }
    if (row->method && !row->method->render) {
        *size = row->usage_size;
        return 0;
    }
    rc = rfs_render_node(fs, node, who, &text);
    *size = text.len;
    rfs_text_free(&text);
    return rc;
}
