/* See websocket.h. */
#include "websocket.h"

#include "common.h"

#include <stdio.h>
#include <string.h>

/* The nonce of RFC 6455, section 1.3, and the answer that goes with it. */
#define NONCE "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

size_t websocket_request(char *into, size_t room, const char *path, const char *host, unsigned port, bool tls)
{
    int length = snprintf(into, room,
                          "GET %s HTTP/1.1\r\nHost: %s:%u\r\nOrigin: http%s://%s:%u\r\nConnection: Upgrade\r\n"
                          "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " NONCE "\r\n"
                          "Sec-WebSocket-Protocol: binary\r\n\r\n",
                          path, host, port, tls ? "s" : "", host, port);
    if (length < 0 || (size_t)length >= room)
        die("the path is too long: %.60s...", path);
    return (size_t)length;
}

bool websocket_is_open(const char *head)
{
    return strncmp(head, "HTTP/1.1 101 ", 13) == 0 && strstr(head, ACCEPT "\r\n") != NULL;
}

size_t websocket_frame(uint8_t *into, uint8_t opcode, const uint8_t *payload, size_t bytes)
{
    static uint32_t mask = 2463534242u;
    size_t head = 2;
    mask ^= mask << 13; /* xorshift: never zero, as browsers' masks hardly ever are */
    mask ^= mask >> 17;
    mask ^= mask << 5;
    into[0] = 0x80 | opcode;
    if (bytes < 126) {
        into[1] = (uint8_t)(0x80 | bytes);
    } else if (bytes <= UINT16_MAX) {
        into[1] = 0x80 | 126;
        put16(into + 2, (uint16_t)bytes);
        head = 4;
    } else {
        into[1] = 0x80 | 127;
        put64(into + 2, bytes);
        head = 10;
    }
    uint8_t *key = into + head;
    put32(key, mask);
    for (size_t i = 0; i < bytes; i++)
        key[4 + i] = payload[i] ^ key[i % 4];
    return head + 4 + bytes;
}

/* How long a server's frame head is, once its first two bytes are known. */
static uint8_t head_size(const struct decoder *decoder)
{
    uint8_t length = decoder->head[1];
    return length == 127 ? 10 : length == 126 ? 4 : 2;
}

/* The head is there. False: no server sends this. */
static bool begin_frame(struct decoder *decoder)
{
    const uint8_t *head = decoder->head;
    decoder->opcode = head[0] & 0x0f;
    decoder->left = head[1] == 127 ? get64(head + 2) : head[1] == 126 ? get16(head + 2) : head[1];
    decoder->control_bytes = 0;
    bool is_control = decoder->opcode >= OP_CLOSE;
    return !(head[0] & 0x70) && decoder->opcode != OP_TEXT && !(is_control && decoder->left > CONTROL_MAX_BYTES);
}

/* Take what belongs to the payload. */
static bool take_payload(struct decoder *decoder, const uint8_t *data, size_t bytes, const struct receiver *receiver,
                         void *whose)
{
    decoder->left -= bytes;
    if (decoder->opcode < OP_CLOSE)
        return bytes == 0 || receiver->payload(whose, data, bytes);
    memcpy(decoder->control + decoder->control_bytes, data, bytes);
    decoder->control_bytes = (uint8_t)(decoder->control_bytes + bytes);
    return decoder->left > 0 ||
           receiver->control(whose, decoder->opcode, decoder->control, decoder->control_bytes);
}

bool websocket_feed(struct decoder *decoder, const uint8_t *data, size_t bytes, const struct receiver *receiver,
                    void *whose)
{
    while (bytes > 0) {
        size_t taken;
        if (decoder->left > 0) {
            taken = bytes < decoder->left ? bytes : (size_t)decoder->left;
            if (!take_payload(decoder, data, taken, receiver, whose))
                return false;
        } else {
            taken = 1;
            decoder->head[decoder->have++] = data[0];
            if (decoder->have >= 2 && decoder->have == head_size(decoder)) {
                decoder->have = 0;
                if (!begin_frame(decoder))
                    return false;
                if (decoder->left == 0 && !take_payload(decoder, data, 0, receiver, whose))
                    return false;
            }
        }
        data += taken;
        bytes -= taken;
    }
    return true;
}
