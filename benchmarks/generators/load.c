/* The browsers' side: many consoles at once through a proxy, or straight at a host, and one measurement of them.
 *
 *     load MEASUREMENT ADDRESS PORT [OPTION=VALUE ...]
 *
 * It prints a line, {"measuring": SECONDS}, when it begins to count, and another one with what it has counted.
 *
 * MEASUREMENT
 *   throughput-down   the host floods each session with large updates
 *   throughput-up     each session sends messages of 16 KiB; as many as the host has confirmed are counted
 *   latency           keys at a fixed rate, each until its answer (rate= keys per second over all sessions)
 *   rate              each session sends the next key when the last one is answered
 *   connect           new consoles up to ServerInit, in-flight= of them at a time
 *   hold              sessions stay open, says {"held": N}, and ends with standard input
 *
 * OPTION   sessions=1 seconds=1 warm-up=0.2 rate=1000 in-flight=16 patience=60
 *          transport=websocket|tcp path=/websockify paths=FILE (one a line, each for one session) tls=yes ca=FILE
 *
 * Every byte's place is checked; at the end each session presses one more key, and everything before it has to be
 * where it belongs. */
#define _GNU_SOURCE
#include "common.h"
#include "histogram.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, MESSAGE_BYTES = 16 * 1024, KEY_MASK = 0xffffff };
/* How many messages a block of throughput-up has, and how many blocks of a session may be under way: few sessions
 * have to keep the way full; many do that with one small block each, and must not wait long for its answer. */
enum { FEW = 8, MESSAGES_OF_FEW = 16, MESSAGES_OF_MANY = 8, AHEAD_OF_FEW = 8, AHEAD_OF_MANY = 1 };
enum { OPENING_AT_ONCE = 32 };
/* Keys that are none of a measurement's: at the end of a block, and at the end of all. */
enum { BLOCK_KEY = 0x1000000, LAST_KEY = 0x2000000 };
#define SECOND_NS 1000000000u

enum measurement { DOWN, UP, LATENCY, RATE, CONNECT, HOLD, MEASUREMENTS };
static const char *const NAMES[] = {"throughput-down", "throughput-up", "latency", "rate", "connect", "hold"};
enum phase { OPENING, WARMING_UP, MEASURING, ENDING, OVER };

static struct {
    enum measurement measurement;
    unsigned sessions, in_flight;
    double seconds, warm_up, rate, patience;
    const char *path, *ca;
    FILE *paths;
    bool tls;
} options = {.sessions = 1, .in_flight = 16, .seconds = 1, .warm_up = 0.2, .rate = 1000, .patience = 60,
             .path = "/websockify"};

static struct way way = {.websocket = true};
static struct session *sessions;
static unsigned opened, established, over;
static enum phase phase;
static uint64_t phase_ends_ns;

/* What is counted while MEASURING. */
static uint64_t began_ns, ended_ns, counted;
static struct histogram times;
static uint64_t keys_due; /* of latency: how many have been sent at the fixed rate */
static uint64_t late_ns;  /* and how late the latest of them was */
static struct rusage usage_before;

static uint8_t block[MESSAGES_OF_FEW * (FRAME_HEAD_MAX_BYTES + MESSAGE_BYTES) + FRAME_HEAD_MAX_BYTES + KEY_EVENT_BYTES];
static size_t block_bytes, block_rfb_bytes; /* as it is sent, and without WebSocket */

/* Texts of the clipboard and a key that has them confirmed: one block of what throughput-up sends. */
static void make_block(void)
{
    static uint8_t text[MESSAGE_BYTES] = {CUT_TEXT};
    uint8_t key[KEY_EVENT_BYTES] = {KEY_EVENT, 1};
    memset(text + CUT_TEXT_HEAD_BYTES, 'x', sizeof text - CUT_TEXT_HEAD_BYTES);
    put32(text + 4, sizeof text - CUT_TEXT_HEAD_BYTES);
    put32(key + 4, BLOCK_KEY);
    unsigned texts = options.sessions > FEW ? MESSAGES_OF_MANY : MESSAGES_OF_FEW;
    for (unsigned i = 0; i <= texts; i++) {
        const uint8_t *message = i < texts ? text : key;
        size_t bytes = i < texts ? sizeof text : sizeof key;
        block_rfb_bytes += bytes;
        if (way.websocket)
            block_bytes += websocket_frame(block + block_bytes, OP_BINARY, message, bytes);
        else
            block_bytes = (size_t)((uint8_t *)mempcpy(block + block_bytes, message, bytes) - block);
    }
}

const uint8_t *next_block(const struct session *session, size_t *bytes)
{
    *bytes = block_bytes;
    if (session->block_sent > 0)
        return block;
    bool may = options.measurement == UP && phase > OPENING && !session->is_ending;
    unsigned ahead = options.sessions > FEW ? AHEAD_OF_MANY : AHEAD_OF_FEW;
    return may && session->blocks_ahead < ahead ? block : NULL;
}

void on_block_sent(struct session *session)
{
    session->blocks_ahead++;
}

static void send_key(struct session *session)
{
    if (session->keys_sent - session->keys_answered == KEYS_MAX)
        die("%d keys of one session wait for an answer: the rate is too high", KEYS_MAX);
    session->key_ns[session->keys_sent % KEYS_MAX] = now_ns();
    session_say_key(session, &way, session->keys_sent++ & KEY_MASK);
}

static void open_next(struct session *session)
{
    static char line[4096];
    const char *path = options.path;
    if (options.paths != NULL) {
        path = fgets(line, sizeof line, options.paths);
        if (path == NULL)
            die("more sessions than paths");
        line[strcspn(line, "\n")] = 0;
    }
    session_open(session, &way, path);
    opened++;
}

static void enter(enum phase next, double seconds)
{
    phase = next;
    phase_ends_ns = now_ns() + (uint64_t)(seconds * SECOND_NS);
}

void on_established(struct session *session)
{
    established++;
    if (options.measurement != CONNECT)
        return;
    session->is_over = true;
    if (phase == MEASURING) {
        counted++;
        histogram_add(&times, now_ns() - session->opened_ns);
    }
}

void on_pixels(struct session *session, size_t bytes)
{
    (void)session;
    if (options.measurement == DOWN && phase == MEASURING)
        counted += bytes;
}

static void end_session(struct session *session, uint64_t swallowed)
{
    /* What was sent in whole blocks, and the last key. */
    uint64_t sent = session->swallowed + KEY_EVENT_BYTES;
    if (options.measurement == UP && (swallowed != sent || session->blocks_ahead > 0))
        die("%llu bytes were sent, %llu came", (unsigned long long)sent, (unsigned long long)swallowed);
    if (session->keys_sent != session->keys_answered)
        die("%u keys without answers", session->keys_sent - session->keys_answered);
    session->is_over = true;
    over++;
}

void on_answer(struct session *session, uint32_t key, uint64_t swallowed)
{
    if (key == LAST_KEY) {
        end_session(session, swallowed);
    } else if (key == BLOCK_KEY) {
        if (session->blocks_ahead == 0 || swallowed != session->swallowed + block_rfb_bytes)
            die("a block came with %llu bytes", (unsigned long long)(swallowed - session->swallowed));
        session->blocks_ahead--;
        session->swallowed = swallowed;
        if (phase == MEASURING)
            counted += block_rfb_bytes;
        session_flush(session, &way);
    } else {
        if (key != (session->keys_answered & KEY_MASK) || session->keys_answered == session->keys_sent)
            die("an answer to key %u instead of %u", key, session->keys_answered);
        if (phase == MEASURING) {
            counted++;
            histogram_add(&times, now_ns() - session->key_ns[session->keys_answered % KEYS_MAX]);
        }
        session->keys_answered++;
        if (options.measurement == RATE && phase < ENDING)
            send_key(session);
    }
}

static void start_session(struct session *session)
{
    if (options.measurement == DOWN)
        session_say_flood(session, &way, true);
    else if (options.measurement == RATE)
        send_key(session);
    else if (options.measurement == UP)
        session_flush(session, &way);
}

/* Send what is due at the fixed rate, to one session after the other; when the next one is. */
static uint64_t send_due_keys(uint64_t since_ns, uint64_t now)
{
    for (;;) {
        uint64_t due = since_ns + (uint64_t)((double)keys_due * SECOND_NS / options.rate);
        if (due > now)
            return due;
        if (now - due > late_ns && phase == MEASURING)
            late_ns = now - due;
        send_key(&sessions[keys_due++ % options.sessions]);
    }
}

static void print_results(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double seconds = (double)(ended_ns - began_ns) / SECOND_NS;
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec - usage_before.ru_utime.tv_sec -
                          usage_before.ru_stime.tv_sec) +
                 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec - usage_before.ru_utime.tv_usec -
                                 usage_before.ru_stime.tv_usec);
    printf("{\"measurement\": \"%s\", \"sessions\": %u, \"seconds\": %.4f, \"count\": %llu, \"per_second\": %.1f, "
           "\"load_cpu\": %.3f",
           NAMES[options.measurement], options.sessions, seconds, (unsigned long long)counted,
           (double)counted / seconds, cpu / seconds);
    if (times.number > 0)
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f",
               1e-3 * (double)histogram_quantile(&times, 0.5), 1e-3 * (double)histogram_quantile(&times, 0.99),
               1e-3 * (double)histogram_quantile(&times, 0.999), 1e-3 * (double)times.longest);
    if (options.measurement == LATENCY)
        printf(", \"late_us\": %.1f", 1e-3 * (double)late_ns);
    printf("}\n");
    fflush(stdout);
}

/* The time of a phase is over. */
static void next_phase(void)
{
    switch (phase) {
    case OPENING: die("%u of %u sessions in %.0f s", established, options.sessions, options.patience);
    case WARMING_UP:
        enter(MEASURING, options.seconds);
        printf("{\"measuring\": %.3f}\n", options.seconds);
        fflush(stdout);
        getrusage(RUSAGE_SELF, &usage_before);
        began_ns = now_ns();
        break;
    case MEASURING:
        ended_ns = now_ns();
        print_results();
        if (options.measurement == CONNECT) {
            phase = OVER;
            break;
        }
        enter(ENDING, options.patience);
        for (unsigned i = 0; i < options.sessions; i++) {
            sessions[i].is_ending = true;
            if (options.measurement == DOWN)
                session_say_flood(&sessions[i], &way, false);
            session_say_key(&sessions[i], &way, LAST_KEY);
        }
        break;
    default: die("%u of %u sessions did not end in %.0f s", options.sessions - over, options.sessions, options.patience);
    }
}

static void open_more(void)
{
    if (options.measurement == CONNECT) {
        while (opened < options.in_flight)
            open_next(&sessions[opened]);
        if (phase == OPENING)
            enter(WARMING_UP, options.warm_up);
    } else if (phase == OPENING) {
        while (opened < options.sessions && opened - established < OPENING_AT_ONCE)
            open_next(&sessions[opened]);
        if (established < options.sessions)
            return;
        enter(WARMING_UP, options.warm_up);
        if (options.measurement == HOLD) {
            enter(WARMING_UP, 1e9);
            printf("{\"held\": %u}\n", established);
            fflush(stdout);
        }
        for (unsigned i = 0; i < options.sessions; i++)
            start_session(&sessions[i]);
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    uint64_t since_ns = 0;
    enter(OPENING, options.patience);
    while (phase != OVER) {
        open_more();
        uint64_t now = now_ns(), wake_ns = phase_ends_ns;
        if (options.measurement == LATENCY && (phase == WARMING_UP || phase == MEASURING)) {
            since_ns = since_ns == 0 ? now : since_ns;
            uint64_t due = send_due_keys(since_ns, now);
            wake_ns = due < wake_ns ? due : wake_ns;
        }
        uint64_t wait_ns = wake_ns > now ? wake_ns - now : 0;
        struct timespec timeout = {(time_t)(wait_ns / SECOND_NS), (long)(wait_ns % SECOND_NS)};
        int number = epoll_pwait2(way.epoll, events, EVENTS, &timeout, NULL);
        if (number < 0 && errno != EINTR)
            die_errno("epoll_pwait2");
        for (int i = 0; i < number; i++) {
            struct session *session = events[i].data.ptr;
            if (session == NULL)
                exit(0); /* of hold: standard input has ended */
            session_event(session, &way, events[i].events);
            if (options.measurement == CONNECT && session->is_over) {
                session_close(session, &way);
                open_next(session);
            }
        }
        if (phase == ENDING && over == options.sessions)
            phase = OVER;
        else if (now_ns() >= phase_ends_ns)
            next_phase();
    }
}

static bool option(const char *argument, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0 || argument[length] != '=')
        return false;
    *value = argument + length + 1;
    return true;
}

static void read_option(const char *argument)
{
    const char *value;
    if (option(argument, "sessions", &value))
        options.sessions = (unsigned)atoi(value);
    else if (option(argument, "seconds", &value))
        options.seconds = atof(value);
    else if (option(argument, "warm-up", &value))
        options.warm_up = atof(value);
    else if (option(argument, "rate", &value))
        options.rate = atof(value);
    else if (option(argument, "in-flight", &value))
        options.in_flight = (unsigned)atoi(value);
    else if (option(argument, "patience", &value))
        options.patience = atof(value);
    else if (option(argument, "transport", &value))
        way.websocket = strcmp(value, "tcp") != 0;
    else if (option(argument, "path", &value))
        options.path = value;
    else if (option(argument, "tls", &value))
        options.tls = strcmp(value, "yes") == 0;
    else if (option(argument, "ca", &value))
        options.ca = value;
    else if (!option(argument, "paths", &value))
        die("unknown option: %s", argument);
    else if ((options.paths = fopen(value, "r")) == NULL)
        die_errno(value);
}

int main(int count, char **arguments)
{
    if (count < 4)
        die("usage: load MEASUREMENT ADDRESS PORT [OPTION=VALUE ...]");
    while (options.measurement < MEASUREMENTS && strcmp(arguments[1], NAMES[options.measurement]) != 0)
        options.measurement++;
    if (options.measurement == MEASUREMENTS)
        die("unknown measurement: %s", arguments[1]);
    for (int i = 4; i < count; i++)
        read_option(arguments[i]);
    prepare_process();
    way.host = arguments[2];
    way.port = (unsigned)atoi(arguments[3]);
    way.to = address_of(way.host, way.port);
    way.tls = options.tls ? tls_context(options.ca) : NULL;
    way.epoll = epoll_create1(EPOLL_CLOEXEC);
    unsigned number = options.measurement == CONNECT ? options.in_flight : options.sessions;
    sessions = number > 0 ? calloc(number, sizeof *sessions) : NULL;
    if (sessions == NULL || options.seconds <= 0 || options.rate <= 0)
        die("numbers have to be above 0");
    make_block();
    if (options.measurement == HOLD) {
        struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
        if (epoll_ctl(way.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0)
            die_errno("standard input");
    }
    run();
    return 0;
}
