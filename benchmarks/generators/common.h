/* What both generators need: the clock, the end with a message, big-endian numbers, addresses, and what the two say
 * to each other over RFB (RFC 6143). */
#ifndef COMMON_H
#define COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The screen as a large update shows it, and as a typed character does; in pixels of 4 bytes, encoding Raw. */
enum { LARGE_SIDE = 256, SMALL_SIDE = 8, PIXEL_BYTES = 4 };
/* FramebufferUpdate with one rectangle: 7.6.1, its header up to the pixels. */
enum { UPDATE_HEAD_BYTES = 16 };
/* The first pixels of a small update: which key it answers (4 bytes), and how many bytes had come until then (8). */
enum { REPORT_BYTES = 12 };
enum { LARGE_BYTES = UPDATE_HEAD_BYTES + LARGE_SIDE * LARGE_SIDE * PIXEL_BYTES };
enum { SMALL_BYTES = UPDATE_HEAD_BYTES + SMALL_SIDE * SMALL_SIDE * PIXEL_BYTES };

/* Client messages, 7.5. */
enum { SET_PIXEL_FORMAT = 0, SET_ENCODINGS = 2, UPDATE_REQUEST = 3, KEY_EVENT = 4, POINTER_EVENT = 5, CUT_TEXT = 6 };
enum { UPDATE_REQUEST_BYTES = 10, KEY_EVENT_BYTES = 8, CUT_TEXT_HEAD_BYTES = 8 };

#define RFB_VERSION "RFB 003.008\n"
enum { VERSION_BYTES = 12, SERVER_INIT_BYTES = 24, CHALLENGE_BYTES = 16 };
enum { SECURITY_NONE = 1, SECURITY_VNC = 2 };

/* Nanoseconds of the monotonic clock. */
uint64_t now_ns(void);

/* Say on standard error what is wrong, and end with 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Likewise, with errno's text. */
_Noreturn void die_errno(const char *what);

void put16(uint8_t *at, uint16_t value);
void put32(uint8_t *at, uint32_t value);
void put64(uint8_t *at, uint64_t value);
uint16_t get16(const uint8_t *at);
uint32_t get32(const uint8_t *at);
uint64_t get64(const uint8_t *at);

/* The head of an update that shows one square of so many pixels, encoding Raw. */
void put_update_head(uint8_t *at, unsigned side);

/* An IPv4 address and a port; dies if it is none. */
struct sockaddr_in address_of(const char *host, unsigned port);

/* As many descriptors as the system allows, the end of the process with its parent's, and wake-ups in time. */
void prepare_process(void);

#endif
