/* SPDX-License-Identifier: Apache-2.0 */
#include "new_name.h"

#include <errno.h>
#include <string.h>

#include "ask.h"
#include "spelling.h"

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);

    return len > n && !strcmp(name + len - n, end);
}

static bool looks_temporary(const char *name)
{
    static const char *const ends[] = {"~", ".tmp", ".new", ".bak", ".swp", ".part"};

    if (name[0] == '.' || !strncmp(name, "4913", 4)) /* vim tries this one whether the folder takes files */
        return true;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (ends_in(name, ends[i]))
            return true;
    return false;
}

/* Where nothing is put in place by a rename, or only by who knows what a dot is for. */
static bool strict(enum rfs_dir_id dir)
{
    return dir == RFS_DIR_ROOT || dir == RFS_DIR_SERVICE || dir == RFS_DIR_ELEMENTS ||
           dir == RFS_DIR_RELATIONSHIPS || dir == RFS_DIR_JOBS;
}

static bool allowed(enum rfs_dir_id dir, const char *name, bool exclusive)
{
    if (strict(dir))
        return name[0] == '.' || (exclusive && looks_temporary(name));
    return exclusive || looks_temporary(name);
}

/* The file of the table whose name is next to this one; NULL: none is near. */
static const char *nearest(const struct rfs_dir *table, const char *name)
{
    const char *found = NULL;
    unsigned best = RFS_SLIPS + 1, n;

    for (size_t i = 0; i < table->count; i++) {
        const struct rfs_row *row = &table->rows[i];

        n = row->kind == RFS_ROW_DIR || row->kind == RFS_ROW_LINK ? best : rfs_slips(name, row->name);
        if (n < best) {
            best = n;
            found = row->name;
        }
    }
    return found;
}

/* In a folder of objects; `path` has the name too. */
static int no_object(const struct rfs_children *children, const char *path, struct rfs_error *err)
{
    if (children->create)
        return rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM,
                              "%.300s does not exist; make it with mkdir %.300s", path, path);
    return rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM, "%.300s does not exist; %s", path,
                          children->no_create);
}

static int no_file(const struct rfs_dir *table, const char *path, const char *name, struct rfs_error *err)
{
    const char *folder = *table->path ? path : "the top of the mount", *at = *table->path ? path : "there";
    const char *near = nearest(table, name);
    struct rfs_text shown = RFS_TEXT_INIT;

    rfs_text_puts(&shown, "");
    rfs_shown(name, &shown);
    if (near)
        rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM, "%.300s has no file %.300s; did you mean %s?",
                       folder, shown.data, near);
    else
        rfs_fail_errno(err, RFS_RV_ACCESS_DENIED, EPERM,
                       "%.300s has no file %.300s; ls %.300s lists its files", folder, shown.data, at);
    rfs_text_free(&shown);
    return -1;
}

int rfs_new_name_check(struct rfs_fs *fs, struct rfs_node dir, const char *name, bool exclusive,
                       struct rfs_error *err)
{
    const struct rfs_dir *table = rfs_tree_dir(fs->tree, dir);
    struct rfs_text path = RFS_TEXT_INIT;
    int rc;

    if (!table || allowed(dir.dir, name, exclusive))
        return 0;
    rfs_ask_path(fs, dir, table->children ? name : NULL, &path);
    if (table->children)
        rc = no_object(table->children, path.data, err);
    else
        rc = no_file(table, path.data, name, err);
    rfs_text_free(&path);
    return rc;
}
