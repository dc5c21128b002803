/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing text buffer, what every attribute, reply and document is rendered into.
 *
 * Any thread, one at a time per object. The owner releases it with rfs_text_free(). `data` is NUL-terminated
 * whenever it is not NULL. Memory exhaustion ends the process (as everywhere: rfs_xmalloc).
 */
#ifndef RFS_BASE_TEXT_H
#define RFS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rfs_text {
    char *data;
    size_t len, cap;
};

#define RFS_TEXT_INIT                                                                                        \
    {                                                                                                        \
        NULL, 0, 0                                                                                           \
    }

void rfs_text_free(struct rfs_text *t);
void rfs_text_clear(struct rfs_text *t);
void rfs_text_append(struct rfs_text *t, const char *data, size_t len);
void rfs_text_puts(struct rfs_text *t, const char *s);
void rfs_text_printf(struct rfs_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* `s` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void rfs_text_json(struct rfs_text *t, const char *s);

/* Is it UTF-8 throughout? */
bool rfs_utf8(const char *s);

/* `key=value\n`; the value is put in double quotes with backslash escapes where a request would need them
 * (empty, or with blanks, quotes, backslashes or control characters). Nothing is written for a NULL value. */
void rfs_text_pair(struct rfs_text *t, const char *key, const char *value);

/* RFC 3339 in UTC with milliseconds, from milliseconds since 1970; nothing for 0. */
void rfs_text_time(struct rfs_text *t, uint64_t ms);

/* Memory that cannot run out: abort()s with a line on stderr instead of returning NULL. */
void *rfs_xmalloc(size_t size);
void *rfs_xcalloc(size_t n, size_t size);
void *rfs_xrealloc(void *p, size_t size);
char *rfs_xstrdup(const char *s); /* NULL gives NULL */

/* Wall clock, milliseconds since 1970; monotonic clock, milliseconds. */
uint64_t rfs_now_ms(void);
uint64_t rfs_mono_ms(void);

#endif
