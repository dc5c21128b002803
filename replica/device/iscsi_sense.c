/* SPDX-License-Identifier: Apache-2.0
 *
 * What a command's status and sense data mean.
 */
#include <stdio.h>

#include "device/iscsi_priv.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t big_endian(const unsigned char *at, size_t n)
{
    uint64_t value = 0;

    while (n--)
        value = value << 8 | *at++;
    return value;
}

/* The information field: in fixed format where VALID says so, in descriptor format in a descriptor of type 0.
 */
static bool sense_information(const unsigned char *raw, size_t len, uint64_t *info)
{
    if (len >= 7 && (raw[0] == 0xf0 || raw[0] == 0xf1)) {
        *info = big_endian(raw + 3, 4);
        return true;
    }
    if (len >= 20 && (raw[0] & 0x7e) == 0x72 && raw[8] == 0 && raw[9] == 0x0a && raw[10] & 0x80) {
        *info = big_endian(raw + 12, 8);
        return true;
    }
    return false;
}

void rfs_iscsi_sense(const struct scsi_task *task, struct rfs_iscsi_sense *sense)
{
    *sense = (struct rfs_iscsi_sense){0};
    if (task) {
        sense->key = (unsigned)task->sense.key;
        sense->asc = (unsigned)task->sense.ascq >> 8 & 0xff;
        sense->ascq = (unsigned)task->sense.ascq & 0xff;
        sense->deferred = task->sense.error_type == 0x71 || task->sense.error_type == 0x73;
        if (task->datain.data && task->datain.size > 2) /* two bytes of length stand before it */
            sense->has_info =
                sense_information(task->datain.data + 2, (size_t)task->datain.size - 2, &sense->info);
    }
    snprintf(sense->text, sizeof(sense->text), "%ssense %s %x/%02x/%02x", sense->deferred ? "deferred " : "",
             scsi_sense_key_str((int)sense->key) ? scsi_sense_key_str((int)sense->key) : "?", sense->key,
             sense->asc, sense->ascq);
}

static const struct {
    int status;
    const char *text;
} status_texts[] = {
    {SCSI_STATUS_CONDITION_MET, "status CONDITION MET"},
    {SCSI_STATUS_BUSY, "status BUSY"},
    {SCSI_STATUS_RESERVATION_CONFLICT, "status RESERVATION CONFLICT: another initiator holds a reservation"},
    {SCSI_STATUS_TASK_SET_FULL, "status TASK SET FULL"},
    {SCSI_STATUS_ACA_ACTIVE, "status ACA ACTIVE"},
    {SCSI_STATUS_TASK_ABORTED, "status TASK ABORTED"},
    {SCSI_STATUS_CANCELLED, "the session ended"},
    {SCSI_STATUS_ERROR, "the target rejected the command"},
    {SCSI_STATUS_TIMEOUT, "no answer in time"},
};

const char *rfs_iscsi_status_text(int status, const struct scsi_task *task, char *buf, size_t size)
{
    struct rfs_iscsi_sense sense;

    if (status == SCSI_STATUS_CHECK_CONDITION) {
        rfs_iscsi_sense(task, &sense);
        snprintf(buf, size, "%s", sense.text);
        return buf;
    }
    for (size_t i = 0; i < ARRAY_LEN(status_texts); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    snprintf(buf, size, "status 0x%02x", (unsigned)status);
    return buf;
}

#define ANY 0x100

/* First match counts. Keys, codes: SPC-4 4.5.6, annex D; SBC-3 4.7.3.6. */
static const struct rule {
    unsigned key, asc, ascq;
    enum rfs_iscsi_verdict verdict;
    enum rfs_io_status status;
} rules[] = {
    {SCSI_SENSE_NO_SENSE, ANY, ANY, RFS_ISCSI_DONE, RFS_IO_OK},
    {SCSI_SENSE_RECOVERED_ERROR, ANY, ANY, RFS_ISCSI_DONE, RFS_IO_OK},
    {SCSI_SENSE_UNIT_ATTENTION, 0x29, ANY, RFS_ISCSI_RESET, RFS_IO_OK},
    {SCSI_SENSE_UNIT_ATTENTION, 0x2a, 0x09, RFS_ISCSI_CAPACITY, RFS_IO_OK},
    {SCSI_SENSE_UNIT_ATTENTION, 0x3f, 0x03, RFS_ISCSI_ANOTHER, RFS_IO_OK}, /* inquiry data changed */
    {SCSI_SENSE_UNIT_ATTENTION, 0x3f, 0x05, RFS_ISCSI_ANOTHER, RFS_IO_OK}, /* device identifier changed */
    {SCSI_SENSE_UNIT_ATTENTION, 0x3f, 0x0e, RFS_ISCSI_ANOTHER, RFS_IO_OK}, /* reported LUNs changed */
    {SCSI_SENSE_UNIT_ATTENTION, ANY, ANY, RFS_ISCSI_ATTENTION, RFS_IO_OK},
    {SCSI_SENSE_NOT_READY, 0x04, 0x01, RFS_ISCSI_WAIT, RFS_IO_OK}, /* becoming ready */
    {SCSI_SENSE_NOT_READY, 0x04, 0x07, RFS_ISCSI_WAIT, RFS_IO_OK}, /* operation in progress */
    {SCSI_SENSE_NOT_READY, 0x04, 0x0a, RFS_ISCSI_WAIT, RFS_IO_OK}, /* asymmetric access state transition */
    {SCSI_SENSE_NOT_READY, 0x04, 0x14, RFS_ISCSI_WAIT, RFS_IO_OK}, /* space allocation in progress */
    {ANY, 0x27, 0x07, RFS_ISCSI_FAIL, RFS_IO_NOSPACE},
    {SCSI_SENSE_DATA_PROTECTION, ANY, ANY, RFS_ISCSI_FAIL, RFS_IO_PROTECTED},
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x25, 0x00, RFS_ISCSI_ANOTHER, RFS_IO_OK}, /* no such LUN any more */
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x21, 0x00, RFS_ISCSI_FAIL, RFS_IO_RANGE},
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x20, ANY, RFS_ISCSI_FAIL, RFS_IO_UNSUPPORTED},
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x24, ANY, RFS_ISCSI_FAIL, RFS_IO_UNSUPPORTED},
    {SCSI_SENSE_ILLEGAL_REQUEST, 0x26, ANY, RFS_ISCSI_FAIL, RFS_IO_UNSUPPORTED},
    {SCSI_SENSE_COMMAND_ABORTED, ANY, ANY, RFS_ISCSI_ABORTED, RFS_IO_OK},
    {ANY, ANY, ANY, RFS_ISCSI_FAIL, RFS_IO_ERROR},
};

static bool rule_fits(const struct rule *r, const struct rfs_iscsi_sense *sense)
{
    return (r->key == ANY || r->key == sense->key) && (r->asc == ANY || r->asc == sense->asc) &&
           (r->ascq == ANY || r->ascq == sense->ascq);
}

static const struct rule *find_rule(const struct rfs_iscsi_sense *sense)
{
    const struct rule *r = rules;

    if (sense->deferred) /* about an earlier command, which was acknowledged: must be heard of */
        return &rules[ARRAY_LEN(rules) - 1];
    while (!rule_fits(r, sense))
        r++;
    return r;
}

enum rfs_iscsi_verdict rfs_iscsi_judge(const struct rfs_iscsi_sense *sense, enum rfs_io_status *status)
{
    const struct rule *rule = find_rule(sense);

    *status = rule->status;
    return rule->verdict;
}
