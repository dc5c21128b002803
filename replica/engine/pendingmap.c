/* SPDX-License-Identifier: Apache-2.0
 *
 * Bits and rounds of writing. A round takes what waits and writes it, page by page, in one batch after
 * another with at most one outstanding, so that no page has two writes outstanding and no sync overlaps a
 * write. What is set or cleared meanwhile waits for the next round; all who wait for it share its syncs.
 */
#include "engine/pendingmap_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define LAZY_CLEAR_MS 50u

/* --- bits --- */

static uint64_t get_word(const struct rfs_pmap *map, uint64_t w)
{
    return atomic_load_explicit(&map->dirty[w], memory_order_relaxed);
}

static void put_word(struct rfs_pmap *map, uint64_t w, uint64_t value)
{
    atomic_store_explicit(&map->dirty[w], value, memory_order_relaxed);
}

/* The bits of word w that belong to regions [first, end). */
static uint64_t mask_of(uint64_t w, uint64_t first, uint64_t end)
{
    uint64_t mask = UINT64_MAX;

    if (w == first / 64)
        mask &= UINT64_MAX << (first % 64);
    if (w == end / 64)
        mask &= (UINT64_C(1) << (end % 64)) - 1;
    return mask;
}

/* Bytes of the regions of some bits of word w; the volume's last region may be short. */
static uint64_t bytes_of(const struct rfs_pmap *map, uint64_t w, uint64_t bits)
{
    uint64_t bytes = (uint64_t)__builtin_popcountll(bits) * map->id.region_size;
    uint64_t tail = map->id.size % map->id.region_size;

    if (tail && w == map->words - 1 && (bits >> ((map->regions - 1) % 64) & 1))
        bytes -= map->id.region_size - tail;
    return bytes;
}

static void count(_Atomic uint64_t *counter, uint64_t up, uint64_t down)
{
    if (up != down)
        atomic_fetch_add_explicit(counter, up - down, memory_order_relaxed);
}

/* Index of page `page` in the outstanding batch, or -1. */
static int find_slot(const struct rfs_pmap *map, uint64_t page)
{
    for (unsigned i = 0; map->batch && i < map->batch->n; i++)
        if (map->batch->pages[i] == page)
            return (int)i;
    return -1;
}

static uint64_t image_word(const struct rfs_pmap *map, int slot, uint64_t w)
{
    return slot < 0
               ? 0
               : rfs_pmap_from_disk(map->batch->images[(size_t)slot * PMAP_PAGE_WORDS + w % PMAP_PAGE_WORDS]);
}

/* What the file may hold now, whichever of an outstanding write has got there: what counts as unsaved. */
static uint64_t held_word(const struct rfs_pmap *map, int slot, uint64_t w)
{
    uint64_t old = slot < 0 ? 0 : map->batch->olds[(size_t)slot * PMAP_PAGE_WORDS + w % PMAP_PAGE_WORDS];

    return map->file[w] | old | image_word(map, slot, w);
}

static uint64_t words_in_page(const struct rfs_pmap *map, uint32_t page)
{
    uint64_t left = map->words - (uint64_t)page * PMAP_PAGE_WORDS;

    return left < PMAP_PAGE_WORDS ? left : PMAP_PAGE_WORDS;
}

/* --- waiters --- */

static void push(struct rfs_pmap_list *list, struct rfs_pmap_wait *wait)
{
    wait->next = NULL;
    *list->tail = wait;
    list->tail = &wait->next;
}

static struct rfs_pmap_wait *take_all(struct rfs_pmap_list *list)
{
    struct rfs_pmap_wait *head = list->head;

    list->head = NULL;
    list->tail = &list->head;
    return head;
}

/* The callbacks may do anything to the map but free it, which only the end of a detachment allows. */
static void deliver(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    while (wait) {
        struct rfs_pmap_wait *next = wait->next;

        if (err)
            wait->error = *err;
        wait->done(wait, err ? &wait->error : NULL);
        wait = next;
    }
}

static void kick(struct rfs_pmap *map)
{
    if (map->kicked)
        return;
    map->kicked = true;
    rfs_loop_post(map->worker, &map->kick);
}

/* --- lazy clears --- */

static void on_clear_timer(void *arg)
{
    struct rfs_pmap *map = arg;

    map->clears_due = true;
    kick(map);
}

/* At once after a while without, else so that at most one write a page is made in LAZY_CLEAR_MS. */
static void schedule_clears(struct rfs_pmap *map)
{
    uint64_t since = rfs_mono_ms() - map->cleared_at;

    if (map->clears_due || map->error)
        return;
    if (since >= LAZY_CLEAR_MS || map->detaching) {
        map->clears_due = true;
        kick(map);
        return;
    }
    if (!map->timer)
        map->timer = rfs_timer_new(map->worker, on_clear_timer, map);
    if (!rfs_timer_active(map->timer))
        rfs_timer_start(map->timer, LAZY_CLEAR_MS - since);
}

/* --- rounds --- */

static void run_batch(struct rfs_work *work)
{
    rfs_pmap_batch_run(RFS_CONTAINER_OF(work, struct rfs_pmap_batch, work));
}

static void free_batch(struct rfs_pmap_batch *batch)
{
    free(batch->images);
    free(batch->olds);
    free(batch);
}

/* Copies the page as it is to be. From here on a bit it clears does not count as durable any more. */
static void add_page(struct rfs_pmap *map, struct rfs_pmap_batch *batch, uint32_t page)
{
    uint64_t *image = batch->images + (size_t)batch->n * PMAP_PAGE_WORDS;
    uint64_t *old = batch->olds + (size_t)batch->n * PMAP_PAGE_WORDS;
    uint64_t base = (uint64_t)page * PMAP_PAGE_WORDS;

    for (uint64_t i = 0; i < words_in_page(map, page); i++) {
        uint64_t word = get_word(map, base + i);

        image[i] = rfs_pmap_to_disk(word);
        old[i] = map->file[base + i];
        map->file[base + i] &= word;
    }
    batch->pages[batch->n++] = page;
    batch->sync |= (map->flags[page] & PAGE_SET) != 0;
    map->flags[page] &= (uint8_t) ~(PAGE_SET | PAGE_CLEAR);
}

/* Pages of the round from its cursor on, up to a batch full; moves the cursor behind them. */
static unsigned find_pages(struct rfs_pmap *map, uint32_t found[PMAP_BATCH])
{
    unsigned wanted = PAGE_SET | (map->round_clears ? PAGE_CLEAR : 0), n = 0;

    for (; map->cursor < map->pages && n < PMAP_BATCH; map->cursor++)
        if (map->flags[map->cursor] & wanted)
            found[n++] = map->cursor;
    return n;
}

static struct rfs_pmap_batch *make_batch(struct rfs_pmap *map, const uint32_t *pages, unsigned n)
{
    struct rfs_pmap_batch *batch = rfs_xcalloc(1, sizeof(*batch));

    batch->map = map;
    batch->fd = map->fd;
    batch->io = map->io;
    batch->images = n ? rfs_xcalloc(n, PMAP_PAGE) : NULL;
    batch->olds = n ? rfs_xcalloc(n, PMAP_PAGE) : NULL;
    for (unsigned i = 0; i < n; i++)
        add_page(map, batch, pages[i]);
    return batch;
}

static void on_batch(struct rfs_work *work);

/* Sends the next batch of the round; false when there is none left. */
static bool send_batch(struct rfs_pmap *map)
{
    uint32_t pages[PMAP_BATCH];
    unsigned n = find_pages(map, pages);
    bool last = map->cursor == map->pages;
    bool sync = last && map->round_sync && (n || map->unsynced);

    if (!n && !sync)
        return false;
    map->batch = make_batch(map, pages, n);
    map->batch->sync |= sync;
    map->batch->work = (struct rfs_work){.loop = map->worker, .run = run_batch, .done = on_batch};
    rfs_iothreads_submit(map->committer, &map->batch->work);
    return true;
}

static void start_round(struct rfs_pmap *map)
{
    map->in_round = true;
    map->cursor = 0;
    map->round_sync = map->sync_wanted;
    map->round_clears = map->clears_due;
    map->sets_wanted = map->sync_wanted = map->clears_due = false;
    if (map->round_clears)
        map->clears_wanted = false;
    map->now = map->next;
    if (!map->now.head)
        map->now.tail = &map->now.head;
    take_all(&map->next);
}

static void end_round(struct rfs_pmap *map)
{
    map->in_round = false;
    if (map->round_clears)
        map->cleared_at = rfs_mono_ms();
    if (map->clears_wanted)
        schedule_clears(map);
}

static bool round_wanted(const struct rfs_pmap *map)
{
    return map->sets_wanted || map->sync_wanted || map->clears_due;
}

/* Goes on until a batch is outstanding or nothing is to be done. What those who are told set at once goes
 * into the next round. */
static void go_on(struct rfs_pmap *map)
{
    while (!map->error && !map->batch && (map->in_round || round_wanted(map))) {
        if (!map->in_round)
            start_round(map);
        if (send_batch(map))
            return;
        end_round(map);
        deliver(take_all(&map->now), NULL);
    }
}

/* --- outcome --- */

static void apply_page(struct rfs_pmap *map, unsigned slot)
{
    uint32_t page = map->batch->pages[slot];
    uint64_t base = (uint64_t)page * PMAP_PAGE_WORDS;

    for (uint64_t i = 0; i < words_in_page(map, page); i++) {
        uint64_t w = base + i, image = image_word(map, (int)slot, w);
        uint64_t gone = held_word(map, (int)slot, w) & ~(image | get_word(map, w));

        count(&map->unsaved_bytes, 0, bytes_of(map, w, gone));
        map->file[w] = image;
    }
    if (map->batch->sync)
        map->flags[page] &= (uint8_t)~PAGE_UNSURE;
}

/* Nobody knows what of it is in the file. */
static void abandon_page(struct rfs_pmap *map, unsigned slot)
{
    uint32_t page = map->batch->pages[slot];
    uint64_t base = (uint64_t)page * PMAP_PAGE_WORDS;

    for (uint64_t i = 0; i < words_in_page(map, page); i++)
        map->file[base + i] = held_word(map, (int)slot, base + i);
    map->flags[page] |= PAGE_UNSURE;
}

static void fail_map(struct rfs_pmap *map, const struct rfs_pmap_batch *batch)
{
    map->error = rfs_xcalloc(1, sizeof(*map->error));
    rfs_fail_sys(map->error, batch->err, "map %s cannot be %s and is not used any more", map->path,
                 batch->sync_failed ? "synced" : "written");
    map->in_round = false;
}

static void fail_waiters(struct rfs_pmap *map)
{
    struct rfs_pmap_wait *now = take_all(&map->now), *next = take_all(&map->next);

    deliver(now, map->error);
    deliver(next, map->error);
}

static void finish_detach(struct rfs_pmap *map)
{
    struct rfs_pmap_wait *wait = map->detaching;

    rfs_timer_destroy(map->timer);
    map->timer = NULL;
    map->detaching = NULL;
    map->worker = NULL;
    map->committer = NULL;
    if (map->error)
        wait->error = *map->error;
    wait->done(wait, map->error ? &wait->error : NULL); /* may free the map */
}

static void on_batch(struct rfs_work *work)
{
    struct rfs_pmap_batch *batch = RFS_CONTAINER_OF(work, struct rfs_pmap_batch, work);
    struct rfs_pmap *map = batch->map;

    for (unsigned i = 0; i < batch->n; i++)
        (batch->err ? abandon_page : apply_page)(map, i);
    map->unsynced = !batch->sync || batch->err;
    map->batch = NULL;
    if (batch->err)
        fail_map(map, batch);
    free_batch(batch);
    if (map->error || map->detaching)
        kick(map);
    go_on(map);
}

static void on_kick(struct rfs_task *task)
{
    struct rfs_pmap *map = RFS_CONTAINER_OF(task, struct rfs_pmap, kick);

    map->kicked = false;
    if (map->error)
        fail_waiters(map);
    go_on(map);
    if (map->detaching && !map->batch && !map->in_round && !map->kicked)
        finish_detach(map);
}

/* --- what the header offers --- */

void rfs_pmap_attach(struct rfs_pmap *map, struct rfs_loop *worker, struct rfs_iothreads *committer)
{
    assert(!map->worker);
    map->kick.run = on_kick;
    map->worker = worker;
    map->committer = committer;
}

void rfs_pmap_detach(struct rfs_pmap *map, struct rfs_pmap_wait *wait)
{
    assert(map->worker && !map->detaching);
    map->detaching = wait;
    if (map->clears_wanted)
        schedule_clears(map);
    kick(map);
}

void rfs_pmap_free(struct rfs_pmap *map)
{
    if (!map)
        return;
    assert(!map->worker && !map->batch);
    close(map->fd);
    free(map->dirty);
    free(map->file);
    free(map->flags);
    free(map->error);
    free(map->path);
    free(map);
}

enum need { NEED_NOTHING, NEED_THIS_ROUND, NEED_NEXT_ROUND };

static enum need set_word(struct rfs_pmap *map, uint64_t w, uint64_t mask, int slot)
{
    uint64_t before = get_word(map, w), missing = mask;
    uint8_t *flags = &map->flags[w / PMAP_PAGE_WORDS];

    put_word(map, w, before | mask);
    count(&map->dirty_bytes, bytes_of(map, w, mask & ~before), 0);
    count(&map->unsaved_bytes, bytes_of(map, w, mask & ~(before | held_word(map, slot, w))), 0);
    if (!(*flags & PAGE_UNSURE))
        missing &= ~map->file[w];
    if (!missing)
        return NEED_NOTHING;
    if (slot >= 0 && map->batch->sync && !(missing & ~image_word(map, slot, w)))
        return NEED_THIS_ROUND;
    *flags |= PAGE_SET;
    return NEED_NEXT_ROUND;
}

bool rfs_pmap_set(struct rfs_pmap *map, uint64_t offset, uint64_t length, struct rfs_pmap_wait *wait)
{
    uint64_t size = map->id.size, rs = map->id.region_size, first = offset / rs, end;
    enum need need = NEED_NOTHING;
    int slot = -1;

    if (offset >= size || length == 0)
        return true;
    end = (offset + (length < size - offset ? length : size - offset) + rs - 1) / rs;
    for (uint64_t w = first / 64; w * 64 < end; w++) {
        enum need here;

        if (w == first / 64 || w % PMAP_PAGE_WORDS == 0)
            slot = find_slot(map, w / PMAP_PAGE_WORDS);
        here = set_word(map, w, mask_of(w, first, end), slot);
        need = here > need ? here : need;
    }
    if (need == NEED_NOTHING && !map->error)
        return true;
    push(need == NEED_THIS_ROUND ? &map->now : &map->next, wait);
    map->sets_wanted |= need == NEED_NEXT_ROUND;
    kick(map);
    return false;
}

static bool clear_word(struct rfs_pmap *map, uint64_t w, uint64_t mask, int slot)
{
    uint64_t before = get_word(map, w), gone = before & mask;

    if (!gone)
        return false;
    put_word(map, w, before & ~mask);
    count(&map->dirty_bytes, 0, bytes_of(map, w, gone));
    count(&map->unsaved_bytes, 0, bytes_of(map, w, gone & ~held_word(map, slot, w)));
    map->flags[w / PMAP_PAGE_WORDS] |= PAGE_CLEAR;
    return true;
}

void rfs_pmap_clear(struct rfs_pmap *map, uint64_t offset, uint64_t length)
{
    uint64_t size = map->id.size, rs = map->id.region_size, first = offset / rs + (offset % rs != 0), end;
    bool any = false;
    int slot = -1;

    if (offset >= size)
        return;
    end = length >= size - offset ? map->regions : (offset + length) / rs;
    for (uint64_t w = first / 64; first < end && w * 64 < end; w++) {
        if (w == first / 64 || w % PMAP_PAGE_WORDS == 0)
            slot = find_slot(map, w / PMAP_PAGE_WORDS);
        any |= clear_word(map, w, mask_of(w, first, end), slot);
    }
    if (!any)
        return;
    map->clears_wanted = true;
    if (!map->in_round) /* else its end sees to it */
        schedule_clears(map);
}

void rfs_pmap_sync(struct rfs_pmap *map, struct rfs_pmap_wait *wait)
{
    push(&map->next, wait);
    map->sync_wanted = true;
    map->clears_due |= map->clears_wanted;
    kick(map);
}

/* First region in [from, limit) whose bit is `value`, or limit. */
static uint64_t find_bit(const struct rfs_pmap *map, uint64_t from, uint64_t limit, bool value)
{
    for (uint64_t w = from / 64; w * 64 < limit; w++) {
        uint64_t word = value ? get_word(map, w) : ~get_word(map, w);
        uint64_t at;

        if (w == from / 64)
            word &= UINT64_MAX << (from % 64);
        if (!word)
            continue;
        at = w * 64 + (uint64_t)__builtin_ctzll(word);
        return at < limit ? at : limit;
    }
    return limit;
}

bool rfs_pmap_next(const struct rfs_pmap *map, uint64_t from, uint64_t max, uint64_t *offset,
                   uint64_t *length)
{
    uint64_t rs = map->id.region_size, first, start, stop, end;

    if (from >= map->id.size)
        return false;
    first = find_bit(map, from / rs, map->regions, true);
    if (first == map->regions)
        return false;
    start = first * rs > from ? first * rs : from;
    stop = max < map->id.size - start ? start + max : map->id.size;
    end = find_bit(map, first, (stop + rs - 1) / rs, false) * rs;
    *offset = start;
    *length = (end < stop ? end : stop) - start;
    return true;
}

bool rfs_pmap_test(const struct rfs_pmap *map, uint64_t offset)
{
    uint64_t region = offset / map->id.region_size;

    return region < map->regions && (get_word(map, region / 64) >> (region % 64) & 1);
}

uint64_t rfs_pmap_dirty_bytes(const struct rfs_pmap *map)
{
    return atomic_load_explicit(&map->dirty_bytes, memory_order_relaxed);
}

uint64_t rfs_pmap_unsaved_bytes(const struct rfs_pmap *map)
{
    return atomic_load_explicit(&map->unsaved_bytes, memory_order_relaxed);
}

const struct rfs_pmap_identity *rfs_pmap_identity(const struct rfs_pmap *map)
{
    return &map->id;
}

const struct rfs_error *rfs_pmap_error(const struct rfs_pmap *map)
{
    return map->error;
}

/* Nothing is shown as clean or dirty through and through that is not. */
static uint8_t sample_cell(const struct rfs_pmap *map, uint64_t first, uint64_t end)
{
    uint64_t n = 0, share;

    for (uint64_t w = first / 64; w * 64 < end; w++)
        n += (uint64_t)__builtin_popcountll(get_word(map, w) & mask_of(w, first, end));
    share = n * 255 / (end - first);
    return (uint8_t)(n && !share ? 1 : share);
}

void rfs_pmap_sample(const struct rfs_pmap *map, uint8_t *cells, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t first = (uint64_t)((unsigned __int128)map->regions * i / n);
        uint64_t end = (uint64_t)((unsigned __int128)map->regions * (i + 1) / n);

        cells[i] = sample_cell(map, first, end > first ? end : first + 1);
    }
}
