/* SPDX-License-Identifier: Apache-2.0
 *
 * The standard's enumerations: number, printed name, tolerant input.
 *
 * One map an enumeration (value.def), because near-identical enumerations of the standard have different
 * numbers (JobState against RequestedState, Consistency against ConsistencyType …): a number never crosses
 * maps. Printing is the standard's name without blanks; input is taken in any case, with or without blanks,
 * '_' and '-', and as the standard's number. Any thread; constant data. Source: reference, section 2.
 */
#ifndef RFS_MODEL_VALUE_H
#define RFS_MODEL_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

struct rfs_value {
    int number;
    const char *name;
};

struct rfs_value_map {
    const char *name; /* of the enumeration, for messages */
    const struct rfs_value *values;
    size_t count;
};

#define MAP_BEGIN(symbol, title) extern const struct rfs_value_map rfs_map_##symbol;
#define VALUE(symbol, NAME, number, text)
#define MAP_END(symbol)
#include "model/value.def"
#undef MAP_BEGIN
#undef VALUE
#undef MAP_END

#define MAP_BEGIN(symbol, title)                                                                             \
    enum rfs_##symbol                                                                                        \
    {
#define VALUE(symbol, NAME, number, text) RFS_##symbol##_##NAME = number,
#define MAP_END(symbol)                                                                                      \
    }                                                                                                        \
    ;
#include "model/value.def"
#undef MAP_BEGIN
#undef VALUE
#undef MAP_END

const char *rfs_value_name(const struct rfs_value_map *map,
                           int number); /* "Unknown" for a number not in the map */

/* Invalid Parameter naming the enumeration and its values if `text` is none of them. */
int rfs_value_parse(const struct rfs_value_map *map, const char *text, int *number, struct rfs_error *err);

/* "Mirror (6), Snapshot (7)" for usage texts; with `numbers` false "Mirror, Snapshot". */
void rfs_value_list(const struct rfs_value_map *map, bool numbers, struct rfs_text *out);

#endif
