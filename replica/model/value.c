/* SPDX-License-Identifier: Apache-2.0 */
#include "model/value.h"

#include <ctype.h>
#include <stdlib.h>

#define MAP_BEGIN(symbol, title)          static const struct rfs_value values_##symbol[] = {
#define VALUE(symbol, NAME, number, text) {number, text},
#define MAP_END(symbol)                                                                                      \
    }                                                                                                        \
    ;
#include "model/value.def"
#undef MAP_BEGIN
#undef VALUE
#undef MAP_END

#define MAP_BEGIN(symbol, title)                                                                             \
    const struct rfs_value_map rfs_map_##symbol = {title, values_##symbol,                                   \
                                                   sizeof(values_##symbol) / sizeof(values_##symbol[0])};
#define VALUE(symbol, NAME, number, text)
#define MAP_END(symbol)
#include "model/value.def"
#undef MAP_BEGIN
#undef VALUE
#undef MAP_END

const char *rfs_value_name(const struct rfs_value_map *map, int number)
{
    for (size_t i = 0; i < map->count; i++)
        if (map->values[i].number == number)
            return map->values[i].name;
    return "Unknown";
}

static const char *skip(const char *s)
{
    while (*s == ' ' || *s == '_' || *s == '-')
        s++;
    return s;
}

/* Equal but for case, blanks, '_' and '-'. */
static bool alike(const char *a, const char *b)
{
    for (a = skip(a), b = skip(b); *a && *b; a = skip(a + 1), b = skip(b + 1))
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
    return *a == *b;
}

static bool same_number(const char *text, int number)
{
    char *end;
    long n;

    if (!isdigit((unsigned char)*text))
        return false;
    n = strtol(text, &end, 0);
    return !*end && n == number;
}

int rfs_value_parse(const struct rfs_value_map *map, const char *text, int *number, struct rfs_error *err)
{
    struct rfs_text names = RFS_TEXT_INIT;

    for (size_t i = 0; i < map->count; i++)
        if (alike(map->values[i].name, text) || same_number(text, map->values[i].number)) {
            *number = map->values[i].number;
            return 0;
        }
    rfs_value_list(map, true, &names);
    rfs_fail(err, RFS_RV_INVALID_PARAMETER, "'%.60s' is not a value of %s; give one of: %s", text, map->name,
             names.data);
    rfs_text_free(&names);
    return -1;
}

void rfs_value_list(const struct rfs_value_map *map, bool numbers, struct rfs_text *out)
{
    for (size_t i = 0; i < map->count; i++) {
        rfs_text_printf(out, "%s%s", i ? ", " : "", map->values[i].name);
        if (numbers)
            rfs_text_printf(out, " (%d)", map->values[i].number);
    }
}
