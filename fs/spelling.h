/* SPDX-License-Identifier: Apache-2.0
 *
 * Was that name meant? Any thread, no state.
 */
#ifndef RFS_FS_SPELLING_H
#define RFS_FS_SPELLING_H

#include <stdbool.h>

#define RFS_SLIPS 2 /* so many wrong, missing and additional letters are recognised */

/* The slips that lead from one to the other, case apart; more than RFS_SLIPS where a name is longer than any of the
 * tree's, or nothing of it would be left. */
unsigned rfs_slips(const char *typed, const char *meant);

#endif
