/* SPDX-License-Identifier: Apache-2.0 */
#include "spelling.h"

#include <ctype.h>
#include <string.h>

#define LONGEST 64 /* bytes */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

static unsigned distance(const char *a, const char *b, size_t len)
{
    unsigned row[LONGEST + 1], diagonal, above;

    for (size_t j = 0; j <= len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i]; i++) {
        diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 1; j <= len; j++) {
            bool same = tolower((unsigned char)a[i]) == tolower((unsigned char)b[j - 1]);

            above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + !same);
            diagonal = above;
        }
    }
    return row[len];
}

unsigned rfs_slips(const char *typed, const char *meant)
{
    size_t len = strlen(meant);
    unsigned n = RFS_SLIPS + 1;

    if (len <= LONGEST && strlen(typed) <= LONGEST)
        n = distance(typed, meant, len);
    return n < len ? n : RFS_SLIPS + 1;
}
