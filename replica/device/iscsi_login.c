/* SPDX-License-Identifier: Apache-2.0
 *
 * Logging in to an iSCSI target, what it means when that fails, and the configuration it needs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "device/iscsi_priv.h"

#define CONNECT_TIMEOUT_MS 10000
#define COMMAND_TIMEOUT_MS 30000
#define KEEPALIVE_MS       5000

#define LOGIN_AUTHENTICATION 0x0201
/* Without a user name libiscsi leaves the security stage of the login out, and there is where tgt 1.0.85 reinstates:
 * without it the old session lives on beside the new one, and its commands with it. So libiscsi is given a name that
 * is nobody's. It is only used if the target asks for CHAP, and then the login is repeated without it. */
#define PLACEHOLDER "none"

static bool has_credentials(const struct rfs_iscsi *dev)
{
    return dev->config.username && *dev->config.username;
}

/* Status class and detail of a login response (RFC 7143 11.13.5). What only a person can mend is Refused. */
static const struct login_error {
    unsigned status;
    enum rfs_device_state verdict;
    enum rfs_rv rv;
    const char *text;
} login_errors[] = {
    {LOGIN_AUTHENTICATION, RFS_DEVICE_REFUSED, RFS_RV_ACCESS_DENIED,
     "authentication failed; check username, password and, where the "
     "target proves itself too, target_username and target_password"},
    {0x0202, RFS_DEVICE_REFUSED, RFS_RV_ACCESS_DENIED,
     "this initiator is not allowed; check the target's access list"},
    {0x0203, RFS_DEVICE_REFUSED, RFS_RV_NOT_FOUND, "there is no such target; check the name in the url"},
    {0x0204, RFS_DEVICE_REFUSED, RFS_RV_NOT_FOUND, "the target has been removed"},
    {0x0206, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "too many connections"},
    {0x0300, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the target has an error of its own"},
    {0x0301, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the target's service is not available"},
    {0x0302, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "the target is out of resources"},
};

/* libiscsi says class and detail only at the end of its text: "… Status: Authentication failure(513)". */
static unsigned login_status(const char *text)
{
    const char *at = strstr(text, "Status: ");

    at = at ? strrchr(at, '(') : NULL;
    return at ? (unsigned)strtoul(at + 1, NULL, 10) : 0;
}

/* No credentials are set, and the target did not like the placeholder: once more without. */
static void retry_plainly(struct rfs_iscsi *dev, unsigned status)
{
    bool retry = status == LOGIN_AUTHENTICATION && !has_credentials(dev) && !dev->plain_login;

    if (status == LOGIN_AUTHENTICATION)
        dev->plain_login = retry;
    dev->login_again = retry;
}

static void login_failed(struct rfs_iscsi_session *s)
{
    struct rfs_iscsi *dev = s->dev;
    const char *text = iscsi_get_error(s->ctx), *portal = dev->addrs.portal[dev->addr];
    unsigned status = login_status(text);
    bool chap = strstr(text, "CHAP") != NULL; /* what libiscsi itself finds wrong with the target's proof */

    retry_plainly(dev, status);
    for (size_t i = 0; i < sizeof(login_errors) / sizeof(login_errors[0]); i++)
        if (login_errors[i].status == status) {
            rfs_iscsi_fail(s, login_errors[i].verdict, login_errors[i].rv,
                           "login to %s at %s failed (0x%04x): %s", dev->url.target, portal, status,
                           login_errors[i].text);
            return;
        }
    rfs_iscsi_fail(s, RFS_DEVICE_REFUSED, chap ? RFS_RV_ACCESS_DENIED : RFS_RV_FAILED,
                   "login to %s at %s failed: %s%s", dev->url.target, portal, rfs_iscsi_reason(s->ctx),
                   chap ? "; check target_username and target_password" : "");
}

static void on_login(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    struct rfs_iscsi_session *s = arg;
    struct rfs_iscsi *dev = s->dev;

    (void)data;
    if (s->dead || s->failed)
        return;
    if (status == SCSI_STATUS_GOOD) {
        s->phase = RFS_ISCSI_PROBE;
        rfs_iscsi_probe(s);
        return;
    }
    if (status == SCSI_STATUS_REDIRECT && iscsi_get_target_address(ctx)[0]) {
        snprintf(dev->redirect, sizeof(dev->redirect), "%s", iscsi_get_target_address(ctx));
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED,
                       "%s sends this initiator on from portal to portal", dev->url.target);
        return;
    }
    login_failed(s);
}

/* Names of a library's functions tell a user nothing: what stands behind them is left, or nothing. */
const char *rfs_iscsi_reason(struct iscsi_context *ctx)
{
    const char *text = iscsi_get_error(ctx), *rest = text ? strstr(text, ": ") : NULL;

    if (text && strncmp(text, "iscsi_", 6) == 0)
        text = rest ? rest + 2 : NULL;
    return text && *text && !strstr(text, "iscsi_") ? text : "the connection does not work any more";
}

int rfs_iscsi_socket_error(struct rfs_iscsi_session *s)
{
    int code = 0;
    socklen_t len = sizeof(code);

    if (getsockopt(iscsi_get_fd(s->ctx), SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        code = errno;
    return code;
}

void rfs_iscsi_cannot_connect(struct rfs_iscsi_session *s, int code)
{
    static const int no_route[] = {ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL};
    const char *advice = "check that the target runs and that the address and port are right";

    for (size_t i = 0; i < sizeof(no_route) / sizeof(no_route[0]); i++)
        if (no_route[i] == code)
            advice = "check the address and route";
    rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, code == ETIMEDOUT ? RFS_RV_TIMEOUT : RFS_RV_FAILED,
                   "cannot connect to %s: %s; %s", s->dev->addrs.portal[s->dev->addr],
                   code ? strerror(code) : "the connection was not made", advice);
}

void rfs_iscsi_on_connect(struct iscsi_context *ctx, int status, void *data, void *arg)
{
    struct rfs_iscsi_session *s = arg;

    (void)data;
    if (s->dead || s->failed)
        return;
    if (status != SCSI_STATUS_GOOD) {
        rfs_iscsi_cannot_connect(s, rfs_iscsi_socket_error(s));
        return;
    }
    s->phase = RFS_ISCSI_LOGIN;
    s->dirty = true;
    if (iscsi_login_async(ctx, on_login, s) < 0)
        rfs_iscsi_fail(s, RFS_DEVICE_OFFLINE, RFS_RV_FAILED, "login: %s", rfs_iscsi_reason(ctx));
}

/* libiscsi reads LIBISCSI_* from the environment when it makes a context; all of it is set again here. */
static void undo_environment(struct iscsi_context *ctx)
{
    char none[1] = "";

    iscsi_set_log_level(ctx, 0);
    iscsi_set_log_fn(ctx, NULL);
    iscsi_set_tcp_user_timeout(ctx, 0);
    iscsi_set_tcp_syncnt(ctx, 0);
    iscsi_set_tcp_keepcnt(ctx, 3);
    iscsi_set_tcp_keepintvl(ctx, 30);
    iscsi_set_tcp_keepidle(ctx, 30);
    iscsi_set_cache_allocations(ctx, 1);
    if (getenv("LIBISCSI_BIND_INTERFACES"))
        iscsi_set_bind_interfaces(ctx, none);
}

struct iscsi_context *rfs_iscsi_make_context(const struct rfs_iscsi *dev)
{
    const struct rfs_device_config *c = &dev->config;
    struct iscsi_context *ctx = iscsi_create_context(c->initiator);

    if (!ctx)
        return NULL;
    undo_environment(ctx);
    iscsi_set_noautoreconnect(ctx, 1);
    iscsi_set_isid_random(ctx, c->isid, c->session);
    iscsi_set_targetname(ctx, dev->url.target);
    iscsi_set_session_type(ctx, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(ctx, c->header_digest ? ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE);
    if (has_credentials(dev))
        iscsi_set_initiator_username_pwd(ctx, c->username, c->password ? c->password : "");
    else if (!dev->plain_login)
        iscsi_set_initiator_username_pwd(ctx, PLACEHOLDER, PLACEHOLDER);
    if (c->target_username && *c->target_username)
        iscsi_set_target_username_pwd(ctx, c->target_username, c->target_password ? c->target_password : "");
    return ctx;
}

/* --- the configuration --- */

void rfs_iscsi_config_copy(struct rfs_iscsi *dev, const struct rfs_device_config *config)
{
    struct rfs_device_config *c = &dev->config;

    *c = *config;
    c->name = rfs_xstrdup(config->name ? config->name : "?");
    c->url = rfs_xstrdup(config->url);
    c->username = rfs_xstrdup(config->username);
    c->password = rfs_xstrdup(config->password);
    c->target_username = rfs_xstrdup(config->target_username);
    c->target_password = rfs_xstrdup(config->target_password);
    c->initiator = rfs_xstrdup(config->initiator);
    c->expect_identity = NULL;
    c->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    c->command_timeout_ms = config->command_timeout_ms ? config->command_timeout_ms : COMMAND_TIMEOUT_MS;
    c->keepalive_ms = config->keepalive_ms ? config->keepalive_ms : KEEPALIVE_MS;
    dev->expect_identity = rfs_xstrdup(config->expect_identity);
    dev->expect_size = config->expect_size;
    dev->expect_block_size = config->expect_block_size;
}

static void wipe_and_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void rfs_iscsi_config_free(struct rfs_iscsi *dev)
{
    const char *strings[] = {dev->config.name,
                             dev->config.url,
                             dev->config.username,
                             dev->config.password,
                             dev->config.target_username,
                             dev->config.target_password,
                             dev->config.initiator,
                             dev->expect_identity};

    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        wipe_and_free((char *)(uintptr_t)strings[i]);
}
