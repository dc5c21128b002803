/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "children.h"
#include "render.h"

#define DIR_ROW(name_, id, help_)                                                                            \
    {                                                                                                        \
        .name = (name_), .kind = RFS_ROW_DIR, .mode = 0755, .help = (help_), .dir = (id)                     \
    }
#define DOCUMENT(name_, render, help_)                                                                       \
    {                                                                                                        \
        .name = (name_), .kind = RFS_ROW_DOCUMENT, .mode = 0444, .help = (help_), .document = (render)       \
    }
#define LINK_ROW(name_, link_, help_)                                                                        \
    {                                                                                                        \
        .name = (name_), .kind = RFS_ROW_LINK, .mode = 0777, .help = (help_), .link = (link_)                \
    }

static const struct rfs_row root_rows[] = {
    DOCUMENT("README", rfs_render_readme, "what this tree is, on one screen"),
    DOCUMENT("version", rfs_render_version,
             "program=VERSION and tree=N; N is raised when scripts would break"),
    DOCUMENT("status", rfs_render_status,
             "for people: elements, relationships, running jobs with bar, rate and ETA"),
    DOCUMENT("status.json", rfs_render_status_json, "for programs: everything, one consistent snapshot"),
    {.name = "events",
     .kind = RFS_ROW_EVENTS,
     .mode = 0444,
     .help = "JSON lines, append-only: history, then end of file; size grows, poll(2) wakes"},
    DOCUMENT("last_status", rfs_render_last_status,
             "how this caller's last request ended, and why; per session id, else per user"),
    DIR_ROW("service", RFS_DIR_SERVICE, "the replication service and its methods"),
    DIR_ROW("elements", RFS_DIR_ELEMENTS, "the volumes; mkdir elements/NAME creates, rmdir removes"),
    DIR_ROW("relationships", RFS_DIR_RELATIONSHIPS, "source, target and how far the copy is"),
    DIR_ROW("jobs", RFS_DIR_JOBS, "long-running work"),
};

static const struct rfs_row service_rows[] = {
    DIR_ROW("capabilities", RFS_DIR_CAPABILITIES, "what the service supports, and the methods that tell"),
};

static const struct rfs_row element_rows[] = {
    DIR_ROW("relationships", RFS_DIR_ELEMENT_RELATIONSHIPS, "links to the relationships that it is in"),
};

static const struct rfs_row relationship_rows[] = {
    LINK_ROW("source", rfs_link_source, "link to the source element"),
    LINK_ROW("target", rfs_link_target, "link to the target element"),
    LINK_ROW("job", rfs_link_job, "link to the latest job, as long as there is one"),
    DIR_ROW("settings", RFS_DIR_SETTINGS, "ReplicationSettingData and ours, one file a property"),
};

static const struct rfs_row job_rows[] = {
    DIR_ROW("affected_elements", RFS_DIR_AFFECTED, "links to what the job works on"),
};

static const struct rfs_row affected_rows[] = {
    DIR_ROW("elements", RFS_DIR_AFFECTED_ELEMENTS, "links to elements"),
    DIR_ROW("relationships", RFS_DIR_AFFECTED_RELATIONSHIPS, "links to relationships"),
};

#define NO_PLACE (-1)
#define ROWS(r)  .rows = (r), .count = sizeof(r) / sizeof((r)[0])

/* One line a directory: its own rows, then those of the model's tables. */
static const struct spec {
    const char *path, *help;
    enum rfs_dir_id parent;
    enum rfs_kind object;
    const struct rfs_children *children;
    const struct rfs_row *rows;
    size_t count;
    const struct rfs_property_table *properties;
    void (*write)(struct rfs_call *call); /* of the properties that can be written */
    int place;                            /* of methods */
} specs[RFS_DIR_COUNT] = {
    [RFS_DIR_ROOT] =
        {.path = "", .help = "the mount point", .parent = RFS_DIR_ROOT, ROWS(root_rows), .place = NO_PLACE},
    [RFS_DIR_SERVICE] = {.path = "service",
                         .help = "the replication service",
                         .parent = RFS_DIR_ROOT,
                         .object = RFS_KIND_SERVICE,
                         ROWS(service_rows),
                         .properties = &rfs_service_properties,
                         .place = RFS_PLACE_SERVICE},
    [RFS_DIR_CAPABILITIES] = {.path = "service/capabilities",
                              .help = "what is supported",
                              .parent = RFS_DIR_SERVICE,
                              .object = RFS_KIND_SERVICE,
                              .place = RFS_PLACE_CAPABILITIES},
    [RFS_DIR_ELEMENTS] = {.path = "elements",
                          .help = "volumes that the daemon can reach",
                          .parent = RFS_DIR_ROOT,
                          .children = &rfs_children_elements,
                          .place = NO_PLACE},
    [RFS_DIR_ELEMENT] = {.path = "elements/NAME",
                         .help = "one volume",
                         .parent = RFS_DIR_ELEMENTS,
                         .object = RFS_KIND_ELEMENT,
                         ROWS(element_rows),
                         .properties = &rfs_element_properties,
                         .write = rfs_element_write,
                         .place = RFS_PLACE_ELEMENT},
    [RFS_DIR_ELEMENT_RELATIONSHIPS] = {.path = "elements/NAME/relationships",
                                       .help = "links to the relationships that the element is in",
                                       .parent = RFS_DIR_ELEMENT,
                                       .object = RFS_KIND_ELEMENT,
                                       .children = &rfs_children_of_element,
                                       .place = NO_PLACE},
    [RFS_DIR_RELATIONSHIPS] = {.path = "relationships",
                               .help = "relationships between two elements",
                               .parent = RFS_DIR_ROOT,
                               .children = &rfs_children_relationships,
                               .place = NO_PLACE},
    [RFS_DIR_RELATIONSHIP] = {.path = "relationships/NAME",
                              .help = "one relationship",
                              .parent = RFS_DIR_RELATIONSHIPS,
                              .object = RFS_KIND_RELATIONSHIP,
                              ROWS(relationship_rows),
                              .properties = &rfs_relationship_properties,
                              .write = rfs_relationship_write,
                              .place = RFS_PLACE_RELATIONSHIP},
    [RFS_DIR_SETTINGS] = {.path = "relationships/NAME/settings",
                          .help = "settings of the relationship; an empty line resets one",
                          .parent = RFS_DIR_RELATIONSHIP,
                          .object = RFS_KIND_RELATIONSHIP,
                          .properties = &rfs_setting_properties,
                          .write = rfs_relationship_write,
                          .place = NO_PLACE},
    [RFS_DIR_JOBS] = {.path = "jobs",
                      .help = "long-running work",
                      .parent = RFS_DIR_ROOT,
                      .children = &rfs_children_jobs,
                      .place = NO_PLACE},
    [RFS_DIR_JOB] = {.path = "jobs/N",
                     .help = "one job",
                     .parent = RFS_DIR_JOBS,
                     .object = RFS_KIND_JOB,
                     ROWS(job_rows),
                     .properties = &rfs_job_properties,
                     .write = rfs_job_write,
                     .place = RFS_PLACE_JOB},
    [RFS_DIR_AFFECTED] = {.path = "jobs/N/affected_elements",
                          .help = "what the job works on",
                          .parent = RFS_DIR_JOB,
                          .object = RFS_KIND_JOB,
                          ROWS(affected_rows),
                          .place = NO_PLACE},
    [RFS_DIR_AFFECTED_ELEMENTS] = {.path = "jobs/N/affected_elements/elements",
                                   .help = "links to elements",
                                   .parent = RFS_DIR_AFFECTED,
                                   .object = RFS_KIND_JOB,
                                   .children = &rfs_children_affected_elements,
                                   .place = NO_PLACE},
    [RFS_DIR_AFFECTED_RELATIONSHIPS] = {.path = "jobs/N/affected_elements/relationships",
                                        .help = "links to relationships",
                                        .parent = RFS_DIR_AFFECTED,
                                        .object = RFS_KIND_JOB,
                                        .children = &rfs_children_affected_relationships,
                                        .place = NO_PLACE},
};

static struct rfs_row *add_row(struct rfs_dir *dir)
{
    dir->rows = rfs_xrealloc(dir->rows, (dir->count + 1) * sizeof(*dir->rows));
    return &dir->rows[dir->count++];
}

static void add_properties(struct rfs_dir *dir, const struct spec *spec)
{
    for (size_t i = 0; spec->properties && i < spec->properties->count; i++) {
        const struct rfs_property *p = &spec->properties->rows[i];

        *add_row(dir) = (struct rfs_row){.name = p->name,
                                         .kind = RFS_ROW_PROPERTY,
                                         .mode = p->mode,
                                         .help = p->help,
                                         .property = p,
                                         .write = p->mode & 0222 ? spec->write : NULL};
    }
}

static size_t usage_size(const struct rfs_method *method)
{
    struct rfs_text text = RFS_TEXT_INIT;
    size_t size;

    rfs_method_usage(method, &text);
    size = text.len;
    rfs_text_free(&text);
    return size;
}

static void add_methods(struct rfs_dir *dir, int place)
{
    size_t count;
    const struct rfs_method *m = rfs_method_table(&count);

    for (size_t i = 0; i < count; i++)
        if ((int)m[i].place == place)
            *add_row(dir) = (struct rfs_row){.name = m[i].name,
                                             .kind = RFS_ROW_METHOD,
                                             .mode = m[i].mode,
                                             .help = m[i].help,
                                             .method = &m[i],
                                             .usage_size = usage_size(&m[i])};
}

static void expand(struct rfs_dir *dir, const struct spec *spec)
{
    *dir = (struct rfs_dir){.path = spec->path,
                            .help = spec->help,
                            .parent = spec->parent,
                            .object = spec->object,
                            .children = spec->children};
    for (size_t i = 0; i < spec->count; i++)
        *add_row(dir) = spec->rows[i];
    add_properties(dir, spec);
    if (spec->place != NO_PLACE)
        add_methods(dir, spec->place);
}

/* A directory that would hold nothing in this version is not shown. */
static void drop_empty(struct rfs_tree *tree, struct rfs_dir *dir)
{
    size_t kept = 0;

    for (size_t i = 0; i < dir->count; i++) {
        const struct rfs_dir *below = &tree->dirs[dir->rows[i].dir];

        if (dir->rows[i].kind != RFS_ROW_DIR || below->count || below->children)
            dir->rows[kept++] = dir->rows[i];
    }
    dir->count = kept;
}

struct rfs_tree *rfs_tree_new(void)
{
    struct rfs_tree *tree = rfs_xcalloc(1, sizeof(*tree));

    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++)
        expand(&tree->dirs[id], &specs[id]);
    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++)
        drop_empty(tree, &tree->dirs[id]);
    return tree;
}

void rfs_tree_free(struct rfs_tree *tree)
{
    if (!tree)
        return;
    for (unsigned id = 0; id < RFS_DIR_COUNT; id++)
        free(tree->dirs[id].rows);
    free(tree);
}
