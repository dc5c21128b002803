/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device/fault.h"
#include "device/memory.h"
#include "engine/signature.h"

#define MIB (UINT64_C(1) << 20)

struct fixture {
    char base[64];
    char path[96];
    struct rfs_loop *loop;
    struct rfs_volume *vol;
    struct rfs_volume_listener listener;
    sem_t online, finished, closed;
    struct rfs_device_config config;
    rfs_volume_open_fn open;
    struct rfs_memory_options memory;
    struct rfs_device *fault;
    struct rfs_signature *sig;
    struct rfs_error err;
    char what[500];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->base, "/tmp/test_signature.XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->path, sizeof(f->path), "%s/image", f->base);
    f->loop = rfs_loop_start("worker", NULL);
    assert_non_null(f->loop);
    sem_init(&f->online, 0, 0);
    sem_init(&f->finished, 0, 0);
    sem_init(&f->closed, 0, 0);
    *state = f;
    return 0;
}

static void await(sem_t *sem)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 30;
    assert_int_equal(sem_timedwait(sem, &ts), 0);
}

static void on_changed(struct rfs_volume_listener *l, struct rfs_volume *vol)
{
    struct fixture *f = RFS_CONTAINER_OF(l, struct fixture, listener);

    if (rfs_volume_state(vol) == RFS_DEVICE_ONLINE)
        sem_post(&f->online);
}

static void call_open(void *arg)
{
    struct fixture *f = arg;

    f->vol = rfs_volume_open(f->loop, f->open ? NULL : &f->config, f->open, f, &f->err);
    f->listener.changed = on_changed;
    if (f->vol)
        rfs_volume_listen(f->vol, &f->listener);
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;

    sem_post(&f->closed);
}

static void call_close(void *arg)
{
    struct fixture *f = arg;

    rfs_volume_unlisten(f->vol, &f->listener);
    rfs_volume_close(f->vol, on_closed, f);
}

static void close_volume(struct fixture *f)
{
    if (!f->vol)
        return;
    rfs_loop_call(f->loop, call_close, f);
    await(&f->closed);
    f->vol = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_volume(f);
    rfs_loop_stop(f->loop);
    rfs_signature_free(f->sig);
    nftw(f->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void on_read(void *arg, struct rfs_signature *sig, const struct rfs_error *err)
{
    struct fixture *f = arg;

    f->sig = sig;
    f->err = err ? *err : (struct rfs_error)RFS_ERROR_INIT;
    sem_post(&f->finished);
}

static void call_read(void *arg)
{
    struct fixture *f = arg;

    f->sig = (void *)-1; /* not from inside the call */
    rfs_signature_read(f->vol, on_read, f);
    assert_ptr_equal(f->sig, (void *)-1);
}

/* Reads and identifies what the open volume holds: 1, 0 or -1. */
static int identify(struct fixture *f)
{
    int rc = -1;

    rfs_loop_call(f->loop, call_read, f);
    await(&f->finished);
    f->what[0] = '\0';
    if (f->sig)
        rc = rfs_signature_identify(f->sig, f->what, sizeof(f->what), &f->err);
    rfs_signature_free(f->sig);
    f->sig = NULL;
    return rc;
}

static void open_volume(struct fixture *f)
{
    rfs_loop_call(f->loop, call_open, f);
    if (!f->vol)
        fail_msg("%s", f->err.msg);
    await(&f->online);
}

/* The same through the file device. */
static int identify_file(struct fixture *f)
{
    char url[128];
    int rc;

    snprintf(url, sizeof(url), "file:%s", f->path);
    f->config =
        (struct rfs_device_config){.name = "image", .url = url, .initiator = "iqn.2024-01.test:signature"};
    open_volume(f);
    rc = identify(f);
    close_volume(f);
    return rc;
}

static void make_image(struct fixture *f, uint64_t size)
{
    int fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void put_bytes(struct fixture *f, uint64_t offset, const void *data, size_t length)
{
    int fd = open(f->path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, (off_t)offset), length);
    close(fd);
}

/* Runs a tool on the image, `%s` in the command; skips the test where there is no such tool. */
static void run_tool(struct fixture *f, const char *tool, const char *command)
{
    char line[400], whole[500];

    snprintf(line, sizeof(line), "PATH=$PATH:/usr/sbin:/sbin; command -v %s >/dev/null", tool);
    if (system(line)) {
        print_message("[  NOTE  ] %s is not installed\n", tool);
        skip();
    }
    snprintf(line, sizeof(line), command, f->path);
    snprintf(whole, sizeof(whole), "PATH=$PATH:/usr/sbin:/sbin; (%s) >/dev/null 2>&1", line);
    assert_int_equal(system(whole), 0);
}

static void expect(struct fixture *f, const char *a, const char *b, const char *c)
{
    int rc = identify_file(f);

    if (rc != 1 || !strstr(f->what, a) || !strstr(f->what, b) || !strstr(f->what, c))
        fail_msg("%d: %s%s", rc, f->what, f->err.msg);
}

static void test_nothing(void **state)
{
    static const uint64_t sizes[] = {512,     4096,          MIB - 512, 2 * MIB,
                                     3 * MIB, 3 * MIB + 512, 100 * MIB, MIB << 20};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        make_image(f, sizes[i]);
        assert_int_equal(identify_file(f), 0);
        assert_string_equal(f->what, "");
    }
}

static void test_random_bytes(void **state)
{
    struct fixture *f = *state;
    unsigned char *bytes = malloc(4 * MIB);
    uint64_t x = 88172645463325252u;

    for (size_t i = 0; i < 4 * MIB; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (unsigned char)x;
    }
    make_image(f, 100 * MIB);
    put_bytes(f, 0, bytes, 2 * MIB);
    put_bytes(f, 99 * MIB, bytes + 2 * MIB, MIB);
    assert_int_equal(identify_file(f), 0);
    free(bytes);
}

static void test_ext4(void **state)
{
    struct fixture *f = *state;

    make_image(f, 64 * MIB);
    run_tool(f, "mkfs.ext4", "mkfs.ext4 -q -F -L root -U 5c7d2a1e-3a86-4e1b-9d0c-0f5e0a7c1b22 %s");
    expect(f, "ext4 file system", ", label root", ", uuid 5c7d2a1e-3a86-4e1b-9d0c-0f5e0a7c1b22");
}

static void test_xfs(void **state)
{
    struct fixture *f = *state;

    make_image(f, 400 * MIB);
    run_tool(f, "mkfs.xfs", "mkfs.xfs -q -f -L data %s");
    expect(f, "xfs file system", ", label data", ", uuid ");
}

static void test_swap(void **state)
{
    struct fixture *f = *state;

    make_image(f, 64 * MIB);
    run_tool(f, "mkswap", "mkswap -L paging %s");
    expect(f, "swap space", ", label paging", "");
}

static uint32_t crc_of(uint32_t polynomial, uint32_t crc, const void *data, size_t n)
{
    for (const unsigned char *p = data; n--; p++) {
        crc ^= *p;
        for (unsigned i = 0; i < 8; i++)
            crc = crc & 1 ? (crc >> 1) ^ polynomial : crc >> 1;
    }
    return crc;
}

#define CRC32  0xedb88320u
#define CRC32C 0x82f63b78u

static void put_table(struct fixture *f, unsigned char type)
{
    unsigned char entry[16] = {0, 0, 2, 0, type, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 1, 0};

    put_bytes(f, 440, "\x78\x56\x34\x12", 4);
    put_bytes(f, 446, entry, sizeof(entry));
    put_bytes(f, 510, "\x55\xaa", 2);
}

struct gpt {
    char magic[8];
    uint32_t revision, size, crc, zero;
    uint64_t mine, other, first, last;
    unsigned char guid[16];
    uint64_t entries;
    uint32_t n, entry_size, entries_crc, pad;
};

/* The header at `block` with its empty entries at `entries`. */
static void put_gpt(struct fixture *f, uint64_t blocks, uint64_t block, uint64_t entries)
{
    static const char empty[128 * 128];
    struct gpt h = {.magic = "EFI PAR",
                    .revision = 0x10000,
                    .size = 92,
                    .mine = block,
                    .other = blocks - block,
                    .first = 34,
                    .last = blocks - 34,
                    .entries = entries,
                    .n = 128,
                    .entry_size = 128};

    h.magic[7] = 'T';
    memset(h.guid, 0x5c, sizeof(h.guid));
    h.entries_crc = ~crc_of(CRC32, ~0u, empty, sizeof(empty));
    h.crc = ~crc_of(CRC32, ~0u, &h, h.size);
    put_bytes(f, block * 512, &h, sizeof(h));
}

static void test_gpt(void **state)
{
    static const char zeros[1024];
    struct fixture *f = *state;
    uint64_t blocks = 64 * MIB / 512;

    make_image(f, 64 * MIB);
    put_table(f, 0xee);
    put_gpt(f, blocks, 1, 2);
    put_gpt(f, blocks, blocks - 1, blocks - 33);
    expect(f, "gpt partition table", ", uuid 5c5c5c5c-", "");
    put_bytes(f, 0, zeros, sizeof(zeros)); /* only the copy at the end is left */
    expect(f, "gpt partition table", "", "");
}

static void test_dos(void **state)
{
    struct fixture *f = *state;

    make_image(f, 64 * MIB);
    put_table(f, 5); /* extended: the chain goes on where nothing was read */
    expect(f, "dos partition table", ", uuid 12345678", "");
}

static void test_sfdisk(void **state)
{
    struct fixture *f = *state;

    make_image(f, 64 * MIB);
    run_tool(f, "sfdisk", "printf 'label: gpt\\nsize=10M\\n' | sfdisk %s");
    expect(f, "gpt partition table", ", uuid ", "");
    run_tool(f, "sfdisk",
             "printf 'label: dos\\nlabel-id: 0x12345678\\nsize=10M\\n' | sfdisk --wipe always %s");
    expect(f, "dos partition table", "12345678", "");
}

/* File systems of two kinds on top of each other, and a partition table in front of a file system. */
static void test_ambiguous(void **state)
{
    struct fixture *f = *state;

    make_image(f, 400 * MIB);
    run_tool(f, "mkfs.ext4", "mkfs.ext4 -q -F %s");
    put_table(f, 0x83);
    expect(f, "ext4 file system", "dos partition table", "");
    make_image(f, 400 * MIB);
    run_tool(f, "mkfs.ext4", "mkfs.ext4 -q -F -L below %s");
    run_tool(f, "mkfs.xfs",
             "f=%s; cp --sparse=always $f $f.x; mkfs.xfs -q -f $f.x; "
             "dd if=$f.x of=$f bs=512 count=1 conv=notrunc");
    expect(f, "xfs file system", "; ext4 file system, label below", "");
}

/* A FAT boot sector, whose code area looks like a partition table; then a broken one. */
static void test_fat_with_table(void **state)
{
    struct fixture *f = *state;
    unsigned char sector[512] = {0xeb, 0x3c, 0x90, 'm', 'k', 'd', 'o', 's', 'f', 's', 0};
    static const unsigned char bpb[] = {0, 2, 4, 1, 0, 2, 0, 2, 0, 0,    0xf8, 64,   0,    32,   0,    2,
                                        0, 0, 0, 0, 0, 0, 0, 1, 0, 0x80, 0,    0x29, 0x78, 0x56, 0x34, 0x12};

    make_image(f, 32 * MIB);
    memcpy(sector + 11, bpb, sizeof(bpb));
    memcpy(sector + 43, "BOOT\tDISK  FAT16   ", 19);
    memcpy(sector + 446, "\x80\x01\x01\x00\x06\xfe\x3f\x01\x3f\x00\x00\x00\x00\x10\x00\x00", 16);
    memcpy(sector + 510, "\x55\xaa", 2);
    put_bytes(f, 0, sector, sizeof(sector));
    assert_int_equal(identify_file(f), 1);
    assert_true(f->what[0]);
    assert_null(strchr(f->what, '\t'));
    memset(sector + 446, 0xff, 64);
    put_bytes(f, 0, sector, sizeof(sector));
    assert_true(identify_file(f) >= 0);
}

static void test_lvm(void **state)
{
    struct fixture *f = *state;
    unsigned char label[512] = "LABELONE\1"; /* of sector 1, where it lies; all little-endian */
    uint32_t crc;

    label[20] = 32; /* offset of the header */
    memcpy(label + 24, "LVM2 001", 8);
    memcpy(label + 32, "abcdefghijklmnopqrstuvwxyzABCDEF", 32);
    crc = crc_of(CRC32, 0xf597a6cf, label + 20, 512 - 20);
    for (unsigned i = 0; i < 4; i++)
        label[16 + i] = (unsigned char)(crc >> (8 * i));
    make_image(f, 64 * MIB);
    put_bytes(f, 512, label, sizeof(label));
    expect(f, "LVM physical volume", "abcdef-ghij-", "");
}

static void test_raid_at_the_end(void **state)
{
    struct fixture *f = *state;
    uint64_t size = 64 * MIB + 24 * 1024;
    uint32_t super[64] = {0xa92b4efc,
                          1}; /* md version 1.0: 8 to 12 KiB before the end, on a 4 KiB boundary */
    uint64_t sector = (size / 512 - 16) & ~UINT64_C(7), sum = 0;

    memcpy(super + 4, "0123456789abcdef", 16);
    memcpy(super + 8, "host:0", 6);
    memcpy(super + 36, &sector, 8);
    for (unsigned i = 0; i < 64; i++)
        sum += super[i];
    super[54] = (uint32_t)((sum & 0xffffffff) + (sum >> 32));
    make_image(f, size);
    put_bytes(f, sector * 512, super, sizeof(super));
    expect(f, "Linux RAID member", ", label host:0", ", uuid 30313233-3435-3637-3839-616263646566");
}

static void test_luks(void **state)
{
    struct fixture *f = *state;
    char header[592] = "LUKS\xba\xbe";

    header[7] = 1; /* version, big-endian */
    strcpy(header + 168, "5c7d2a1e-3a86-4e1b-9d0c-0f5e0a7c1b22");
    make_image(f, 64 * MIB);
    put_bytes(f, 0, header, sizeof(header));
    expect(f, "LUKS encrypted volume", ", uuid 5c7d2a1e", "");
}

static void test_btrfs(void **state)
{
    struct fixture *f = *state;
    unsigned char super[4096] = {0};
    uint32_t crc;

    memset(super + 0x20, 0x5c, 16);
    super[0x32] = 1; /* its own place: 64 KiB */
    memcpy(super + 0x40, "_BHRfS_M", 8);
    strcpy((char *)super + 0x12b, "pool");
    crc = ~crc_of(CRC32C, ~0u, super + 32, sizeof(super) - 32);
    memcpy(super, &crc, 4);
    make_image(f, 256 * MIB);
    put_bytes(f, 65536, super, sizeof(super));
    expect(f, "btrfs file system", ", label pool", ", uuid 5c5c5c5c-");
}

/* --- devices that misbehave --- */

static struct rfs_device *open_memory(void *arg, struct rfs_loop *loop,
                                      const struct rfs_device_events *events, void *events_arg,
                                      struct rfs_error *err)
{
    struct fixture *f = arg;

    return rfs_memory_open(loop, &f->memory, events, events_arg);
}

static struct rfs_device *open_fault(void *arg, struct rfs_loop *loop, const struct rfs_device_events *events,
                                     void *events_arg, struct rfs_error *err)
{
    struct fixture *f = arg;

    f->fault = rfs_fault_open(loop, open_memory, arg, events, events_arg, err);
    return f->fault;
}

static void test_4k_blocks(void **state)
{
    struct fixture *f = *state;

    f->open = open_memory;
    f->memory = (struct rfs_memory_options){.size = 5 * MIB + 4096, .block_size = 4096};
    open_volume(f);
    assert_int_equal(identify(f), 0);
    assert_int_equal(rfs_volume_stats(f->vol)->read_bytes, 3 * MIB);
}

static void call_add_fault(void *arg)
{
    struct fixture *f = arg;
    const struct rfs_fault_rule rule = {.ops = 1u << RFS_IO_READ,
                                        .offset = 4 * MIB,
                                        .length = 512,
                                        .what = RFS_FAULT_STATUS,
                                        .status = RFS_IO_ERROR};

    rfs_fault_add(f->fault, &rule);
}

static void call_outage(void *arg)
{
    struct fixture *f = arg;

    rfs_fault_clear(f->fault);
    rfs_fault_outage(f->fault, UINT64_MAX);
}

static void test_unreadable(void **state)
{
    struct fixture *f = *state;

    f->open = open_fault;
    f->memory = (struct rfs_memory_options){.size = 5 * MIB};
    open_volume(f);
    rfs_loop_call(f->loop, call_add_fault, f);
    assert_int_equal(identify(f), -1);
    assert_non_null(strstr(f->err.msg, "looking for signatures"));
    rfs_loop_call(f->loop, call_outage, f);
    assert_int_equal(identify(f), -1);
    assert_true(f->err.rv != RFS_RV_OK);
}

static void test_never_online(void **state)
{
    struct fixture *f = *state;
    char url[128];

    snprintf(url, sizeof(url), "file:%s/not there", f->base);
    f->config =
        (struct rfs_device_config){.name = "image", .url = url, .initiator = "iqn.2024-01.test:signature"};
    rfs_loop_call(f->loop, call_open, f);
    assert_non_null(f->vol);
    assert_int_equal(identify(f), -1);
    assert_non_null(strstr(f->err.msg, "Online"));
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_nothing),      ROW(test_random_bytes),
        ROW(test_ext4),         ROW(test_xfs),
        ROW(test_swap),         ROW(test_gpt),
        ROW(test_dos),          ROW(test_sfdisk),
        ROW(test_ambiguous),    ROW(test_fat_with_table),
        ROW(test_lvm),          ROW(test_raid_at_the_end),
        ROW(test_luks),         ROW(test_btrfs),
        ROW(test_4k_blocks),    ROW(test_unreadable),
        ROW(test_never_online),
    };

    alarm(110);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
