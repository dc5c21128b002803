/* SPDX-License-Identifier: Apache-2.0 */
#include "model/property.h"

#define ELEMENT(object) ((const struct rfs_element *)(object))
#define RENDER(name)    static void name(struct rfs_service *svc, const void *object, struct rfs_text *out)

static void number(struct rfs_text *out, uint64_t n)
{
    rfs_text_printf(out, "%llu", (unsigned long long)n);
}

static void string(struct rfs_text *out, const char *s)
{
    if (s)
        rfs_text_puts(out, s);
}

RENDER(url)
{
    string(out, ELEMENT(object)->url);
}

RENDER(username)
{
    string(out, ELEMENT(object)->username);
}

RENDER(target_username)
{
    string(out, ELEMENT(object)->target_username);
}

RENDER(secret)
{
    (void)svc, (void)object, (void)out; /* never rendered: a secret is write-only */
}

RENDER(header_digest)
{
    number(out, ELEMENT(object)->header_digest);
}

RENDER(state)
{
    rfs_text_puts(out, rfs_value_name(&rfs_map_element_state, (int)ELEMENT(object)->state));
}

/* A refused request stands here until one is not refused; what is wrong with the object itself shows through else. */
RENDER(last_error)
{
    const struct rfs_object *o = &ELEMENT(object)->o;
    const char *text = o->last_refusal ? o->last_refusal : o->last_error;

    if (text)
        rfs_text_puts(out, text);
}

RENDER(generation)
{
    number(out, ELEMENT(object)->o.generation);
}

RENDER(size)
{
    if (ELEMENT(object)->known)
        number(out, ELEMENT(object)->info.size);
}

RENDER(block_size)
{
    if (ELEMENT(object)->known)
        number(out, ELEMENT(object)->info.block_size);
}

RENDER(vendor)
{
    string(out, ELEMENT(object)->info.vendor);
}

RENDER(product)
{
    string(out, ELEMENT(object)->info.product);
}

RENDER(revision)
{
    string(out, ELEMENT(object)->info.revision);
}

RENDER(serial)
{
    string(out, ELEMENT(object)->info.serial);
}

RENDER(device_id)
{
    string(out, ELEMENT(object)->info.device_id);
}

RENDER(provisioning)
{
    string(out, ELEMENT(object)->info.provisioning);
}

RENDER(role)
{
    const struct rfs_element *el = ELEMENT(object);

    rfs_text_puts(out, el->as_target ? "Target" : el->as_source ? "Source" : "None");
}

RENDER(statistics)
{
    const struct rfs_element *el = ELEMENT(object);
    struct rfs_volume_stats *s = el->volume ? rfs_volume_stats(el->volume) : NULL;
#define COUNTER(name)                                                                                        \
    rfs_text_printf(out, #name "=%llu\n", s ? (unsigned long long)atomic_load(&s->name) : 0ull)
    COUNTER(read_ops);
    COUNTER(write_ops);
    COUNTER(flush_ops);
    COUNTER(read_bytes);
    COUNTER(write_bytes);
    COUNTER(errors);
    COUNTER(reconnects);
#undef COUNTER
}

static const struct rfs_property rows[] = {
    {"url", 0644, 0,
     "where the LUN is: iscsi://HOST[:PORT]/IQN/LUN or file:/PATH; writing it connects, and is answered when "
     "the LUN is known to be good",
     url},
    {"username", 0644, 0, "CHAP user name; write before url", username},
    {"password", 0200, RFS_PROP_SECRET, "CHAP secret; write-only", secret},
    {"target_username", 0644, 0, "CHAP user name by which the target proves itself (mutual CHAP)",
     target_username},
    {"target_password", 0200, RFS_PROP_SECRET, "CHAP secret of the target; write-only", secret},
    {"header_digest", 0644, RFS_PROP_JSON_NUMBER, "1: CRC32C over iSCSI headers is offered", header_digest},
    {"state", 0444, RFS_PROP_POLL,
     "Unconfigured, Connecting, Online, Offline (tried again by itself) or Refused (reachable, but not what "
     "it should be)",
     state},
    {"last_error", 0444, RFS_PROP_POLL,
     "why it is not Online, or what was last refused; empty when all is well", last_error},
    {"generation", 0444, RFS_PROP_JSON_NUMBER, "grows with every change of the element", generation},
    {"size", 0444, RFS_PROP_JSON_NUMBER, "bytes", size},
    {"block_size", 0444, RFS_PROP_JSON_NUMBER, "bytes of a logical block", block_size},
    {"vendor", 0444, 0, "of the INQUIRY data", vendor},
    {"product", 0444, 0, "of the INQUIRY data", product},
    {"revision", 0444, 0, "of the INQUIRY data", revision},
    {"serial", 0444, 0, "unit serial number", serial},
    {"device_id", 0444, 0, "designator of VPD page 83h: naa., eui. or t10.", device_id},
    {"provisioning", 0444, 0, "Thin, Thick or Unknown", provisioning},
    {"role", 0444, RFS_PROP_POLL, "Source, Target or None", role},
    {"statistics", 0444, RFS_PROP_TABLE, "counters since the daemon's start: operations and bytes",
     statistics},
};

const struct rfs_property_table rfs_element_properties = {rows, sizeof(rows) / sizeof(rows[0])};
