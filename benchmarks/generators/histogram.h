/* Times in buckets that are at most 1.6 % wide. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = 48 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t number, longest;
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The time below which so large a part (0 to 1) of all lies, in nanoseconds; 0 where there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double part);

#endif
