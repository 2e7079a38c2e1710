/* The client side of RFC 6455, as far as a console needs it: the opening handshake, masked frames out, frames in. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
/* A client's frame head at most: 2 bytes, 8 of length, 4 of mask. */
enum { FRAME_HEAD_MAX_BYTES = 14, CONTROL_MAX_BYTES = 125 };

/* The request for a path, with its query; its length. */
size_t websocket_request(char *into, size_t room, const char *path, const char *host, unsigned port, bool tls);

/* Whether an answer's head, which ends with a zero, opens the WebSocket. */
bool websocket_is_open(const char *head);

/* A whole masked frame; its length. `into` has FRAME_HEAD_MAX_BYTES more room than the payload. */
size_t websocket_frame(uint8_t *into, uint8_t opcode, const uint8_t *payload, size_t bytes);

/* What has come of a frame. Begins with zeros. */
struct decoder {
    uint8_t head[10], have;
    uint8_t opcode;
    uint64_t left; /* of the payload */
    uint8_t control[CONTROL_MAX_BYTES], control_bytes;
};

/* Who is told. Both give false for an end. */
struct receiver {
    bool (*payload)(void *whose, const uint8_t *data, size_t bytes);
    bool (*control)(void *whose, uint8_t opcode, const uint8_t *payload, size_t bytes);
};

/* Take bytes from the wire. False: it ended, or this is no WebSocket. */
bool websocket_feed(struct decoder *decoder, const uint8_t *data, size_t bytes, const struct receiver *receiver,
                    void *whose);

#endif
