/* Squeeze and excitation: a mean, two products with a vector, and a factor a plane. */
#ifndef EXCITATION_H
#define EXCITATION_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 8 × 3 × 5 */
#define EXCITATION_INPUT_FLOATS 120
#define EXCITATION_INPUT_CHANNELS 8
#define EXCITATION_INPUT_HEIGHT 3
#define EXCITATION_INPUT_WIDTH 5
/* mul5: 1 × 8 × 3 × 5 */
#define EXCITATION_OUTPUT_FLOATS 120
#define EXCITATION_OUTPUT_CHANNELS 8
#define EXCITATION_OUTPUT_HEIGHT 3
#define EXCITATION_OUTPUT_WIDTH 5
#define EXCITATION_ARENA_BYTES 1408
#define EXCITATION_WEIGHTS_BYTES 1792

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: EXCITATION_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void excitation_run(const float *input, float *output, void *arena);

/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: EXCITATION_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void excitation_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define EXCITATION_ARENA_BYTES_FOR(workers) (EXCITATION_ARENA_BYTES + ((size_t)(workers) - 1) * 0)
void excitation_run_on(const float *input, float *output, void *arena, excitation_parallel_for *parallel_for, void *context);

#ifdef __cplusplus
}
#endif
#endif
