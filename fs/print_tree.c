/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "render.h"

static const char head[] =
    "# The tree\n\n"
    "Written by `replicafs --print-tree` from the tables that the program itself uses; do not edit.\n\n"
    "How control files are written and read, what an errno means and where its reason stands: see the README "
    "and the\n"
    "files `README` and `last_status` in the mount. Modes are those under umask 0. A file whose kind is "
    "*polled*\n"
    "wakes poll(2) when it changes.\n";

static const char *kind_of(const struct rfs_row *row)
{
    switch (row->kind) {
    case RFS_ROW_DIR:
        return "folder";
    case RFS_ROW_DOCUMENT:
        return "document";
    case RFS_ROW_EVENTS:
        return "log, polled";
    case RFS_ROW_METHOD:
        return row->method->flags & RFS_METHOD_QUERY ? "query method" : "method";
    case RFS_ROW_LINK:
        return "link";
    case RFS_ROW_PROPERTY:
        if (row->property->flags & RFS_PROP_SECRET)
            return "secret";
        if (row->property->flags & RFS_PROP_TABLE)
            return "table";
        return row->property->flags & RFS_PROP_POLL ? "attribute, polled" : "attribute";
    }
    return "";
}

/* In a cell of a table: one line, and '|' would end the cell. */
static void cell(const char *text, struct rfs_text *out)
{
    for (; *text; text++) {
        if (*text == '|')
            rfs_text_puts(out, "\\");
        rfs_text_append(out, *text == '\n' ? " " : text, 1);
    }
}

static void print_row(const struct rfs_dir *dir, const struct rfs_row *row, struct rfs_text *out)
{
    rfs_text_printf(out, "| `%s%s%s%s` | ", dir->path, *dir->path ? "/" : "", row->name,
                    row->kind == RFS_ROW_DIR ? "/" : "");
    rfs_text_printf(out, "%04o | %s | ", (unsigned)row->mode, kind_of(row));
    cell(row->help, out);
    rfs_text_puts(out, " |\n");
}

static void print_children(const struct rfs_dir *dir, struct rfs_text *out)
{
    bool links = dir->children->link != NULL;

    rfs_text_printf(out, "| `%s/%s%s` | %s | %s | ", dir->path, dir->children->shown, links ? "" : "/",
                    links ? "0777" : "0755", links ? "link" : "folder");
    cell(dir->children->help, out);
    rfs_text_puts(out, " |\n");
}

static void print_dir(const struct rfs_dir *dir, struct rfs_text *out)
{
    rfs_text_printf(out, "\n## `/%s`\n\n%s\n\n| path | mode | kind | |\n|---|---|---|---|\n", dir->path,
                    dir->help);
    for (size_t i = 0; i < dir->count; i++)
        print_row(dir, &dir->rows[i], out);
    if (dir->children)
        print_children(dir, out);
}

static void print_type(const struct rfs_param *p, struct rfs_text *out)
{
    static const char *const types[] = {
        [RFS_PARAM_STRING] = "text",
        [RFS_PARAM_NAME] = "name",
        [RFS_PARAM_BOOL] = "0 or 1",
        [RFS_PARAM_UINT] = "number, K M G T",
        [RFS_PARAM_INTERVAL] = "seconds",
        [RFS_PARAM_ELEMENT] = "`elements/NAME`",
        [RFS_PARAM_RELATIONSHIP] = "`relationships/NAME`",
        [RFS_PARAM_JOB] = "`jobs/N`",
        [RFS_PARAM_SECRET] = "secret",
    };

    if (p->type == RFS_PARAM_ENUM)
        rfs_value_list(p->values, true, out);
    else
        rfs_text_puts(out, types[p->type]);
}

static void print_param(const struct rfs_param *p, struct rfs_text *out)
{
    rfs_text_printf(out, "| `%s`", p->name);
    if (p->alias)
        rfs_text_printf(out, ", `%s`", p->alias);
    rfs_text_printf(out, " | %s%s%s | ", p->flags & RFS_PARAM_REQUIRED ? "required" : "optional",
                    p->flags & RFS_PARAM_ARRAY ? ", repeated" : "",
                    p->flags & RFS_PARAM_BARE ? ", first word without key" : "");
    print_type(p, out);
    rfs_text_puts(out, " | ");
    cell(p->help, out);
    rfs_text_puts(out, " |\n");
}

static void print_returns(const char *returns, struct rfs_text *out)
{
    char *copy = rfs_xstrdup(returns), *save = NULL;

    rfs_text_puts(out, "\nReturn values:");
    for (char *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save)) {
        const char *text = rfs_rv_text((enum rfs_rv)strtoul(s, NULL, 10));

        rfs_text_printf(out, "%s %s%s%s", s == copy ? "" : ",", s, text ? " " : "", text ? text : "");
    }
    rfs_text_puts(out, ".\n");
    free(copy);
}

static void print_method(const struct rfs_dir *dir, const struct rfs_method *m, struct rfs_text *out)
{
    rfs_text_printf(out, "\n### `%s/%s`\n\n", dir->path, m->name);
    if (m->cim_name)
        rfs_text_printf(out, "%s. ", m->cim_name);
    rfs_text_printf(out, "%s\n\n| parameter | | value | |\n|---|---|---|---|\n", m->help);
    for (const struct rfs_param *p = m->params; p->name; p++)
        print_param(p, out);
    if (m->flags & RFS_METHOD_SETTINGS)
        rfs_text_puts(out,
                      "| `setting.NAME` | optional | as in `relationships/NAME/settings` | a setting |\n");
    if (m->outputs)
        rfs_text_printf(out, "\nReply: `return_value` `message` `%s`.\n", m->outputs);
    print_returns(m->returns, out);
    rfs_text_printf(out, "\nExample: `%s`\n", m->example);
}

void rfs_print_tree(const struct rfs_tree *tree, struct rfs_text *out)
{
    rfs_text_puts(out, head);
    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++)
        if (tree->dirs[id].count || tree->dirs[id].children)
            print_dir(&tree->dirs[id], out);
    rfs_text_puts(out, "\n# Methods\n");
    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++)
        for (size_t i = 0; i < tree->dirs[id].count; i++)
            if (tree->dirs[id].rows[i].method)
                print_method(&tree->dirs[id], tree->dirs[id].rows[i].method, out);
}
