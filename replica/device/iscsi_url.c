/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "device/iscsi_priv.h"

#define SCHEME  "iscsi://"
#define FORM    "use iscsi://HOST[:PORT]/IQN/LUN"
#define MAX_LUN 16383 /* flat space addressing */

struct slice {
    const char *at;
    size_t len;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %-escapes into out. Fails on a broken escape, a control character, or too long a result. */
static int decode(struct slice in, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        int c = (unsigned char)in.at[i];

        if (c == '%') {
            if (in.len - i < 3 || hex_digit(in.at[i + 1]) < 0 || hex_digit(in.at[i + 2]) < 0)
                return -1;
            c = hex_digit(in.at[i + 1]) << 4 | hex_digit(in.at[i + 2]);
            i += 2;
        }
        if (c <= 0x20 || c == 0x7f || n + 1 >= size)
            return -1;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return 0;
}

/* The characters before the first `stop`, which is skipped; false if it is not there. */
static bool take(const char **at, char stop, struct slice *part)
{
    const char *end = strchr(*at, stop);

    if (!end)
        return false;
    *part = (struct slice){*at, (size_t)(end - *at)};
    *at = end + 1;
    return true;
}

/* Decimal digits only, all of them, at most `max`; -1 otherwise. */
static long number(struct slice in, long max)
{
    long value = 0;

    if (!in.len || in.len > 5)
        return -1;
    for (size_t i = 0; i < in.len; i++) {
        if (!isdigit((unsigned char)in.at[i]))
            return -1;
        value = value * 10 + (in.at[i] - '0');
    }
    return value <= max ? value : -1;
}

/* Splits HOST[:PORT] or [V6][:PORT]. */
static int split_authority(struct slice in, struct slice *host, struct slice *port)
{
    const char *end = in.at + in.len;
    const char *colon;

    *port = (struct slice){end, 0};
    if (in.len && in.at[0] == '[') {
        const char *close = memchr(in.at, ']', in.len);

        if (!close)
            return -1;
        *host = (struct slice){in.at + 1, (size_t)(close - in.at - 1)};
        colon = close + 1;
        if (colon < end && *colon != ':')
            return -1;
    } else {
        colon = memchr(in.at, ':', in.len);
        if (!colon)
            colon = end;
        *host = (struct slice){in.at, (size_t)(colon - in.at)};
    }
    if (colon < end) {
        *port = (struct slice){colon + 1, (size_t)(end - colon - 1)};
        if (!port->len)
            return -1;
    }
    return host->len ? 0 : -1;
}

static int parse_authority(struct slice in, char *host, size_t size, uint16_t *port)
{
    struct slice h, p;
    long value = RFS_ISCSI_PORT;

    if (split_authority(in, &h, &p) || decode(h, host, size) || strpbrk(host, "/?#@,[]"))
        return -1;
    if (p.len && (value = number(p, 65535)) < 1)
        return -1;
    *port = (uint16_t)value;
    return 0;
}

/* Two spellings of a name are one target (RFC 3720 3.2.6.1), so they have to give one identity. */
static void to_lower(char *name)
{
    for (; *name; name++)
        *name = (char)tolower((unsigned char)*name);
}

static bool is_iscsi_name(const char *name)
{
    static const char *const prefixes[] = {"iqn.", "eui.", "naa."};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strncasecmp(name, prefixes[i], 4) == 0 && name[4])
            return !strchr(name, '/');
    return false;
}

static int bad(struct rfs_error *err, const char *what)
{
    return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "url: %s; " FORM, what);
}

/* What is forbidden wherever it stands; the url is not repeated, it may hold a password. */
static int check_forbidden(const char *rest, struct rfs_error *err)
{
    if (memchr(rest, '@', strcspn(rest, "/")))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "url: credentials do not belong in a url; " FORM
                        " and write them to the element's username, "
                        "password, target_username and target_password files");
    if (strpbrk(rest, "?#"))
        return bad(
            err, "a query string is not understood (header digest and credentials have files of their own)");
    return 0;
}

int rfs_iscsi_url_parse(const char *url, struct rfs_iscsi_url *parsed, struct rfs_error *err)
{
    struct rfs_iscsi_url scratch, *u = parsed ? parsed : &scratch;
    struct slice authority, target;
    const char *at = url;
    long lun;

    if (!url || strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
        return bad(err, "not an iSCSI url");
    at += strlen(SCHEME);
    if (check_forbidden(at, err))
        return -1;
    if (!take(&at, '/', &authority) || !take(&at, '/', &target))
        return bad(err, "the target's name or the LUN is missing");
    if (parse_authority(authority, u->host, sizeof(u->host), &u->port))
        return bad(err, "no valid host and port (IPv6 addresses stand in [], ports are 1 to 65535)");
    if (decode(target, u->target, sizeof(u->target)) || !is_iscsi_name(u->target))
        return bad(err, "the target's name is not an iSCSI name (iqn.…, eui.… or naa.…, at most 223 bytes)");
    to_lower(u->target);
    lun = number((struct slice){at, strlen(at)}, MAX_LUN);
    if (lun < 0)
        return bad(err, "the LUN is not a number from 0 to 16383");
    u->lun = (int)lun;
    return 0;
}

int rfs_iscsi_check_url(const char *url, struct rfs_error *err)
{
    return rfs_iscsi_url_parse(url, NULL, err);
}

int rfs_iscsi_portal_parse(const char *portal, char *host, size_t size, uint16_t *port)
{
    return parse_authority((struct slice){portal, strcspn(portal, ",")}, host, size, port);
}

static void add_addr(struct rfs_iscsi_addrs *addrs, bool v6, const char *text, uint16_t port)
{
    if (addrs->n < RFS_ISCSI_MAX_ADDRS)
        snprintf(addrs->portal[addrs->n++], sizeof(addrs->portal[0]), v6 ? "[%s]:%u" : "%s:%u", text, port);
}

bool rfs_iscsi_numeric(const char *host, uint16_t port, struct rfs_iscsi_addrs *addrs)
{
    unsigned char binary[sizeof(struct in6_addr)];
    char bare[INET6_ADDRSTRLEN + 1] = "";
    size_t len = strcspn(host, "%"); /* a link-local address has its zone behind it */

    addrs->n = 0;
    if (inet_pton(AF_INET, host, binary) == 1) {
        add_addr(addrs, false, host, port);
        return true;
    }
    if (len >= sizeof(bare))
        return false;
    memcpy(bare, host, len);
    if (inet_pton(AF_INET6, bare, binary) != 1)
        return false;
    add_addr(addrs, true, host, port);
    return true;
}

static int resolve(const char *host, uint16_t port, struct rfs_iscsi_addrs *addrs)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(host, NULL, &hints, &list);

    addrs->n = 0;
    if (code)
        return code;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        char text[64];

        if ((ai->ai_family == AF_INET || ai->ai_family == AF_INET6) &&
            getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
            add_addr(addrs, ai->ai_family == AF_INET6, text, port);
    }
    freeaddrinfo(list);
    return addrs->n ? 0 : EAI_NONAME;
}

/* --- lookup off the loop --- */

struct rfs_iscsi_lookup {
    struct rfs_work work;
    struct rfs_iothreads *io; /* one thread for one lookup: a resolver that hangs stops nobody else */
    void (*done)(void *arg, const char *host, int code, const struct rfs_iscsi_addrs *addrs);
    void *arg;
    char host[256];
    uint16_t port;
    int code;
    struct rfs_iscsi_addrs addrs;
};

static void look_up(struct rfs_work *work)
{
    struct rfs_iscsi_lookup *l = RFS_CONTAINER_OF(work, struct rfs_iscsi_lookup, work);

    l->code = resolve(l->host, l->port, &l->addrs);
}

static void looked_up(struct rfs_work *work)
{
    struct rfs_iscsi_lookup *l = RFS_CONTAINER_OF(work, struct rfs_iscsi_lookup, work);

    rfs_iothreads_free(l->io); /* its thread has nothing left to do: no waiting */
    l->done(l->arg, l->host, l->code, &l->addrs);
    free(l);
}

struct rfs_iscsi_lookup *rfs_iscsi_look_up(struct rfs_loop *loop, const char *host, uint16_t port,
                                           void (*done)(void *arg, const char *host, int code,
                                                        const struct rfs_iscsi_addrs *addrs),
                                           void *arg)
{
    struct rfs_iscsi_lookup *l = rfs_xcalloc(1, sizeof(*l));

    snprintf(l->host, sizeof(l->host), "%s", host);
    l->port = port;
    l->done = done;
    l->arg = arg;
    l->work = (struct rfs_work){.loop = loop, .run = look_up, .done = looked_up};
    l->io = rfs_iothreads_new("rfs-resolve", 1);
    rfs_iothreads_submit(l->io, &l->work);
    return l;
}
