/* SPDX-License-Identifier: Apache-2.0 */
#include "model/state_table.h"

#include <string.h>

#define COLUMNS 17

/* Columns of the published tables; the three mode resets share one. */
static const uint8_t columns[COLUMNS] = {2, 4, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 24};

struct row {
    uint8_t state;
    const char *cells[COLUMNS];
};

/* Cells as published: two letters a state, "Un>Sy" passes through, ! force, ' new point in time, * roles
 * change places, = nothing changes, . illegal, n never, gone (h hydrated, a aspect). */
/* clang-format off */
static const struct row mirror[] = {
    /*        Abort  Activ   Deact  Detach  Dissol  Fover Fback  Fract  Resync    Restore Resume  Reset Ret  Rever Split Susp Prep */
    { 2, { ".",  "Un>Sy", "Ia", "gone",  "gone",  ".",  ".",  ".",  ".",      ".",   ".",     "=", "n", ".",   ".",  ".",  "Pr"}},
    { 3, { "Ab", ".",     "Ia", "gone!", "gone!", "Fo!",".",  "Fr!","=",      ".",   ".",     "=", "n", ".",   ".",  "Su", "."}},
    { 4, { ".",  ".",     "Ia", "gone",  "gone",  "Fo", ".",  "Fr", "=",      ".",   ".",     "=", "n", "Sy*", "Sp", "Su", "Pr"}},
    { 5, { ".",  ".",     "Ia", "gone!", "gone!", "Fo!",".",  "Fr!","Un>Sy",  ".",   ".",     ".", "n", ".",   ".",  ".",  "Pr"}},
    { 6, { ".",  ".",     ".",  "gone",  "gone",  "Fo", ".",  "=",  "Un>Sy",  "Re",  ".",     "=", "n", "Fr*", ".",  ".",  "Pr"}},
    { 7, { ".",  ".",     ".",  "gone",  "gone",  "Fo", ".",  "=",  "Un>Sy",  "Re",  ".",     "=", "n", "Sp*", "=",  ".",  "Pr"}},
    { 8, { ".",  "Un>Sy", "=",  "gone",  "gone",  ".",  ".",  ".",  ".",      ".",   ".",     "=", "n", ".",   ".",  ".",  "Pr"}},
    { 9, { "Ab", ".",     "Ia", "gone",  "gone",  "Fo", ".",  "Fr", ".",      ".",   "Un>Sy", "=", "n", "Su*", ".",  "=",  "."}},
    {10, { ".",  ".",     ".",  "gone",  "gone",  "=",  "Sy", ".",  ".",      ".",   ".",     ".", "n", "Su*", ".",  ".",  "."}},
    {11, { ".",  "Un>Sy", "Ia", "gone",  "gone",  ".",  ".",  ".",  ".",      ".",   ".",     "=", "n", ".",   ".",  ".",  "="}},
    {12, { ".",  ".",     ".",  "gone!", "gone!", ".",  ".",  ".",  "Un>Sy",  ".",   ".",     "=", "n", ".",   ".",  ".",  "Pr"}},
    {13, { ".",  ".",     ".",  "gone",  "gone",  ".",  ".",  "Fr", "Un>Sy",  "Re!", ".",     ".", "n", ".",   ".",  ".",  "Pr"}},
    {16, { ".",  ".",     ".",  "gone!", "gone!", "Fo!",".",  ".",  ".",      ".",   ".",     ".", "n", ".",   ".",  ".",  "."}},
    {17, { ".",  ".",     ".",  "gone!", "gone!", ".",  ".",  ".",  "Un>Sy!", ".",   ".",     ".", "n", ".",   ".",  ".",  "."}},
    {18, { ".",  ".",     ".",  "gone",  "gone",  ".",  ".",  "Fr", "Un>Sy",  "=",   "Un>Sy", ".", "n", ".",   ".",  ".",  "Pr"}},
};
static const struct row snapshot[] = {
    { 2, { ".",  "Sy'",   "Ia", "gone",  "gone",  "n", "n", "n", ".",    ".",  "n", "n", "gone",  "n", "n", "n", "Pr"}},
    { 3, { "Ab", ".",     "Ia", "gone!", ".",     "n", "n", "n", ".",    ".",  "n", "n", "gone",  "n", "n", "n", "."}},
    { 4, { ".",  ".",     "Ia", "goneh", "gonea", "n", "n", "n", "Sy'",  "Re", "n", "n", "gone",  "n", "n", "n", "Pr"}},
    { 5, { ".",  ".",     "Ia", ".",     "gonea", "n", "n", "n", "Sy'",  ".",  "n", "n", "gone",  "n", "n", "n", "."}},
    { 8, { ".",  "Sy'",   "=",  "gone",  "gone",  "n", "n", "n", ".",    ".",  "n", "n", "gone",  "n", "n", "n", "Pr"}},
    {11, { ".",  "Sy'",   "Ia", "gone",  "gone",  "n", "n", "n", ".",    ".",  "n", "n", "gone",  "n", "n", "n", "="}},
    {12, { ".",  ".",     ".",  "gone",  ".",     "n", "n", "n", "Sy'",  ".",  "n", "n", "gone",  "n", "n", "n", "."}},
    {13, { ".",  ".",     "Ia", "goneh", "gonea", "n", "n", "n", "Sy'",  "Re", "n", "n", "gone",  "n", "n", "n", "Pr"}},
    {16, { ".",  ".",     ".",  ".",     ".",     "n", "n", "n", ".",    ".",  "n", "n", "gone!", "n", "n", "n", "."}},
    {17, { ".",  ".",     ".",  ".",     ".",     "n", "n", "n", "Sy'!", ".",  "n", "n", "gone!", "n", "n", "n", "."}},
    {18, { ".",  ".",     "Ia", "goneh", "gonea", "n", "n", "n", "Sy'",  "Re", "n", "n", "gone",  "n", "n", "n", "."}},
};
static const struct row clone[] = {
    { 2, { ".",  "Un>Sy'", "Ia", "gone",  "gone",  "n", "n", ".",  ".",       ".",  ".",      "n", "n", "n", ".",  ".",  "Pr"}},
    { 3, { "Ab", ".",      "Ia", "gone!", "gone!", "n", "n", ".",  "=",       ".",  ".",      "n", "n", "n", ".",  "Su", "."}},
    { 4, { ".",  ".",      ".",  "gone",  "gonea", "n", "n", "Fr", "Un>Sy'",  "Re", ".",      "n", "n", "n", "Sp", ".",  "Pr"}},
    { 5, { ".",  ".",      ".",  "gone!", "gone!", "n", "n", ".",  "Un>Sy'",  ".",  ".",      "n", "n", "n", ".",  ".",  "Pr"}},
    { 6, { ".",  ".",      ".",  "gone",  "gonea", "n", "n", "=",  "Un>Sy'",  "Re", ".",      "n", "n", "n", ".",  ".",  "Pr"}},
    { 7, { ".",  ".",      ".",  "gone",  "gonea", "n", "n", "=",  "Un>Sy'",  "Re", ".",      "n", "n", "n", "=",  ".",  "Pr"}},
    { 8, { ".",  "Un>Sy'", "=",  "gone",  "gone",  "n", "n", ".",  "Un>Sy'",  ".",  ".",      "n", "n", "n", ".",  ".",  "Pr"}},
    { 9, { "Ab", ".",      ".",  "gone!", "gone!", "n", "n", ".",  ".",       ".",  "Un>Sy'", "n", "n", "n", ".",  "=",  "."}},
    {11, { ".",  "Un>Sy'", "Ia", "gone",  "gone",  "n", "n", ".",  ".",       ".",  ".",      "n", "n", "n", ".",  ".",  "="}},
    {12, { ".",  ".",      ".",  "gone!", "gone!", "n", "n", ".",  "Un>Sy'",  ".",  ".",      "n", "n", "n", ".",  ".",  "Pr"}},
    {13, { ".",  ".",      ".",  "gone",  "gone",  "n", "n", "Fr", "Un>Sy'",  "Re", ".",      "n", "n", "n", ".",  ".",  "Pr"}},
    {16, { ".",  ".",      ".",  "gone!", "gone!", "n", "n", ".",  ".",       ".",  ".",      "n", "n", "n", ".",  ".",  "."}},
    {17, { ".",  ".",      ".",  "gone!", "gone!", "n", "n", ".",  "Un>Sy'!", ".",  ".",      "n", "n", "n", ".",  ".",  "."}},
    {18, { ".",  ".",      ".",  "gone",  "gone",  "n", "n", "Fr", "Un>Sy'",  "=",  ".",      "n", "n", "n", ".",  ".",  "Pr"}},
};
/* clang-format on */

static const struct table {
    uint8_t sync_type;
    const struct row *rows;
    unsigned count;
    uint32_t available; /* bit mask of operations whose data work is there */
} tables[] = {
#define OP(n) (1u << RFS_operation_##n)
#define COPYING                                                                                              \
    (OP(ABORT) | OP(ACTIVATE) | OP(DEACTIVATE) | OP(DETACH) | OP(DISSOLVE) | OP(RESYNC_REPLICA) |            \
     OP(RESUME) | OP(SUSPEND) | OP(UNPREPARE) | OP(PREPARE))
    {RFS_sync_type_MIRROR, mirror, sizeof(mirror) / sizeof(mirror[0]), COPYING},
    {RFS_sync_type_SNAPSHOT, snapshot, sizeof(snapshot) / sizeof(snapshot[0]), 0},
    {RFS_sync_type_CLONE, clone, sizeof(clone) / sizeof(clone[0]), COPYING},
#undef COPYING
#undef OP
};

static const struct table *find_table(uint32_t sync_type)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        if (tables[i].sync_type == sync_type)
            return &tables[i];
    return NULL;
}

static int column_of(uint32_t operation)
{
    if (operation == RFS_operation_RESET_TO_ASYNC || operation == RFS_operation_RESET_TO_ADAPTIVE)
        operation = RFS_operation_RESET_TO_SYNC;
    if (operation == RFS_operation_UNPREPARE)
        operation = RFS_operation_PREPARE;
    for (int i = 0; i < COLUMNS; i++)
        if (columns[i] == operation)
            return i;
    return -1;
}

static uint32_t state_of(const char *two)
{
    static const char names[] = "InUnSyBrFrSpIaSuFoPrAbSkMxNaPaIvRe"; /* CopyState 2, 3, 4 … */

    for (uint32_t i = 0; names[2 * i]; i++)
        if (names[2 * i] == two[0] && names[2 * i + 1] == two[1])
            return i + 2;
    return 0;
}

static struct rfs_cell decode(const char *text, uint32_t copy_state)
{
    struct rfs_cell cell = {.never = *text == 'n', .legal = *text != 'n' && *text != '.'};

    if (!cell.legal)
        return cell;
    cell.force = strchr(text, '!') != NULL;
    cell.same = *text == '=';
    cell.new_point = strchr(text, '\'') != NULL;
    cell.swap = strchr(text, '*') != NULL;
    cell.gone = !strncmp(text, "gone", 4);
    if (cell.gone) {
        cell.hydrate = text[4] == 'h';
        cell.aspect = text[4] == 'a';
    } else if (cell.same) {
        cell.final = copy_state;
    } else {
        const char *arrow = strchr(text, '>');

        cell.via = arrow ? state_of(text) : 0;
        cell.final = state_of(arrow ? arrow + 1 : text);
    }
    return cell;
}

struct rfs_cell rfs_state_cell(uint32_t sync_type, uint32_t copy_state, uint32_t operation)
{
    const struct table *table = find_table(sync_type);
    int column = column_of(operation);

    if (table && column >= 0)
        for (unsigned i = 0; i < table->count; i++)
            if (table->rows[i].state == copy_state)
                return decode(table->rows[i].cells[column], copy_state);
    return (struct rfs_cell){.never = true};
}

bool rfs_state_available(uint32_t sync_type, uint32_t operation)
{
    const struct table *table = find_table(sync_type);

    return table && operation < 32 && (table->available & (1u << operation));
}

unsigned rfs_state_list(uint32_t sync_type, uint32_t states[16])
{
    const struct table *table = find_table(sync_type);

    for (unsigned i = 0; table && i < table->count; i++)
        states[i] = table->rows[i].state;
    return table ? table->count : 0;
}
