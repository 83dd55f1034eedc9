/* A convolution by Winograd's algorithm, added to what it read. */
#ifndef DENSE_H
#define DENSE_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 32 × 14 × 14 */
#define DENSE_INPUT_FLOATS 6272
#define DENSE_INPUT_CHANNELS 32
#define DENSE_INPUT_HEIGHT 14
#define DENSE_INPUT_WIDTH 14
/* relu2: 1 × 32 × 14 × 14 */
#define DENSE_OUTPUT_FLOATS 6272
#define DENSE_OUTPUT_CHANNELS 32
#define DENSE_OUTPUT_HEIGHT 14
#define DENSE_OUTPUT_WIDTH 14
#define DENSE_ARENA_BYTES 211776
#define DENSE_WEIGHTS_BYTES 184704
/* What `weights` points to: this file's contents, aligned to 64 bytes. */
#define DENSE_WEIGHTS_FILE "dense.bin"

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: DENSE_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void dense_run(const float *weights, const float *input, float *output, void *arena);

/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: DENSE_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void dense_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define DENSE_ARENA_BYTES_FOR(workers) (DENSE_ARENA_BYTES + ((size_t)(workers) - 1) * 0)
void dense_run_on(const float *weights, const float *input, float *output, void *arena, dense_parallel_for *parallel_for, void *context);

#ifdef __cplusplus
}
#endif
#endif
