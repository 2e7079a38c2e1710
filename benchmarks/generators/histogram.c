/* See histogram.h: each power of two is cut into 64 steps. */
#include "histogram.h"

static unsigned bucket_of(uint64_t ns)
{
    if (ns < HISTOGRAM_STEPS)
        return (unsigned)ns;
    unsigned power = 63u - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (power - 5) * HISTOGRAM_STEPS + (unsigned)(ns >> (power - 6)) % HISTOGRAM_STEPS;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket. */
static uint64_t time_of(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned power = bucket / HISTOGRAM_STEPS + 5;
    uint64_t step = (uint64_t)1 << (power - 6);
    return ((uint64_t)HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) * step + step / 2;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->counts[bucket_of(ns)]++;
    histogram->number++;
    if (ns > histogram->longest)
        histogram->longest = ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)histogram->number), seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen > wanted)
            return time_of(bucket);
    }
    return histogram->longest;
}
