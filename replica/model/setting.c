/* SPDX-License-Identifier: Apache-2.0 */
#include "model/setting.h"

#include <string.h>

#include "model/property.h"

enum type { BOOLEAN, NUMBER, POWER, VALUE };

static const struct setting {
    const char *name;
    enum type type;
    size_t offset;
    uint64_t min, max, fallback;
    const struct rfs_value_map *values;
    bool fixed; /* at creation */
} settings[] = {
#define AT(member) offsetof(struct rfs_settings, member)
    {"copy_recovery_mode", VALUE, AT(copy_recovery_mode), 0, 0, RFS_copy_recovery_mode_IMPLEMENTATION,
     &rfs_map_copy_recovery_mode, false},
    {"copy_priority", VALUE, AT(copy_priority), 0, 0, RFS_copy_priority_NOT_MANAGED, &rfs_map_copy_priority,
     false},
    {"detect_zeroes", BOOLEAN, AT(detect_zeroes), 0, 1, 1, NULL, false},
    {"failed_copy_stops_host_io", BOOLEAN, AT(failed_copy_stops_host_io), 0, 1, 0, NULL, false},
    {"max_requests", NUMBER, AT(max_requests), 1, 64, 16, NULL, false},
    {"max_transfer", POWER, AT(max_transfer), 65536, 4194304, 1048576, NULL, false},
    {"rate_limit", NUMBER, AT(rate_limit), 0, UINT64_MAX, 0, NULL, false},
    {"region_size", POWER, AT(region_size), 4096, 16777216, RFS_REGION_SIZE_DEFAULT, NULL, true},
    {"verify", VALUE, AT(verify), 0, 0, RFS_verify_mode_COPIED, &rfs_map_verify_mode, false},
#undef AT
};

#define COUNT (sizeof(settings) / sizeof(settings[0]))

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (!strcmp(settings[i].name, name))
            return &settings[i];
    return NULL;
}

static uint64_t load(const struct rfs_settings *s, const struct setting *row)
{
    const char *at = (const char *)s + row->offset;

    if (row->type == BOOLEAN)
        return *(const bool *)(const void *)at;
    if (row->type == VALUE)
        return *(const uint32_t *)(const void *)at;
    return *(const uint64_t *)(const void *)at;
}

static void store(struct rfs_settings *s, const struct setting *row, uint64_t value)
{
    char *at = (char *)s + row->offset;

    if (row->type == BOOLEAN)
        *(bool *)(void *)at = value != 0;
    else if (row->type == VALUE)
        *(uint32_t *)(void *)at = (uint32_t)value;
    else
        *(uint64_t *)(void *)at = value;
}

void rfs_settings_default(struct rfs_settings *s)
{
    memset(s, 0, sizeof(*s));
    for (size_t i = 0; i < COUNT; i++)
        store(s, &settings[i], settings[i].fallback);
}

static int parse_value(const struct setting *row, const char *text, uint64_t *value, struct rfs_error *err)
{
    int number;

    if (rfs_value_parse(row->values, text, &number, err))
        return rfs_error_wrap(err, "setting %s", row->name);
    *value = (uint64_t)number;
    return 0;
}

static int parse(const struct setting *row, const char *text, uint64_t *value, struct rfs_error *err)
{
    bool flag;

    if (row->type == VALUE)
        return parse_value(row, text, value, err);
    if (row->type == BOOLEAN) {
        if (rfs_parse_bool(text, &flag))
            return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "setting %s='%.60s': give 0 or 1", row->name,
                            text);
        *value = flag;
        return 0;
    }
    if (rfs_parse_uint(text, value) || *value < row->min || *value > row->max ||
        (row->type == POWER && (*value & (*value - 1))))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "setting %s='%.60s': give a %s from %llu to %llu, with K, M, G or T if you like",
                        row->name, text, row->type == POWER ? "power of two" : "number",
                        (unsigned long long)row->min, (unsigned long long)row->max);
    return 0;
}

int rfs_settings_set(struct rfs_settings *s, const char *name, const char *text, bool creating,
                     struct rfs_error *err)
{
    const struct setting *row = find(name);
    uint64_t value;

    if (!row)
        return rfs_fail(
            err, RFS_RV_INVALID_PARAMETER,
            "there is no setting '%.60s'; the settings are the files in relationships/NAME/settings/", name);
    value = row->fallback;
    if (*text && parse(row, text, &value, err))
        return -1;
    if (row->fixed && !creating && value != load(s, row))
        return rfs_fail(err, RFS_RV_NOT_SUPPORTED,
                        "setting %s is fixed when the relationship is created; detach and attach again with "
                        "setting.%s=%.60s",
                        name, name, text);
    store(s, row, value);
    return 0;
}

int rfs_settings_apply(struct rfs_settings *s, const struct rfs_request *req, bool creating,
                       struct rfs_error *err)
{
    for (size_t i = 0; i < req->count; i++)
        if (!req->tokens[i].param &&
            rfs_settings_set(s, req->tokens[i].key + strlen("setting."), req->tokens[i].value, creating, err))
            return -1;
    return 0;
}

void rfs_settings_render(const struct rfs_settings *s, const char *name, struct rfs_text *out)
{
    const struct setting *row = find(name);
    uint64_t value;

    if (!row)
        return;
    value = load(s, row);
    if (row->type == VALUE)
        rfs_text_puts(out, rfs_value_name(row->values, (int)value));
    else
        rfs_text_printf(out, "%llu", (unsigned long long)value);
}

void rfs_settings_to_pair(const struct rfs_settings *s, struct rfs_pair_settings *out)
{
    *out = (struct rfs_pair_settings){
        .verify = s->verify == RFS_verify_mode_COPIED ? RFS_VERIFY_COPIED : RFS_VERIFY_NONE,
        .rate_limit = s->rate_limit,
        .max_requests = (uint32_t)s->max_requests,
        .max_transfer = (uint32_t)s->max_transfer,
        .detect_zeroes = s->detect_zeroes,
    };
}

#define SETTING(name_, flags_, help_)                                                                        \
    static void render_##name_(struct rfs_service *svc, const void *object, struct rfs_text *out)            \
    {                                                                                                        \
        rfs_settings_render(&((const struct rfs_relationship *)object)->settings, #name_, out);              \
    }
#include "model/setting.def"
#undef SETTING

static const struct rfs_property rows[] = {
#define SETTING(name_, flags_, help_) {#name_, 0644, flags_, help_, render_##name_},
#include "model/setting.def"
#undef SETTING
};

const struct rfs_property_table rfs_setting_properties = {rows, sizeof(rows) / sizeof(rows[0])};
