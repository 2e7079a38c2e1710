/* A TCP connection to a proxy, plain or TLS, that never blocks. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

struct connection {
    int fd;
    SSL *tls; /* NULL: plain */
    bool wants_out; /* the last write stopped because the kernel's buffer is full */
};

/* What connection_read and connection_write give besides a number of bytes. */
enum { WOULD_BLOCK = -1, BROKEN = -2 };

/* The TLS context of all connections; NULL with ca == NULL is one that verifies nothing. */
SSL_CTX *tls_context(const char *ca);

/* Begin to connect, from another address of 127.0.1.0/24 each time, so that ports last. tls == NULL: plain. */
void connection_open(struct connection *connection, const struct sockaddr_in *to, SSL_CTX *tls);
void connection_close(struct connection *connection);

/* Number of bytes; 0 at the end; WOULD_BLOCK; BROKEN. TLS's handshake happens within. */
ssize_t connection_read(struct connection *connection, void *data, size_t bytes);
ssize_t connection_write(struct connection *connection, const void *data, size_t bytes);

/* TLS has taken more from the kernel than it has given out. */
bool connection_has_more(const struct connection *connection);

#endif
