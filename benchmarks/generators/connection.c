/* See connection.h. */
#define _GNU_SOURCE
#include "connection.h"

#include "common.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

/* How much TLS takes from the kernel at once. */
enum { TLS_READ_BYTES = 64 * 1024 };
/* How many addresses connections come from. */
enum { SOURCES = 16 };

SSL_CTX *tls_context(const char *ca)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        die("TLS: no context");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, TLS_READ_BYTES);
    /* Each console is a new visitor's: no session is taken up again. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (ca != NULL) {
        if (SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
            die("TLS: no certificates in %s", ca);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    return context;
}

void connection_open(struct connection *connection, const struct sockaddr_in *to, SSL_CTX *tls)
{
    static unsigned opened;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000101u + opened++ % SOURCES);
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die_errno("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(connection->fd, (struct sockaddr *)&from, sizeof from) < 0)
        die_errno("bind");
    if (connect(connection->fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS)
        die_errno("connect");
    connection->wants_out = true;
    connection->tls = NULL;
    if (tls != NULL) {
        connection->tls = SSL_new(tls);
        if (connection->tls == NULL || SSL_set_fd(connection->tls, connection->fd) != 1)
            die("TLS: no connection");
        SSL_set_connect_state(connection->tls);
    }
}

void connection_close(struct connection *connection)
{
    if (connection->tls != NULL)
        SSL_free(connection->tls);
    close(connection->fd);
    connection->tls = NULL;
    connection->fd = -1;
}

/* What an SSL_read or SSL_write that gave no bytes means. */
static ssize_t tls_outcome(struct connection *connection, int result)
{
    int error = SSL_get_error(connection->tls, result);
    if (error == SSL_ERROR_WANT_WRITE)
        connection->wants_out = true;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return WOULD_BLOCK;
    bool is_end = error == SSL_ERROR_ZERO_RETURN ||
                  (error == SSL_ERROR_SSL &&
                   ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
    if (!is_end)
        ERR_print_errors_fp(stderr);
    ERR_clear_error();
    return is_end ? 0 : BROKEN;
}

ssize_t connection_read(struct connection *connection, void *data, size_t bytes)
{
    if (connection->tls != NULL) {
        int got = SSL_read(connection->tls, data, bytes > INT_MAX ? INT_MAX : (int)bytes);
        return got > 0 ? got : tls_outcome(connection, got);
    }
    ssize_t got = recv(connection->fd, data, bytes, 0);
    if (got >= 0)
        return got;
    return errno == EAGAIN ? WOULD_BLOCK : BROKEN;
}

ssize_t connection_write(struct connection *connection, const void *data, size_t bytes)
{
    connection->wants_out = false;
    if (connection->tls != NULL) {
        int sent = SSL_write(connection->tls, data, bytes > INT_MAX ? INT_MAX : (int)bytes);
        return sent > 0 ? sent : tls_outcome(connection, sent);
    }
    ssize_t sent = send(connection->fd, data, bytes, 0);
    if (sent >= 0)
        return sent;
    connection->wants_out = errno == EAGAIN;
    return errno == EAGAIN ? WOULD_BLOCK : BROKEN;
}

bool connection_has_more(const struct connection *connection)
{
    return connection->tls != NULL && SSL_has_pending(connection->tls);
}
