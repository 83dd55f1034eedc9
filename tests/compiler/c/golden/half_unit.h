/* A residual unit in half precision.

   Half precision: planes and weights are float16, and so is the arithmetic where the machine has it, else float32. */
#ifndef HALF_UNIT_H
#define HALF_UNIT_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 8 × 5 × 7 */
#define HALF_UNIT_INPUT_FLOATS 280
#define HALF_UNIT_INPUT_CHANNELS 8
#define HALF_UNIT_INPUT_HEIGHT 5
#define HALF_UNIT_INPUT_WIDTH 7
/* relu8: 1 × 8 × 5 × 7 */
#define HALF_UNIT_OUTPUT_FLOATS 280
#define HALF_UNIT_OUTPUT_CHANNELS 8
#define HALF_UNIT_OUTPUT_HEIGHT 5
#define HALF_UNIT_OUTPUT_WIDTH 7
#define HALF_UNIT_ARENA_BYTES 2368
#define HALF_UNIT_WEIGHTS_BYTES 704

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: HALF_UNIT_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void half_unit_run(const float *input, float *output, void *arena);

/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: HALF_UNIT_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void half_unit_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define HALF_UNIT_ARENA_BYTES_FOR(workers) (HALF_UNIT_ARENA_BYTES + ((size_t)(workers) - 1) * 0)
void half_unit_run_on(const float *input, float *output, void *arena, half_unit_parallel_for *parallel_for, void *context);

#ifdef __cplusplus
}
#endif
#endif
