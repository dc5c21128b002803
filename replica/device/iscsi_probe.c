/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding out what the LUN behind a new session is: one command after the other, a table of them, and then
 * whether it is the LUN that the catalogue remembers.
 *
 * Identity. A designator is taken as the LUN's name in the world only if it can be one: NAA 6, 5 or 2 with a
 * company id, or an EUI-64. Seen on real targets:
 *  - tgt 1.0.85 makes all it says from the numbers of target and LUN: NAA 6 `6000 0000 0000 0000 0e00 0000
 * 0001 0001` (company id 0), a locally assigned NAA 3, T10 `IET     00010001`, serial `beaf11`. The first
 * disks of any two daemons say the same. The same holds, but for its T10 text, where an administrator set
 * scsi_id or scsi_sn.
 *  - istgt 0.4 says a locally assigned NAA 3 and a serial that is the number of the unit by default.
 * So where no designator is unique the identity is IQN, LUN, T10 designator and serial. The portal is never
 * part of it: two portals of one target lead to the same LUN.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "device/iscsi_priv.h"

#define ARRAY_LEN(a)   (sizeof(a) / sizeof((a)[0]))
#define TRIES_MAX      40 /* unit attentions and "becoming ready" of one step; the attempt's time limits too */
#define VPD_LENGTH     1020 /* its low byte alone is a sensible length too, for targets that look at no more */
#define MAX_UNMAP      (1ull << 30) /* bytes; keeps one command well within its time limit */
#define MAX_WRITE_SAME (64ull << 20)
#define VENDOR_TGT     "IET"

enum outcome { NEXT, FAILED };

/* When a step is done; a VPD page (not negative): if the LUN lists it. */
enum { ALWAYS = -1, IF_THIN = -2, IF_NO_CAPACITY16 = -3 };

struct step {
    const char *name;
    int when;
    struct scsi_task *(*issue)(struct rfs_iscsi_session *s, iscsi_command_cb cb);
    enum outcome (*take)(struct rfs_iscsi_session *s, int status, struct scsi_task *task);
};

static const struct step steps[];

/* Text fields are padded with blanks, on either side (tgt pads its serial in front). */
static void copy_trimmed(char *out, size_t size, const char *in, size_t len)
{
    while (len && (*in == ' ' || !*in))
        in++, len--;
    while (len && (in[len - 1] == ' ' || !in[len - 1]))
        len--;
    if (len >= size)
        len = size - 1;
    for (size_t i = 0; i < len; i++)
        out[i] = in[i] >= 0x20 && in[i] < 0x7f ? in[i] : '?';
    out[len] = '\0';
}

static void no_such_lun(struct rfs_iscsi_session *s)
{
    const struct rfs_iscsi_url *url = &s->dev->url;

    rfs_iscsi_fail(
        s, RFS_DEVICE_REFUSED, RFS_RV_NOT_FOUND,
        "target %s has no LUN %d for this initiator; check the number and the target's access list",
        url->target, url->lun);
}

/* --- TEST UNIT READY --- */

static struct scsi_task *issue_ready(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    return iscsi_testunitready_task(s->ctx, s->dev->lun, cb, s);
}

/* Other answers do not matter here: what follows fails by itself if it must. */
static enum outcome take_ready(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct rfs_iscsi_sense sense;

    rfs_iscsi_sense(task, &sense);
    if (status != SCSI_STATUS_CHECK_CONDITION || sense.key != SCSI_SENSE_ILLEGAL_REQUEST || sense.asc != 0x25)
        return NEXT;
    no_such_lun(s);
    return FAILED;
}

/* --- INQUIRY --- */

static struct scsi_task *issue_inquiry(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    return iscsi_inquiry_task(s->ctx, s->dev->lun, 0, 0, 255, cb, s);
}

static enum outcome take_inquiry(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_inquiry_standard *inq = status ? NULL : scsi_datain_unmarshall(task);
    struct rfs_device_info *info = &s->probe.info;
    char text[200];

    if (!inq) {
        rfs_iscsi_fail(s, RFS_DEVICE_REFUSED, RFS_RV_FAILED, "INQUIRY failed: %s",
                       rfs_iscsi_status_text(status, task, text, sizeof(text)));
        return FAILED;
    }
    if (inq->qualifier != SCSI_INQUIRY_PERIPHERAL_QUALIFIER_CONNECTED) {
        no_such_lun(s);
        return FAILED;
    }
    if (inq->device_type != SCSI_INQUIRY_PERIPHERAL_DEVICE_TYPE_DIRECT_ACCESS) {
        rfs_iscsi_fail(s, RFS_DEVICE_REFUSED, RFS_RV_FAILED,
                       "LUN %d is not a disk but of peripheral device type 0x%02x; name a LUN that is a disk",
                       s->dev->url.lun, (unsigned)inq->device_type);
        return FAILED;
    }
    copy_trimmed(info->vendor, sizeof(info->vendor), inq->vendor_identification, 8);
    copy_trimmed(info->product, sizeof(info->product), inq->product_identification, 16);
    copy_trimmed(info->revision, sizeof(info->revision), inq->product_revision_level, 4);
    return NEXT;
}

/* --- vital product data --- */

static struct scsi_task *issue_vpd(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    int page = steps[s->probe.step].when;

    return iscsi_inquiry_task(s->ctx, s->dev->lun, 1, page < 0 ? 0 : page, VPD_LENGTH, cb, s);
}

static enum outcome take_pages(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_inquiry_supported_pages *list = status ? NULL : scsi_datain_unmarshall(task);

    for (int i = 0; list && i < list->num_pages; i++)
        s->probe.pages[list->pages[i]] = true;
    return NEXT;
}

static enum outcome take_serial(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_inquiry_unit_serial_number *usn = status ? NULL : scsi_datain_unmarshall(task);

    if (usn && usn->usn)
        copy_trimmed(s->probe.info.serial, sizeof(s->probe.info.serial), usn->usn, strlen(usn->usn));
    return NEXT;
}

static void hex(char *out, size_t size, const char *prefix, const unsigned char *in, size_t len)
{
    size_t n = (size_t)snprintf(out, size, "%s", prefix);

    for (size_t i = 0; i < len && n + 2 < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%02x", in[i]);
}

/* The company that vouches for an NAA name: 24 bits behind the type (NAA 5 and 6), or behind 12 more (NAA 2).
 */
static unsigned company_id(const unsigned char *naa)
{
    if (naa[0] >> 4 == 2)
        return (unsigned)naa[2] << 16 | (unsigned)naa[3] << 8 | naa[4];
    return ((unsigned)naa[0] & 0xf) << 20 | (unsigned)naa[1] << 12 | (unsigned)naa[2] << 4 |
           (unsigned)naa[3] >> 4;
}

static bool all_zero(const unsigned char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i])
            return false;
    return true;
}

/* NAA types in order of preference; 3 is locally assigned, by somebody who knows only of his own. */
static const struct {
    unsigned type, length;
    int rank;
    bool global;
} naa_types[] = {{6, 16, 6, true}, {5, 8, 5, true}, {2, 8, 4, true}, {3, 8, 2, false}};

#define RANK_EUI 3
#define RANK_T10 1

static void take_naa(struct rfs_iscsi_probe *p, const unsigned char *d, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(naa_types); i++) {
        if (len < naa_types[i].length || d[0] >> 4 != naa_types[i].type || naa_types[i].rank <= p->id_rank)
            continue;
        p->id_rank = naa_types[i].rank;
        p->id_unique = naa_types[i].global && company_id(d) && strcmp(p->info.vendor, VENDOR_TGT) != 0;
        hex(p->info.device_id, sizeof(p->info.device_id), "naa.", d, naa_types[i].length);
    }
}

static void take_eui(struct rfs_iscsi_probe *p, const unsigned char *d, size_t len)
{
    if (p->id_rank >= RANK_EUI || all_zero(d, len))
        return;
    p->id_rank = RANK_EUI;
    p->id_unique = true;
    hex(p->info.device_id, sizeof(p->info.device_id), "eui.", d, len);
}

static void take_t10(struct rfs_iscsi_probe *p, const unsigned char *d, size_t len)
{
    copy_trimmed(p->t10, sizeof(p->t10), (const char *)d, len);
    if (p->id_rank >= RANK_T10)
        return;
    p->id_rank = RANK_T10;
    p->id_unique = false;
    snprintf(p->info.device_id, sizeof(p->info.device_id), "t10.%s", p->t10);
}

static enum outcome take_designators(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_inquiry_device_identification *page = status ? NULL : scsi_datain_unmarshall(task);

    for (struct scsi_inquiry_device_designator *d = page ? page->designators : NULL; d; d = d->next) {
        const unsigned char *bytes = (const unsigned char *)d->designator;
        size_t len = d->designator_length > 0 ? (size_t)d->designator_length : 0;

        if (d->association != SCSI_ASSOCIATION_LOGICAL_UNIT || len < 1)
            continue;
        if (d->designator_type == SCSI_DESIGNATOR_TYPE_NAA && len >= 8)
            take_naa(&s->probe, bytes, len);
        else if (d->designator_type == SCSI_DESIGNATOR_TYPE_EUI_64 && len >= 8)
            take_eui(&s->probe, bytes, len);
        else if (d->designator_type == SCSI_DESIGNATOR_TYPE_T10_VENDORT_ID)
            take_t10(&s->probe, bytes, len);
    }
    return NEXT;
}

static enum outcome take_limits(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_inquiry_block_limits *limits = status ? NULL : scsi_datain_unmarshall(task);
    struct rfs_iscsi_probe *p = &s->probe;

    if (!limits)
        return NEXT;
    p->max_transfer = limits->max_xfer_len;
    p->optimal_transfer = limits->opt_xfer_len;
    p->max_unmap = limits->max_unmap;
    p->max_unmap_descriptors = limits->max_unmap_bdc;
    p->unmap_granularity = limits->opt_unmap_gran;
    p->max_write_same = limits->max_ws_len;
    return NEXT;
}

static enum outcome take_provisioning(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_inquiry_logical_block_provisioning *lbp = status ? NULL : scsi_datain_unmarshall(task);
    struct rfs_iscsi_probe *p = &s->probe;

    if (!lbp)
        return NEXT;
    p->lbp_page = true;
    p->lbpu = lbp->lbpu;
    p->thick = lbp->provisioning_type == PROVISIONING_TYPE_RESOURCE;
    return NEXT;
}

/* --- capacity --- */

static struct scsi_task *issue_capacity16(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    return iscsi_readcapacity16_task(s->ctx, s->dev->lun, cb, s);
}

static bool sane_block_size(uint32_t size)
{
    return size >= 512 && size <= 65536 && !(size & (size - 1));
}

static enum outcome bad_capacity(struct rfs_iscsi_session *s, const char *why)
{
    rfs_iscsi_fail(s, RFS_DEVICE_REFUSED, RFS_RV_FAILED, "the LUN's capacity cannot be used: %s", why);
    return FAILED;
}

static enum outcome take_capacity16(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_readcapacity16 *cap = status ? NULL : scsi_datain_unmarshall(task);
    struct rfs_iscsi_probe *p = &s->probe;

    if (!cap)
        return NEXT; /* READ CAPACITY(10) follows */
    if (!sane_block_size(cap->block_length) || cap->returned_lba >= UINT64_MAX / cap->block_length)
        return bad_capacity(s, "READ CAPACITY(16) says nonsense");
    p->capacity16 = true;
    p->blocks = cap->returned_lba + 1;
    p->info.block_size = cap->block_length;
    p->info.physical_block_size = cap->block_length << cap->lbppbe;
    p->lbpme = cap->lbpme;
    p->lbprz = cap->lbprz;
    return NEXT;
}

static struct scsi_task *issue_capacity10(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    return iscsi_readcapacity10_task(s->ctx, s->dev->lun, 0, 0, cb, s);
}

static enum outcome take_capacity10(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_readcapacity10 *cap = status ? NULL : scsi_datain_unmarshall(task);
    struct rfs_iscsi_probe *p = &s->probe;
    char text[200];

    if (!cap)
        return bad_capacity(s, rfs_iscsi_status_text(status, task, text, sizeof(text)));
    if (!sane_block_size(cap->block_size) || cap->lba == UINT32_MAX)
        return bad_capacity(s,
                            "READ CAPACITY(16) is not answered, and READ CAPACITY(10) does not reach so far");
    p->blocks = (uint64_t)cap->lba + 1;
    p->info.block_size = p->info.physical_block_size = cap->block_size;
    return NEXT;
}

/* --- MODE SENSE, GET LBA STATUS --- */

static struct scsi_task *issue_mode(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    return iscsi_modesense6_task(s->ctx, s->dev->lun, 1, SCSI_MODESENSE_PC_CURRENT, SCSI_MODEPAGE_CACHING, 0,
                                 252, cb, s);
}

/* Read by hand: the header counts even where the page is missing. */
static enum outcome take_mode(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    const unsigned char *m = task ? task->datain.data : NULL;
    size_t len = m && task->datain.size > 0 ? (size_t)task->datain.size : 0;
    struct rfs_iscsi_probe *p = &s->probe;
    size_t page;

    if (status || len < 4)
        return NEXT;
    p->info.write_protected = m[2] & 0x80;
    p->dpofua = m[2] & 0x10;
    page = 4 + (size_t)m[3];
    if (page + 3 <= len && (m[page] & 0x3f) == SCSI_MODEPAGE_CACHING)
        p->info.volatile_cache = m[page + 2] & 0x04;
    return NEXT;
}

static struct scsi_task *issue_lba_status(struct rfs_iscsi_session *s, iscsi_command_cb cb)
{
    return iscsi_get_lba_status_task(s->ctx, s->dev->lun, 0, 24, cb, s);
}

static enum outcome take_lba_status(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct scsi_get_lba_status *list = status ? NULL : scsi_datain_unmarshall(task);

    s->probe.info.extent_status = list && list->num_descriptors > 0;
    return NEXT;
}

/* --- what follows from it --- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A limit in blocks, 0 or all ones meaning none, as bytes of at most `cap`. */
static uint64_t limit_bytes(uint64_t blocks, uint64_t none, uint32_t block_size, uint64_t cap)
{
    return !blocks || blocks >= none ? cap : min_u64(blocks * block_size, cap);
}

static void derive_limits(struct rfs_iscsi_probe *p)
{
    struct rfs_device_info *info = &p->info;
    uint32_t bs = info->block_size;

    info->size = p->blocks * bs;
    info->max_transfer = (uint32_t)limit_bytes(p->max_transfer, UINT32_MAX, bs, RFS_ISCSI_MAX_TRANSFER);
    info->optimal_transfer =
        p->optimal_transfer ? (uint32_t)min_u64((uint64_t)p->optimal_transfer * bs, info->max_transfer) : 0;
    info->unmap_granularity = p->unmap_granularity ? (uint64_t)p->unmap_granularity * bs : bs;
    if (p->lbpme && p->max_unmap && p->max_unmap_descriptors && (p->lbpu || !p->lbp_page))
        info->max_unmap = limit_bytes(p->max_unmap, UINT32_MAX, bs, MAX_UNMAP);
    /* Whether WRITE SAME is known shows when it is tried: refused once, it is not offered any more. */
    info->max_write_zeroes = limit_bytes(p->max_write_same, UINT64_MAX / 65536, bs, MAX_WRITE_SAME);
    info->unmapped_reads_zero = p->lbpme && p->lbprz;
}

static void derive_provisioning(struct rfs_iscsi_probe *p)
{
    const char *text = "Unknown";

    if (p->capacity16)
        text = p->lbpme && !p->thick ? "Thin" : "Thick";
    snprintf(p->info.provisioning, sizeof(p->info.provisioning), "%s", text);
}

static void derive_identity(struct rfs_iscsi_session *s)
{
    struct rfs_iscsi_probe *p = &s->probe;
    char iqn[sizeof(s->dev->url.target)];
    size_t i = 0;

    if (p->id_unique) {
        snprintf(p->info.identity, sizeof(p->info.identity), "%s", p->info.device_id);
        return;
    }
    for (; s->dev->url.target[i]; i++) /* iSCSI names do not know of case (RFC 3722) */
        iqn[i] =
            (char)(s->dev->url.target[i] >= 'A' && s->dev->url.target[i] <= 'Z' ? s->dev->url.target[i] + 32
                                                                                : s->dev->url.target[i]);
    iqn[i] = '\0';
    snprintf(p->info.identity, sizeof(p->info.identity), "%s/%d t10.%s serial.%s", iqn, s->dev->url.lun,
             p->t10, p->info.serial);
}

static int check_expected(struct rfs_iscsi_session *s)
{
    const struct rfs_iscsi *dev = s->dev;
    const struct rfs_device_info *info = &s->probe.info;

    if (dev->expect_identity && strcmp(dev->expect_identity, info->identity) != 0) {
        rfs_iscsi_fail(
            s, RFS_DEVICE_REFUSED, RFS_RV_FAILED,
            "another LUN answers at %s: expected %s, found %s; bring the former LUN back, or remove the "
            "element and create it anew for this one",
            dev->config.url, dev->expect_identity, info->identity);
        return -1;
    }
    if (dev->expect_block_size && dev->expect_block_size != info->block_size) {
        rfs_iscsi_fail(
            s, RFS_DEVICE_REFUSED, RFS_RV_FAILED,
            "the LUN's block size changed: expected %u, found %u; set it back, or remove the element and "
            "create it anew",
            dev->expect_block_size, info->block_size);
        return -1;
    }
    if (info->size < dev->expect_size) {
        rfs_iscsi_fail(s, RFS_DEVICE_REFUSED, RFS_RV_FAILED,
                       "the LUN shrank from %" PRIu64 " to %" PRIu64
                       " bytes; enlarge it to its former size, or "
                       "remove the element and create it anew",
                       dev->expect_size, info->size);
        return -1;
    }
    return 0;
}

static void complete(struct rfs_iscsi_session *s)
{
    derive_limits(&s->probe);
    derive_provisioning(&s->probe);
    derive_identity(s);
    if (!s->probe.blocks) {
        rfs_iscsi_fail(s, RFS_DEVICE_REFUSED, RFS_RV_FAILED, "the LUN is empty (0 blocks)");
        return;
    }
    if (check_expected(s) == 0)
        rfs_iscsi_online(s);
}

/* --- the sequence --- */

static const struct step steps[] = {
    {"TEST UNIT READY", ALWAYS, issue_ready, take_ready},
    {"INQUIRY", ALWAYS, issue_inquiry, take_inquiry},
    {"INQUIRY (page 0x00)", ALWAYS, issue_vpd, take_pages},
    {"INQUIRY (page 0x80)", SCSI_INQUIRY_PAGECODE_UNIT_SERIAL_NUMBER, issue_vpd, take_serial},
    {"INQUIRY (page 0x83)", SCSI_INQUIRY_PAGECODE_DEVICE_IDENTIFICATION, issue_vpd, take_designators},
    {"INQUIRY (page 0xb0)", SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, issue_vpd, take_limits},
    {"INQUIRY (page 0xb2)", SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, issue_vpd, take_provisioning},
    {"READ CAPACITY(16)", ALWAYS, issue_capacity16, take_capacity16},
    {"READ CAPACITY(10)", IF_NO_CAPACITY16, issue_capacity10, take_capacity10},
    {"MODE SENSE", ALWAYS, issue_mode, take_mode},
    {"GET LBA STATUS", IF_THIN, issue_lba_status, take_lba_status},
};

static void on_answer(struct iscsi_context *ctx, int status, void *data, void *arg);

static bool is_needed(const struct rfs_iscsi_probe *p, int when)
{
    switch (when) {
    case ALWAYS:
        return true;
    case IF_THIN:
        return p->lbpme;
    case IF_NO_CAPACITY16:
        return !p->capacity16;
    default:
        return p->pages[when];
    }
}

static void issue_step(struct rfs_iscsi_session *s)
{
    struct rfs_iscsi_probe *p = &s->probe;

    while (p->step < ARRAY_LEN(steps) && !is_needed(p, steps[p->step].when))
        p->step++;
    if (p->step == ARRAY_LEN(steps)) {
        complete(s);
        return;
    }
    s->dirty = true;
    if (!steps[p->step].issue(s, on_answer))
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "%s: %s", steps[p->step].name,
                       rfs_iscsi_reason(s->ctx));
}

static bool is_passing(int status, const struct scsi_task *task)
{
    struct rfs_iscsi_sense sense;
    enum rfs_io_status unused;

    if (status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL)
        return true;
    if (status != SCSI_STATUS_CHECK_CONDITION)
        return false;
    rfs_iscsi_sense(task, &sense);
    return sense.key == SCSI_SENSE_UNIT_ATTENTION || rfs_iscsi_judge(&sense, &unused) == RFS_ISCSI_WAIT;
}

static void advance(struct rfs_iscsi_session *s, int status, struct scsi_task *task)
{
    struct rfs_iscsi_probe *p = &s->probe;
    const struct step *step = &steps[p->step];
    char text[200];

    if (status == SCSI_STATUS_CANCELLED) {
        rfs_iscsi_lost(s);
        return;
    }
    if (is_passing(status, task)) {
        if (p->tries++ < TRIES_MAX)
            issue_step(s);
        else
            rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the LUN does not become ready: %s: %s",
                           step->name, rfs_iscsi_status_text(status, task, text, sizeof(text)));
        return;
    }
    p->tries = 0;
    if (step->take(s, status, task) == FAILED)
        return;
    p->step++;
    issue_step(s);
}

static void on_answer(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    struct rfs_iscsi_session *s = arg;
    struct scsi_task *task = data;

    (void)ctx;
    if (!s->dead && !s->failed)
        advance(s, status, task);
    rfs_iscsi_task_free(task);
}

void rfs_iscsi_probe(struct rfs_iscsi_session *s)
{
    memset(&s->probe, 0, sizeof(s->probe));
    issue_step(s);
}
