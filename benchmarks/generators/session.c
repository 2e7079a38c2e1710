/* See session.h. */
#define _GNU_SOURCE
#include "session.h"

#include "common.h"

#include <string.h>
#include <sys/epoll.h>

/* Read at once; and how often in one turn, so that none of many waits for one. */
enum { CHUNK_BYTES = 256 * 1024, READS = 16 };
static uint8_t chunk[CHUNK_BYTES];

static const char *const WHERE[] = {"the HTTP answer", "the version", "the number of types", "security types", "the result",
                                    "ServerInit",      "the name",    "updates",             "pixels"};

static const struct way *current; /* whose bytes are being taken: the receivers of frames have no other way to know */

static void expect(struct session *session, enum stage stage, size_t bytes)
{
    if (bytes > PART_MAX_BYTES)
        die("too long: %s", WHERE[stage]);
    session->stage = stage;
    session->need = bytes;
    session->have = 0;
}

static void watch(struct session *session, const struct way *way)
{
    uint32_t events = EPOLLIN | (session->connection.wants_out ? EPOLLOUT : 0);
    if (events == session->events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = session};
    int action = session->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(way->epoll, action, session->connection.fd, &event) < 0)
        die_errno("epoll_ctl");
    session->events = events;
}

void session_open(struct session *session, const struct way *way, const char *path)
{
    memset(session, 0, sizeof *session);
    session->opened_ns = now_ns();
    connection_open(&session->connection, &way->to, way->tls);
    if (way->websocket) {
        session->stage = S_HTTP;
        session->out_bytes = websocket_request((char *)session->out, sizeof session->out, path, way->host, way->port,
                                               way->tls != NULL);
    } else {
        expect(session, S_VERSION, VERSION_BYTES);
    }
    watch(session, way);
}

void session_close(struct session *session, const struct way *way)
{
    if (way->websocket && session->out_bytes == 0) {
        const uint8_t going_away[2] = {0x03, 0xe9}; /* 1001 */
        uint8_t frame[FRAME_HEAD_MAX_BYTES + sizeof going_away];
        connection_write(&session->connection, frame, websocket_frame(frame, OP_CLOSE, going_away, 2));
    }
    connection_close(&session->connection);
}

void session_flush(struct session *session, const struct way *way)
{
    for (;;) {
        size_t block_bytes = 0;
        const uint8_t *data = NULL;
        size_t left = 0;
        bool is_small = session->block_sent == 0 && session->out_bytes > 0;
        if (is_small) {
            data = session->out + session->out_sent;
            left = session->out_bytes - session->out_sent;
        } else if ((data = next_block(session, &block_bytes)) != NULL) {
            data += session->block_sent;
            left = block_bytes - session->block_sent;
        } else {
            session->connection.wants_out = false;
            break;
        }
        ssize_t sent = connection_write(&session->connection, data, left);
        if (sent == WOULD_BLOCK)
            break;
        if (sent <= 0)
            die("the connection broke before %s", WHERE[session->stage]);
        if (is_small) {
            session->out_sent += (size_t)sent;
            if (session->out_sent == session->out_bytes)
                session->out_sent = session->out_bytes = 0;
        } else {
            session->block_sent = (session->block_sent + (size_t)sent) % block_bytes;
            if (session->block_sent == 0)
                on_block_sent(session);
        }
    }
    watch(session, way);
}

static void say_frame(struct session *session, const struct way *way, uint8_t opcode, const uint8_t *data, size_t bytes)
{
    if (session->out_bytes + FRAME_HEAD_MAX_BYTES + bytes > sizeof session->out)
        die("a proxy takes no more input in %s", WHERE[session->stage]);
    uint8_t *into = session->out + session->out_bytes;
    if (way->websocket)
        session->out_bytes += websocket_frame(into, opcode, data, bytes);
    else
        session->out_bytes += (size_t)((uint8_t *)mempcpy(into, data, bytes) - into);
}

void session_say(struct session *session, const struct way *way, const uint8_t *message, size_t bytes)
{
    say_frame(session, way, OP_BINARY, message, bytes);
    session_flush(session, way);
}

void session_say_key(struct session *session, const struct way *way, uint32_t key)
{
    uint8_t message[KEY_EVENT_BYTES] = {KEY_EVENT, 1};
    put32(message + 4, key);
    session_say(session, way, message, sizeof message);
}

void session_say_flood(struct session *session, const struct way *way, bool wanted)
{
    uint8_t message[UPDATE_REQUEST_BYTES] = {UPDATE_REQUEST};
    put16(message + 6, wanted ? LARGE_SIDE : 0);
    put16(message + 8, wanted ? LARGE_SIDE : 0);
    session_say(session, way, message, sizeof message);
}

/* An update's head and the first pixels. */
static bool take_update(struct session *session)
{
    const uint8_t *part = session->part;
    uint8_t wanted[UPDATE_HEAD_BYTES];
    unsigned side = get16(part + 8);
    if (side != SMALL_SIDE && side != LARGE_SIDE)
        return false;
    put_update_head(wanted, side);
    if (memcmp(part, wanted, sizeof wanted) != 0)
        return false;
    session->is_answer = side == SMALL_SIDE;
    session->skip = side * side * PIXEL_BYTES - REPORT_BYTES;
    session->stage = S_PIXELS;
    return true;
}

/* The part of RFB that was waited for is there. False: it is not what this host says. */
static bool take_part(struct session *session)
{
    const uint8_t *part = session->part;
    const uint8_t none = SECURITY_NONE, shared = 1;
    switch (session->stage) {
    case S_VERSION:
        if (memcmp(part, RFB_VERSION, VERSION_BYTES) != 0)
            return false;
        session_say(session, current, part, VERSION_BYTES);
        expect(session, S_TYPE_COUNT, 1);
        return true;
    case S_TYPE_COUNT:
        expect(session, S_TYPES, part[0]);
        return session->need > 0;
    case S_TYPES:
        if (memchr(part, none, session->need) == NULL)
            return false;
        session_say(session, current, &none, 1);
        expect(session, S_RESULT, 4);
        return true;
    case S_RESULT:
        if (get32(part) != 0)
            return false;
        session_say(session, current, &shared, 1);
        expect(session, S_SERVER_INIT, SERVER_INIT_BYTES);
        return true;
    case S_SERVER_INIT:
        expect(session, S_NAME, get32(part + 20));
        return session->need > 0;
    case S_NAME:
        expect(session, S_UPDATE, UPDATE_HEAD_BYTES + REPORT_BYTES);
        on_established(session);
        return true;
    case S_UPDATE: return take_update(session);
    default: return false;
    }
}

static bool take_rfb(void *whose, const uint8_t *data, size_t bytes)
{
    struct session *session = whose;
    if (session->stage >= S_UPDATE)
        on_pixels(session, bytes);
    while (bytes > 0) {
        size_t taken;
        if (session->stage == S_PIXELS) {
            taken = bytes < session->skip ? bytes : (size_t)session->skip;
            session->skip -= taken;
            if (session->skip == 0) {
                expect(session, S_UPDATE, UPDATE_HEAD_BYTES + REPORT_BYTES);
                if (session->is_answer)
                    on_answer(session, get32(session->part + UPDATE_HEAD_BYTES),
                              get64(session->part + UPDATE_HEAD_BYTES + 4));
            }
        } else {
            taken = session->need - session->have;
            if (taken > bytes)
                taken = bytes;
            memcpy(session->part + session->have, data, taken);
            session->have += taken;
            if (session->have == session->need && !take_part(session))
                return false;
        }
        data += taken;
        bytes -= taken;
    }
    return true;
}

static bool take_control(void *whose, uint8_t opcode, const uint8_t *payload, size_t bytes)
{
    struct session *session = whose;
    if (opcode == OP_PING) {
        say_frame(session, current, OP_PONG, payload, bytes);
        session_flush(session, current);
    }
    return opcode != OP_CLOSE;
}

/* The answer to the opening request; what follows it belongs to the WebSocket already. */
static bool take_http(struct session *session, const uint8_t *data, size_t bytes)
{
    static const struct receiver receiver = {take_rfb, take_control};
    while (bytes > 0 && session->have < HTTP_HEAD_MAX_BYTES - 1) {
        session->http_head[session->have++] = (char)*data++;
        bytes--;
        if (session->have < 4 || memcmp(session->http_head + session->have - 4, "\r\n\r\n", 4) != 0)
            continue;
        if (!websocket_is_open(session->http_head))
            die("no WebSocket: %s%.*s", session->http_head, (int)bytes, (const char *)data);
        expect(session, S_VERSION, VERSION_BYTES);
        return websocket_feed(&session->decoder, data, bytes, &receiver, session);
    }
    return session->have < HTTP_HEAD_MAX_BYTES - 1;
}

static bool feed(struct session *session, const struct way *way, const uint8_t *data, size_t bytes)
{
    static const struct receiver receiver = {take_rfb, take_control};
    if (session->stage == S_HTTP)
        return take_http(session, data, bytes);
    if (way->websocket)
        return websocket_feed(&session->decoder, data, bytes, &receiver, session);
    return take_rfb(session, data, bytes);
}

void session_event(struct session *session, const struct way *way, uint32_t events)
{
    current = way;
    /* While TLS shakes hands, a write may have to wait for input. */
    if ((events & EPOLLOUT) || session->out_bytes > 0)
        session_flush(session, way);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    for (unsigned reads = 0; reads < READS || connection_has_more(&session->connection); reads++) {
        ssize_t got = connection_read(&session->connection, chunk, sizeof chunk);
        if (got == WOULD_BLOCK)
            break;
        if (got <= 0 || !feed(session, way, chunk, (size_t)got))
            die("ended, or not understood: %s", WHERE[session->stage]);
        if (way->tls == NULL && (size_t)got < sizeof chunk)
            break; /* there is no more: do not ask the kernel again */
    }
    watch(session, way);
}
