/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of a pending map: creation, loading, writing of pages. Little-endian; bit n is bit n % 8 of byte n
 * / 8; a 1 is a clean region (pendingmap.h says why).
 */
#include "engine/pendingmap_priv.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/text.h"

#define MAGIC        "RFSPMAP\n"
#define VERSION      2u /* 1: the bits the other way round */
#define CREATE_BLOCK (1u << 20)

/* At the start of each header page; the rest of the page is zero. */
struct header {
    char magic[8];
    uint32_t version;
    uint32_t region_size;
    uint64_t size;
    uint64_t regions;
    uint64_t generation;
    char owner[64];
    uint64_t checksum; /* XXH3-64 of all before */
};

static uint64_t count_regions(const struct rfs_pmap_identity *id)
{
    return id->size / id->region_size + (id->size % id->region_size != 0);
}

static uint32_t count_pages(uint64_t regions)
{
    return (uint32_t)((regions + PMAP_PAGE_BITS - 1) / PMAP_PAGE_BITS);
}

static int check_identity(const struct rfs_pmap_identity *id, struct rfs_error *err)
{
    uint32_t rs = id->region_size;

    if (rs < 4096 || rs > (16u << 20) || (rs & (rs - 1)))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "region size %u: a power of two from 4096 to 16777216 is needed", rs);
    if (id->size == 0 || count_regions(id) > (uint64_t)UINT32_MAX * PMAP_PAGE_BITS / 2)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "a volume of %llu bytes cannot have a map with regions of %u",
                        (unsigned long long)id->size, rs);
    if (strnlen(id->owner, sizeof(id->owner)) == sizeof(id->owner))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "a map's owner is too long");
    return 0;
}

static uint64_t checksum(const struct header *h)
{
    return htole64(XXH3_64bits(h, offsetof(struct header, checksum)));
}

static void fill_header(unsigned char page[PMAP_PAGE], const struct rfs_pmap_identity *id)
{
    struct header h = {.version = htole32(VERSION),
                       .region_size = htole32(id->region_size),
                       .size = htole64(id->size),
                       .regions = htole64(count_regions(id)),
                       .generation = htole64(id->generation)};

    memcpy(h.magic, MAGIC, sizeof(h.magic));
    memccpy(h.owner, id->owner, 0, sizeof(h.owner) - 1);
    h.checksum = checksum(&h);
    memset(page, 0, PMAP_PAGE);
    memcpy(page, &h, sizeof(h));
}

/* --- creation --- */

static int write_all(int fd, const void *data, size_t length)
{
    for (const char *p = data; length;) {
        ssize_t n = write(fd, p, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        p += n;
        length -= (size_t)n;
    }
    return 0;
}

static int write_map(int fd, const struct rfs_pmap_identity *id, bool all_set)
{
    uint64_t left = (uint64_t)count_pages(count_regions(id)) * PMAP_PAGE;
    unsigned char *block = rfs_xmalloc(CREATE_BLOCK);
    int rc = 0;

    fill_header(block, id);
    for (unsigned i = 0; i < PMAP_HEADERS && rc == 0; i++)
        rc = write_all(fd, block, PMAP_PAGE);
    memset(block, all_set ? 0 : 0xff, CREATE_BLOCK); /* bits beyond the last region are masked at loading */
    while (left && rc == 0) {
        size_t n = left < CREATE_BLOCK ? left : CREATE_BLOCK;

        rc = write_all(fd, block, n);
        left -= n;
    }
    free(block);
    return rc == 0 && fsync(fd) ? errno : rc;
}

static int sync_folder_of(const char *path)
{
    char *copy = rfs_xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) ? errno : 0;

    if (fd >= 0)
        close(fd);
    free(copy);
    return rc;
}

static int write_file(const char *temp, const char *path, const struct rfs_pmap_identity *id, bool all_set)
{
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? errno : write_map(fd, id, all_set);

    if (fd >= 0 && close(fd) && rc == 0)
        rc = errno;
    if (rc == 0 && rename(temp, path))
        rc = errno;
    if (rc && fd >= 0)
        unlink(temp);
    return rc ? rc : sync_folder_of(path);
}

int rfs_pmap_create(const char *path, const struct rfs_pmap_identity *id, bool all_set, struct rfs_error *err)
{
    struct rfs_text temp = RFS_TEXT_INIT;
    int rc;

    if (check_identity(id, err))
        return -1;
    rfs_text_printf(&temp, "%s.new", path);
    rc = write_file(temp.data, path, id, all_set);
    rfs_text_free(&temp);
    return rc ? rfs_fail_sys(err, rc, "map %s cannot be written", path) : 0;
}

/* --- loading --- */

static ssize_t read_at(int fd, void *data, size_t length, off_t offset)
{
    size_t got = 0;

    while (got < length) {
        ssize_t n = pread(fd, (char *)data + got, length - got, offset + (off_t)got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static bool is_header(const struct header *h)
{
    return memcmp(h->magic, MAGIC, sizeof(h->magic)) == 0 && h->checksum == checksum(h);
}

/* The first header that is whole. An unreadable page counts as torn. */
static int read_header(int fd, const char *path, struct header *h, struct rfs_error *err)
{
    for (unsigned i = 0; i < PMAP_HEADERS; i++)
        if (read_at(fd, h, sizeof(*h), (off_t)i * PMAP_PAGE) == sizeof(*h) && is_header(h))
            return 0;
    return rfs_fail(err, RFS_RV_FAILED, "map %s: neither of its headers is whole", path);
}

static int check_header(const struct header *h, const char *path, const struct rfs_pmap_identity *id,
                        struct rfs_error *err)
{
    if (le32toh(h->version) != VERSION)
        return rfs_fail(err, RFS_RV_FAILED, "map %s: version %u, %u is known", path, le32toh(h->version),
                        VERSION);
    if (strncmp(h->owner, id->owner, sizeof(h->owner)))
        return rfs_fail(err, RFS_RV_FAILED, "map %s belongs to %.64s, not to %.64s", path, h->owner,
                        id->owner);
    if (le64toh(h->generation) != id->generation)
        return rfs_fail(err, RFS_RV_FAILED, "map %s is of generation %llu, the catalogue names %llu", path,
                        (unsigned long long)le64toh(h->generation), (unsigned long long)id->generation);
    if (le64toh(h->size) != id->size || le32toh(h->region_size) != id->region_size ||
        le64toh(h->regions) != count_regions(id))
        return rfs_fail(err, RFS_RV_FAILED,
                        "map %s is for %llu bytes in regions of %u, not for %llu in regions of %u", path,
                        (unsigned long long)le64toh(h->size), le32toh(h->region_size),
                        (unsigned long long)id->size, id->region_size);
    return 0;
}

static int read_bits(struct rfs_pmap *map, struct rfs_error *err)
{
    off_t base = (off_t)PMAP_HEADERS * PMAP_PAGE;
    off_t end = base + (off_t)map->pages * PMAP_PAGE;
    size_t bytes = map->words * 8;
    uint64_t tail = map->regions % 64;
    struct stat st;
    ssize_t n;

    if (fstat(map->fd, &st) || (n = read_at(map->fd, map->file, bytes, base)) < 0)
        return rfs_fail_sys(err, errno, "map %s cannot be read", map->path);
    if (st.st_size < end || (size_t)n < bytes)
        return rfs_fail(err, RFS_RV_FAILED, "map %s is cut off: %lld bytes of %lld", map->path,
                        (long long)st.st_size, (long long)end);
    for (uint64_t w = 0; w < map->words; w++) {
        uint64_t word = rfs_pmap_from_disk(map->file[w]);

        if (tail && w == map->words - 1)
            word &= (UINT64_C(1) << tail) - 1;
        map->file[w] = word;
        atomic_init(&map->dirty[w], word);
    }
    return 0;
}

static int open_file(const char *path, const struct rfs_pmap_identity *id, struct rfs_error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct header h;

    if (fd < 0 && errno == ENOENT)
        return rfs_fail(err, RFS_RV_NOT_FOUND, "map %s does not exist", path);
    if (fd < 0)
        return rfs_fail_sys(err, errno, "map %s cannot be opened", path);
    if (read_header(fd, path, &h, err) == 0 && check_header(&h, path, id, err) == 0)
        return fd;
    close(fd);
    return -1;
}

static void count_bytes(struct rfs_pmap *map)
{
    uint64_t n = 0, bytes;

    for (uint64_t w = 0; w < map->words; w++)
        n += (uint64_t)__builtin_popcountll(map->file[w]);
    bytes = n * map->id.region_size;
    if (map->id.size % map->id.region_size && (map->file[map->words - 1] >> ((map->regions - 1) % 64) & 1))
        bytes -= map->id.region_size - map->id.size % map->id.region_size;
    atomic_init(&map->dirty_bytes, bytes);
    atomic_init(&map->unsaved_bytes, bytes);
}

static ssize_t sys_pwrite(void *arg, int fd, const void *data, size_t length, off_t offset)
{
    return pwrite(fd, data, length, offset);
}

static int sys_fdatasync(void *arg, int fd)
{
    return fdatasync(fd);
}

static struct rfs_pmap *new_map(const char *path, const struct rfs_pmap_identity *id, int fd)
{
    struct rfs_pmap *map = rfs_xcalloc(1, sizeof(*map));

    map->id = *id;
    map->path = rfs_xstrdup(path);
    map->fd = fd;
    map->regions = count_regions(id);
    map->words = (map->regions + 63) / 64;
    map->pages = count_pages(map->regions);
    map->dirty = rfs_xcalloc(map->words, sizeof(*map->dirty));
    map->file = rfs_xcalloc(map->words, sizeof(*map->file));
    map->flags = rfs_xcalloc(map->pages, 1);
    memset(map->flags, PAGE_UNSURE, map->pages);
    map->unsynced = true;
    map->now.tail = &map->now.head;
    map->next.tail = &map->next.head;
    return map;
}

struct rfs_pmap *rfs_pmap_load_with(const char *path, const struct rfs_pmap_identity *id,
                                    const struct rfs_pmap_io *io, struct rfs_error *err)
{
    struct rfs_pmap *map;
    int fd = check_identity(id, err) ? -1 : open_file(path, id, err);

    if (fd < 0)
        return NULL;
    map = new_map(path, id, fd);
    map->io = *io;
    if (read_bits(map, err)) {
        rfs_pmap_free(map);
        return NULL;
    }
    count_bytes(map);
    return map;
}

struct rfs_pmap *rfs_pmap_load(const char *path, const struct rfs_pmap_identity *id, struct rfs_error *err)
{
    static const struct rfs_pmap_io io = {.pwrite = sys_pwrite, .fdatasync = sys_fdatasync};

    return rfs_pmap_load_with(path, id, &io, err);
}

/* --- writing --- */

static int write_run(struct rfs_pmap_batch *batch, unsigned first, unsigned n)
{
    off_t offset = (off_t)(PMAP_HEADERS + (uint64_t)batch->pages[first]) * PMAP_PAGE;
    const char *data = (const char *)(batch->images + (size_t)first * PMAP_PAGE_WORDS);
    size_t left = (size_t)n * PMAP_PAGE;

    while (left) {
        ssize_t done = batch->io.pwrite(batch->io.arg, batch->fd, data, left, offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        data += done;
        offset += done;
        left -= (size_t)done;
    }
    return 0;
}

void rfs_pmap_batch_run(struct rfs_pmap_batch *batch)
{
    for (unsigned first = 0, n; first < batch->n && !batch->err; first += n) {
        for (n = 1; first + n < batch->n && batch->pages[first + n] == batch->pages[first] + n;)
            n++; /* neighbours go in one call */
        batch->err = write_run(batch, first, n);
    }
    if (batch->err || !batch->sync)
        return;
    if (batch->io.fdatasync(batch->io.arg, batch->fd)) {
        batch->err = errno;
        batch->sync_failed = true;
    }
}
