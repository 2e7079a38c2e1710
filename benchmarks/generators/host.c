/* The host side: an RFB 3.8 server for many viewers at once, in one process.
 *
 *     host ADDRESS      listens on two free ports, and says which: {"none": 5901, "vnc": 5902}
 *
 * On the one there is no authentication, on the other VNC authentication, whose answer it takes unseen (a proxy has
 * the same work with it). After that each viewer gets what it asks for:
 *   a key that is pressed     a small update that says which key that was, and how many bytes had come until then;
 *   a request for an update   large updates without end, as fast as they are taken ...
 *   ... of no width           no more of them;
 *   all else                  is swallowed and counted. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 256, CHUNK_BYTES = 256 * 1024, OUT_MAX_BYTES = 1024 * 1024, HEAD_MAX_BYTES = 24 };
static const char NAME[] = "bench";

enum stage { VERSION, CHOICE, ANSWER, CLIENT_INIT, MESSAGE_TYPE, MESSAGE };

/* Zero for a listener's: its events are told from viewers' by that. */
struct viewer {
    int fd;
    bool listener;
    uint8_t security;
    enum stage stage;
    uint8_t head[HEAD_MAX_BYTES]; /* what has come of the part that is read as a whole */
    size_t have, need;
    uint64_t skip;      /* bytes that only count */
    uint64_t swallowed; /* since ClientInit */
    bool flooding;
    size_t flood_sent; /* of the large update that is under way; 0: none is */
    uint8_t *out;      /* small answers; they go between large updates */
    size_t out_bytes, out_sent, out_room;
    uint32_t events;
};

static int epoll;
static uint8_t large[LARGE_BYTES];
static uint8_t chunk[CHUNK_BYTES];

static void queue(struct viewer *viewer, const void *data, size_t bytes)
{
    if (viewer->out_bytes + bytes > viewer->out_room) {
        viewer->out_room = 2 * (viewer->out_bytes + bytes);
        if (viewer->out_room > OUT_MAX_BYTES)
            die("a viewer asks for more than it takes");
        viewer->out = realloc(viewer->out, viewer->out_room);
        if (viewer->out == NULL)
            die_errno("memory");
    }
    memcpy(viewer->out + viewer->out_bytes, data, bytes);
    viewer->out_bytes += bytes;
}

static void expect(struct viewer *viewer, enum stage stage, size_t bytes)
{
    viewer->stage = stage;
    viewer->need = bytes;
    viewer->have = 0;
}

static void queue_server_init(struct viewer *viewer)
{
    uint8_t init[SERVER_INIT_BYTES] = {0};
    put16(init, LARGE_SIDE);
    put16(init + 2, LARGE_SIDE);
    const uint8_t format[13] = {32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0}; /* 7.4 */
    memcpy(init + 4, format, sizeof format);
    put32(init + 20, sizeof NAME - 1);
    queue(viewer, init, sizeof init);
    queue(viewer, NAME, sizeof NAME - 1);
}

static void answer_key(struct viewer *viewer, uint32_t key)
{
    uint8_t update[SMALL_BYTES] = {0};
    put_update_head(update, SMALL_SIDE);
    put32(update + UPDATE_HEAD_BYTES, key);
    put64(update + UPDATE_HEAD_BYTES + 4, viewer->swallowed);
    queue(viewer, update, sizeof update);
}

/* The size of a client message up to where its length is known; 0 for one that nobody sends here. */
static size_t head_size(uint8_t type)
{
    switch (type) {
    case SET_PIXEL_FORMAT: return 20;
    case SET_ENCODINGS: return 4;
    case UPDATE_REQUEST: return UPDATE_REQUEST_BYTES;
    case KEY_EVENT: return KEY_EVENT_BYTES;
    case POINTER_EVENT: return 6;
    case CUT_TEXT: return CUT_TEXT_HEAD_BYTES;
    default: return 0;
    }
}

static void take_message(struct viewer *viewer)
{
    const uint8_t *head = viewer->head;
    switch (head[0]) {
    case SET_ENCODINGS: viewer->skip = 4u * get16(head + 2); break;
    case CUT_TEXT: viewer->skip = get32(head + 4); break;
    case UPDATE_REQUEST: viewer->flooding = get16(head + 6) > 0; break;
    case KEY_EVENT:
        if (head[1])
            answer_key(viewer, get32(head + 4));
        break;
    }
    expect(viewer, MESSAGE_TYPE, 1);
}

/* The part that was waited for is there. False: this is no viewer. */
static bool take_part(struct viewer *viewer)
{
    static const uint8_t challenge[CHALLENGE_BYTES] = "0123456789abcdef";
    static const uint8_t ok[4];
    switch (viewer->stage) {
    case VERSION: {
        const uint8_t types[2] = {1, viewer->security};
        if (memcmp(viewer->head, RFB_VERSION, VERSION_BYTES) != 0)
            return false;
        queue(viewer, types, sizeof types);
        expect(viewer, CHOICE, 1);
        return true;
    }
    case CHOICE:
        if (viewer->head[0] != viewer->security)
            return false;
        if (viewer->security == SECURITY_VNC) {
            queue(viewer, challenge, sizeof challenge);
            expect(viewer, ANSWER, CHALLENGE_BYTES);
            return true;
        }
        __attribute__((fallthrough)); /* 3.8 has a SecurityResult after None, too */
    case ANSWER:
        queue(viewer, ok, sizeof ok);
        expect(viewer, CLIENT_INIT, 1);
        return true;
    case CLIENT_INIT:
        queue_server_init(viewer);
        viewer->swallowed = 0;
        expect(viewer, MESSAGE_TYPE, 1);
        return true;
    case MESSAGE_TYPE:
        viewer->stage = MESSAGE;
        viewer->need = head_size(viewer->head[0]);
        return viewer->need > 0;
    case MESSAGE:
        take_message(viewer);
        return true;
    }
    return false;
}

static bool feed(struct viewer *viewer, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        size_t taken;
        if (viewer->skip > 0) {
            taken = bytes < viewer->skip ? bytes : (size_t)viewer->skip;
            viewer->skip -= taken;
            viewer->swallowed += taken;
        } else {
            taken = viewer->need - viewer->have;
            if (taken > bytes)
                taken = bytes;
            memcpy(viewer->head + viewer->have, data, taken);
            viewer->have += taken;
            viewer->swallowed += taken;
            if (viewer->have == viewer->need && !take_part(viewer))
                return false;
        }
        data += taken;
        bytes -= taken;
    }
    return true;
}

/* One turn of sending. False: the viewer is gone. */
static bool flush(struct viewer *viewer)
{
    bool is_small = viewer->flood_sent == 0 && viewer->out_bytes > 0;
    if (!is_small && viewer->flood_sent == 0 && !viewer->flooding)
        return true;
    const uint8_t *data = is_small ? viewer->out + viewer->out_sent : large + viewer->flood_sent;
    size_t left = is_small ? viewer->out_bytes - viewer->out_sent : sizeof large - viewer->flood_sent;
    ssize_t sent = send(viewer->fd, data, left, 0);
    if (sent < 0)
        return errno == EAGAIN;
    if (is_small) {
        viewer->out_sent += (size_t)sent;
        if (viewer->out_sent == viewer->out_bytes)
            viewer->out_sent = viewer->out_bytes = 0;
    } else {
        viewer->flood_sent = (viewer->flood_sent + (size_t)sent) % sizeof large;
    }
    return true;
}

static void watch(struct viewer *viewer)
{
    bool has_more = viewer->flooding || viewer->flood_sent > 0 || viewer->out_bytes > 0;
    uint32_t events = EPOLLIN | (has_more ? EPOLLOUT : 0);
    if (events == viewer->events)
        return;
    viewer->events = events;
    struct epoll_event event = {.events = events, .data.ptr = viewer};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, viewer->fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void serve(struct viewer *viewer, uint32_t events)
{
    bool alive = true;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t got = recv(viewer->fd, chunk, sizeof chunk, 0);
        alive = got > 0 ? feed(viewer, chunk, (size_t)got) : got < 0 && errno == EAGAIN;
    }
    if (alive && flush(viewer)) {
        watch(viewer);
        return;
    }
    close(viewer->fd);
    free(viewer->out);
    free(viewer);
}

static void add(struct viewer *viewer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = viewer};
    viewer->events = EPOLLIN;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, viewer->fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void accept_viewers(const struct viewer *listener)
{
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct viewer *viewer = calloc(1, sizeof *viewer);
        if (viewer == NULL)
            die_errno("memory");
        viewer->fd = fd;
        viewer->security = listener->security;
        expect(viewer, VERSION, VERSION_BYTES);
        queue(viewer, RFB_VERSION, VERSION_BYTES);
        add(viewer);
        if (!flush(viewer))
            continue; /* gone already: the next event says so, and there it is freed */
        watch(viewer);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die_errno("accept");
}

static unsigned listen_at(struct viewer *listener, const char *host, uint8_t security)
{
    struct sockaddr_in address = address_of(host, 0);
    socklen_t size = sizeof address;
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    listener->listener = true;
    listener->security = security;
    if (listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&address, size) < 0 ||
        listen(listener->fd, BACKLOG) < 0 || getsockname(listener->fd, (struct sockaddr *)&address, &size) < 0)
        die_errno("listen");
    add(listener);
    return ntohs(address.sin_port);
}

int main(int count, char **arguments)
{
    static struct viewer none, vnc;
    if (count != 2)
        die("usage: host ADDRESS");
    prepare_process();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    memset(large, 0x5a, sizeof large);
    put_update_head(large, LARGE_SIDE);
    unsigned none_port = listen_at(&none, arguments[1], SECURITY_NONE);
    unsigned vnc_port = listen_at(&vnc, arguments[1], SECURITY_VNC);
    printf("{\"none\": %u, \"vnc\": %u}\n", none_port, vnc_port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int number = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < number; i++) {
            struct viewer *viewer = events[i].data.ptr;
            if (viewer->listener)
                accept_viewers(viewer);
            else
                serve(viewer, events[i].events);
        }
    }
}
