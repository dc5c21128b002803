/* SPDX-License-Identifier: Apache-2.0
 *
 * The settings of a relationship: one table of name, type, range and default, from which come settings/
 * files, setting.NAME in requests, and the copies to the engine. Any thread; constant data.
 */
#ifndef RFS_MODEL_SETTING_H
#define RFS_MODEL_SETTING_H

#include "model/model.h"
#include "model/request.h"

void rfs_settings_default(struct rfs_settings *s);

/* Sets one setting from text; an empty text resets it to its default. `creating`: also those that are fixed
 * later (region_size). Invalid Parameter naming the setting and what it takes. */
int rfs_settings_set(struct rfs_settings *s, const char *name, const char *text, bool creating,
                     struct rfs_error *err);

/* Every setting.NAME of the request. */
int rfs_settings_apply(struct rfs_settings *s, const struct rfs_request *req, bool creating,
                       struct rfs_error *err);

void rfs_settings_render(const struct rfs_settings *s, const char *name, struct rfs_text *out);
void rfs_settings_to_pair(const struct rfs_settings *s, struct rfs_pair_settings *out);

#endif
