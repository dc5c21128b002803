/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocks are put where they belong in a sparse file in memory, of the volume's size, so that libblkid
 * finds what lies at the end (GPT's copy, RAID superblocks) where it expects it.
 */
#include "engine/signature.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

#define HEAD         (UINT64_C(2) << 20)
#define TAIL         (UINT64_C(1) << 20)
#define TRANSFER     (1u << 20) /* where the device does not ask for less */
#define BUFFER_ALIGN 4096u

struct part {
    uint64_t offset, length;
    char *data;
};

struct rfs_signature {
    uint64_t size;
    uint32_t block_size;
    struct part parts[2];
    unsigned n;
};

/* --- reading --- */

struct reading {
    struct rfs_volume *vol;
    void (*done)(void *arg, struct rfs_signature *sig, const struct rfs_error *err);
    void *arg;
    struct rfs_signature *sig;
    unsigned part;
    uint64_t pos; /* within the part */
    struct rfs_io io;
    struct iovec iov;
    struct rfs_task task;
};

static void add_part(struct rfs_signature *sig, uint64_t offset, uint64_t length)
{
    struct part *part = &sig->parts[sig->n++];

    *part = (struct part){.offset = offset, .length = length};
    if (posix_memalign((void **)&part->data, BUFFER_ALIGN, length))
        abort(); /* as rfs_xmalloc() */
}

static struct rfs_signature *plan(const struct rfs_device_info *info)
{
    struct rfs_signature *sig = rfs_xcalloc(1, sizeof(*sig));

    sig->size = info->size;
    sig->block_size = info->block_size;
    if (sig->size <= HEAD + TAIL) {
        add_part(sig, 0, sig->size);
        return sig;
    }
    add_part(sig, 0, HEAD);
    add_part(sig, sig->size - TAIL, TAIL);
    return sig;
}

static void finish(struct reading *r, const struct rfs_error *err)
{
    struct rfs_signature *sig = r->sig;

    if (err) {
        rfs_signature_free(sig);
        sig = NULL;
    }
    r->done(r->arg, sig, err);
    free(r);
}

static uint64_t transfer_size(const struct rfs_device_info *info)
{
    uint64_t max = info->max_transfer && info->max_transfer < TRANSFER ? info->max_transfer : TRANSFER;

    max -= max % info->block_size;
    return max ? max : info->block_size;
}

static void on_read(struct rfs_io *io);

static void read_more(struct reading *r)
{
    const struct part *part = &r->sig->parts[r->part];
    uint64_t left = part->length - r->pos, max = transfer_size(rfs_volume_info(r->vol));

    r->iov = (struct iovec){.iov_base = part->data + r->pos, .iov_len = left < max ? left : max};
    r->io = (struct rfs_io){.op = RFS_IO_READ,
                            .offset = part->offset + r->pos,
                            .length = r->iov.iov_len,
                            .iov = &r->iov,
                            .niov = 1,
                            .done = on_read};
    rfs_volume_submit(r->vol, &r->io);
}

static void on_read(struct rfs_io *io)
{
    struct reading *r = RFS_CONTAINER_OF(io, struct reading, io);

    if (io->status != RFS_IO_OK) {
        rfs_error_wrap(&io->error, "looking for signatures");
        finish(r, &io->error);
        return;
    }
    r->pos += io->length;
    if (r->pos == r->sig->parts[r->part].length) {
        r->part++;
        r->pos = 0;
    }
    if (r->part == r->sig->n)
        finish(r, NULL);
    else
        read_more(r);
}

/* Its size is not known yet, so there is nothing that could be asked for. */
static void never_online(struct rfs_task *task)
{
    struct reading *r = RFS_CONTAINER_OF(task, struct reading, task);
    const struct rfs_error *why = rfs_volume_why(r->vol);
    struct rfs_error err = RFS_ERROR_INIT;

    rfs_fail(&err, RFS_RV_FAILED, "looking for signatures: the volume is %s%s%s; it has to be Online",
             rfs_device_state_name(rfs_volume_state(r->vol)), why ? ": " : "", why ? why->msg : "");
    finish(r, &err);
}

void rfs_signature_read(struct rfs_volume *vol,
                        void (*done)(void *arg, struct rfs_signature *sig, const struct rfs_error *err),
                        void *arg)
{
    const struct rfs_device_info *info = rfs_volume_info(vol);
    struct reading *r = rfs_xcalloc(1, sizeof(*r));

    r->vol = vol;
    r->done = done;
    r->arg = arg;
    if (!info || info->size == 0 || info->block_size == 0) {
        r->task.run = never_online;
        rfs_loop_post(rfs_volume_loop(vol), &r->task);
        return;
    }
    r->sig = plan(info);
    read_more(r);
}

void rfs_signature_free(struct rfs_signature *sig)
{
    if (!sig)
        return;
    for (unsigned i = 0; i < sig->n; i++)
        free(sig->parts[i].data);
    free(sig);
}

/* --- identifying --- */

/* What is not "TYPE file system". */
static const struct {
    const char *type, *text;
} names[] = {
    {"LVM1_member", "LVM physical volume"},
    {"LVM2_member", "LVM physical volume"},
    {"linux_raid_member", "Linux RAID member"},
    {"crypto_LUKS", "LUKS encrypted volume"},
    {"swap", "swap space"},
    {"swsuspend", "hibernation image"},
    {"zfs_member", "ZFS pool member"},
    {"bcache", "bcache device"},
    {"drbd", "DRBD device"},
    {"BitLocker", "BitLocker encrypted volume"},
};

static const struct {
    const char *usage, *text;
} usages[] = {
    {"filesystem", "file system"},
    {"raid", "RAID member"},
    {"crypto", "encrypted volume"},
};

static const char *value_of(blkid_probe pr, const char *name)
{
    const char *value = NULL;

    return blkid_probe_lookup_value(pr, name, &value, NULL) == 0 && value && *value ? value : NULL;
}

static void say_type(struct rfs_text *out, blkid_probe pr, const char *type)
{
    const char *usage = value_of(pr, "USAGE"), *text = "signature";

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(type, names[i].type) == 0) {
            rfs_text_puts(out, names[i].text);
            return;
        }
    for (size_t i = 0; usage && i < sizeof(usages) / sizeof(usages[0]); i++)
        if (strcmp(usage, usages[i].usage) == 0)
            text = usages[i].text;
    rfs_text_printf(out, "%s %s", type, text);
}

static void say_value(struct rfs_text *out, blkid_probe pr, const char *key, const char *name)
{
    const char *value = value_of(pr, name);

    if (value)
        rfs_text_printf(out, ", %s %s", key, value);
}

/* The values that the last probing left: of a superblock, of a partition table, or of both. */
static void say_values(struct rfs_text *out, blkid_probe pr)
{
    const char *type = value_of(pr, "TYPE"), *table = value_of(pr, "PTTYPE");

    if (type) {
        rfs_text_puts(out, out->len ? "; " : "");
        say_type(out, pr, type);
        say_value(out, pr, "label", "LABEL");
        say_value(out, pr, "uuid", "UUID");
    }
    if (table) {
        rfs_text_printf(out, "%s%s partition table", out->len ? "; " : "", table);
        say_value(out, pr, "uuid", "PTUUID");
    }
}

static blkid_probe new_probe(int fd, const struct rfs_signature *sig)
{
    blkid_probe pr = blkid_new_probe();

    if (pr && blkid_probe_set_device(pr, fd, 0, 0) == 0 &&
        blkid_probe_set_sectorsize(pr, sig->block_size) == 0 && blkid_probe_enable_superblocks(pr, 1) == 0 &&
        blkid_probe_enable_partitions(pr, 1) == 0 &&
        blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_LABEL |
                                                  BLKID_SUBLKS_UUID) == 0 &&
        blkid_probe_set_partitions_flags(pr, BLKID_PARTS_FORCE_GPT) == 0)
        return pr;
    blkid_free_probe(pr);
    return NULL;
}

/* Everything there is, one after the other: for what contradicts itself. */
static void say_all(struct rfs_text *out, blkid_probe pr)
{
    blkid_reset_probe(pr);
    for (unsigned i = 0; i < 16 && blkid_do_probe(pr) == 0; i++)
        say_values(out, pr);
}

static int probe(int fd, const struct rfs_signature *sig, struct rfs_text *out, struct rfs_error *err)
{
    blkid_probe pr = new_probe(fd, sig);
    int rc;

    if (!pr)
        return rfs_fail(err, RFS_RV_NO_RESOURCES, "looking for signatures: libblkid cannot be set up");
    errno = 0;
    rc = blkid_do_safeprobe(pr); /* 0: something; 1: nothing; -2: several that contradict each other */
    if (rc == 0)
        say_values(out, pr);
    else if (rc == -2)
        say_all(out, pr);
    if ((rc == 0 || rc == -2) && out->len == 0)
        rfs_text_puts(out, "an unknown signature");
    blkid_free_probe(pr);
    if (rc != 0 && rc != 1 && rc != -2)
        return rfs_fail_sys(err, errno ? errno : EIO, "looking for signatures");
    return rc == 1 ? 0 : 1;
}

static int fill_file(int fd, const struct rfs_signature *sig)
{
    if (ftruncate(fd, (off_t)sig->size))
        return -1;
    for (unsigned i = 0; i < sig->n; i++)
        for (uint64_t done = 0; done < sig->parts[i].length;) {
            const struct part *part = &sig->parts[i];
            ssize_t n = pwrite(fd, part->data + done, part->length - done, (off_t)(part->offset + done));

            if (n <= 0)
                return -1;
            done += (uint64_t)n;
        }
    return 0;
}

/* Labels are whatever somebody wrote there. */
static void copy_clean(char *what, size_t size, const char *text)
{
    snprintf(what, size, "%s", text);
    for (; *what; what++)
        if ((unsigned char)*what < 0x20 || *what == 0x7f)
            *what = '?';
}

int rfs_signature_identify(const struct rfs_signature *sig, char *what, size_t size, struct rfs_error *err)
{
    struct rfs_text out = RFS_TEXT_INIT;
    int fd = memfd_create("signature", MFD_CLOEXEC), rc;

    if (fd < 0 || fill_file(fd, sig))
        rc = rfs_fail_sys(err, errno, "looking for signatures: a file in memory");
    else
        rc = probe(fd, sig, &out, err);
    if (rc == 1)
        copy_clean(what, size, out.data);
    rfs_text_free(&out);
    if (fd >= 0)
        close(fd);
    return rc;
}
