/* One console as its browser has it: connection, WebSocket (or none), RFB 3.8 handshake, and then updates in, messages
 * out. What is measured is load.c's business. */
#ifndef SESSION_H
#define SESSION_H

#include "connection.h"
#include "websocket.h"

enum { HTTP_HEAD_MAX_BYTES = 2048, OUT_ROOM_BYTES = 4096, PART_MAX_BYTES = 128, KEYS_MAX = 512 };

enum stage {
    S_HTTP,
    S_VERSION,
    S_TYPE_COUNT,
    S_TYPES,
    S_RESULT,
    S_SERVER_INIT,
    S_NAME,
    S_UPDATE,
    S_PIXELS
};

/* How sessions are opened; the same for all of one run. */
struct way {
    struct sockaddr_in to;
    const char *host;
    unsigned port;
    bool websocket; /* false: RFB straight over TCP */
    SSL_CTX *tls;   /* NULL: plain */
    int epoll;
};

struct session {
    struct connection connection;
    enum stage stage;
    uint32_t events; /* that epoll looks for */
    uint64_t opened_ns;

    /* In. */
    char http_head[HTTP_HEAD_MAX_BYTES];
    struct decoder decoder;
    uint8_t part[PART_MAX_BYTES];
    size_t have, need; /* of the part of RFB that is read as a whole */
    uint64_t skip;     /* pixels to come */
    bool is_answer;    /* the update under way answers a key */

    /* Out: small messages, and between them blocks of the same bytes for all sessions. */
    uint8_t out[OUT_ROOM_BYTES];
    size_t out_bytes, out_sent;
    size_t block_sent; /* of the block under way; 0: none is */
    unsigned blocks_ahead; /* sent and not yet answered */

    /* Keys that wait for their answers: when they were sent, oldest first. */
    uint64_t key_ns[KEYS_MAX];
    uint32_t keys_sent, keys_answered;
    uint64_t swallowed; /* how many bytes had come to the host when it answered last */
    bool is_ending; /* no more blocks: the last key is next */
    bool is_over;   /* load.c has seen all that it wanted */
};

/* What a session tells load.c. */
void on_established(struct session *session);
void on_pixels(struct session *session, size_t bytes); /* bytes of RFB that came in the course of updates */
void on_answer(struct session *session, uint32_t key, uint64_t swallowed);
/* More to send, if there is: a block that is the same for all, and its length; NULL: nothing. */
const uint8_t *next_block(const struct session *session, size_t *bytes);
void on_block_sent(struct session *session);

/* Begin to open one; dies, like all here, when something is not as it should be. */
void session_open(struct session *session, const struct way *way, const char *path);
/* As a browser does that leaves: a close frame, and the end of the connection. */
void session_close(struct session *session, const struct way *way);
void session_event(struct session *session, const struct way *way, uint32_t events);

/* Send an RFB message as one WebSocket message. */
void session_say(struct session *session, const struct way *way, const uint8_t *message, size_t bytes);
void session_say_key(struct session *session, const struct way *way, uint32_t key);
/* Ask for large updates without end, or for no more. */
void session_say_flood(struct session *session, const struct way *way, bool wanted);
/* Send as much of what waits as the kernel takes. */
void session_flush(struct session *session, const struct way *way);

#endif
