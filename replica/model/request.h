/* SPDX-License-Identifier: Apache-2.0
 *
 * A parsed request: `key=value` tokens of one line, checked against a method's parameters (design section 3,
 * rule 1).
 *
 * Any thread; an rfs_request belongs to its holder. Parsing is all or nothing. Messages never contain the
 * value of a key that ends in `password`.
 */
#ifndef RFS_MODEL_REQUEST_H
#define RFS_MODEL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/value.h"

#define RFS_REQUEST_MAX 65536u

enum rfs_param_type {
    RFS_PARAM_STRING,
    RFS_PARAM_NAME,     /* a new object's name */
    RFS_PARAM_BOOL,     /* 0, 1 (false, true, no, yes accepted) */
    RFS_PARAM_UINT,     /* decimal; K M G T (binary) suffixes accepted */
    RFS_PARAM_ENUM,     /* `values` */
    RFS_PARAM_INTERVAL, /* seconds, decimals allowed, or the CIM form ddddddddhhmmss.mmmmmm:000; parsed to ms
                         */
    RFS_PARAM_ELEMENT,  /* elements/NAME, absolute under the mount, or NAME; parsed to the bare name */
    RFS_PARAM_RELATIONSHIP, /* likewise */
    RFS_PARAM_JOB,
    RFS_PARAM_SECRET,
};

enum rfs_param_flags {
    RFS_PARAM_REQUIRED = 1,
    RFS_PARAM_ARRAY = 2,
    RFS_PARAM_BARE = 4, /* may be the first word without key= */
};

struct rfs_param {
    const char *name;  /* snake_case of the standard's */
    const char *alias; /* also accepted, or NULL */
    enum rfs_param_type type;
    unsigned flags;
    const struct rfs_value_map *values; /* ENUM */
    const char *help;
};

struct rfs_token {
    const struct rfs_param *param; /* NULL for setting.NAME */
    char *key, *value;             /* value: unquoted; references reduced to the bare name */
    uint64_t number;               /* BOOL, UINT, ENUM, INTERVAL (ms) */
};

struct rfs_request {
    struct rfs_token *tokens;
    size_t count;
};

/* `params` ends with a NULL name; `settings`: setting.NAME=value is taken too. `line` has `len` bytes, at
 * most one trailing newline is taken off. `mountpoint` may be NULL. E2BIG beyond RFS_REQUEST_MAX, else
 * Invalid Parameter naming what is wrong and what would work: empty, interior newline, first byte '#',
 * control characters, bad quoting, unknown key (with the known ones), key given twice that is no array,
 * missing required key, wrong type, embedded instance (pointing to setting.). */
int rfs_request_parse(const struct rfs_param *params, bool settings, const char *mountpoint, const char *line,
                      size_t len, struct rfs_request *out, struct rfs_error *err);
void rfs_request_free(struct rfs_request *req);

/* The line as it may be logged: secrets shown as ***. */
void rfs_request_masked(const char *line, size_t len, struct rfs_text *out);

/* Single values, for attribute files: -1 where the text is none. Interval in milliseconds. */
int rfs_parse_uint(const char *text, uint64_t *number);
int rfs_parse_bool(const char *text, bool *value);
int rfs_parse_interval(const char *text, uint64_t *ms);

/* The first token of that parameter, or NULL. */
const struct rfs_token *rfs_request_get(const struct rfs_request *req, const char *name);
const char *rfs_request_string(const struct rfs_request *req, const char *name, const char *fallback);
uint64_t rfs_request_number(const struct rfs_request *req, const char *name, uint64_t fallback);
bool rfs_request_has(const struct rfs_request *req, const char *name);

#endif
