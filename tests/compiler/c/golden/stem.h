/* A network's two ends: stem with its pool, from floats or 8-bit pixels, mean and classifier. */
#ifndef STEM_H
#define STEM_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 3 × 17 × 22 */
#define STEM_INPUT_FLOATS 1122
#define STEM_INPUT_CHANNELS 3
#define STEM_INPUT_HEIGHT 17
#define STEM_INPUT_WIDTH 22
/* gemm5: 1 × 6 */
#define STEM_OUTPUT_FLOATS 6
#define STEM_ARENA_BYTES 8320
#define STEM_WEIGHTS_BYTES 1408

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: STEM_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void stem_run(const float *input, float *output, void *arena);
/* 8-bit RGB pixels, rows `row_stride` bytes apart, normalised as the network was trained. */
void stem_run_rgb8(const uint8_t *pixels, ptrdiff_t row_stride, float *output, void *arena);

/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: STEM_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void stem_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define STEM_ARENA_BYTES_FOR(workers) (STEM_ARENA_BYTES + ((size_t)(workers) - 1) * 0)
void stem_run_on(const float *input, float *output, void *arena, stem_parallel_for *parallel_for, void *context);
void stem_run_rgb8_on(const uint8_t *pixels, ptrdiff_t row_stride, float *output, void *arena, stem_parallel_for *parallel_for, void *context);

#ifdef __cplusplus
}
#endif
#endif
