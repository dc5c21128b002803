/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "render.h"

#define TREE_VERSION 1 /* raised when scripts written for the old tree would break */

static const char intro[] =
    "replicafs " RFS_VERSION ": block volumes and their replicas as files.\n"
    "Reading a file tells a value; writing one line to a file asks for something:\n"
    "  mkdir elements/a; echo iscsi://HOST/IQN/LUN > elements/a/url       add a volume\n"
    "  cat service/attach_replica                                        parameters and an example\n"
    "  echo 'source_element=elements/a target_element=elements/b copy_type=Sync name=db' > "
    "service/attach_replica\n"
    "  cat status relationships/db/copy_state relationships/db/operation how it is, what can be done\n"
    "  echo Detach > relationships/db/operation                          end it\n"
    "A refused write fails with an errno; `cat last_status` says why and what would work.\n"
    "Compare its path= and time= too: what the kernel refuses by itself (mkdir of a name that exists) is not "
    "in it.\n"
    "Opened for reading and writing, the same descriptor gives the reply: return_value=, message=, job= ...\n"
    "Folders:\n";

static void list_names(const struct rfs_dir *dir, struct rfs_text *out)
{
    unsigned column = 0;

    for (size_t i = 0; i < dir->count; i++) {
        unsigned width = (unsigned)strlen(dir->rows[i].name) + 1;

        if (!column || column + width > 108)
            rfs_text_puts(out, column ? "\n   " : "   ");
        column = !column || column + width > 108 ? width : column + width;
        rfs_text_printf(out, " %s", dir->rows[i].name);
    }
    rfs_text_puts(out, column ? "\n" : "");
}

void rfs_render_readme(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out)
{
    rfs_text_puts(out, intro);
    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++) {
        const struct rfs_dir *dir = &fs->tree->dirs[id];

        if (!dir->count)
            continue;
        rfs_text_printf(out, "  /%s: %s\n", dir->path, dir->help);
        list_names(dir, out);
    }
}

void rfs_render_version(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out)
{
    rfs_text_printf(out, "program=%s\ntree=%d\n", RFS_VERSION, TREE_VERSION);
}

void rfs_render_last_status(struct rfs_fs *fs, const struct rfs_caller *who, struct rfs_text *out)
{
    rfs_book_render(fs->book, who, out);
}
