/* The unit that halves a map: average pool beside the branch, concatenated. */
#ifndef STRIDE_2_UNIT_H
#define STRIDE_2_UNIT_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 8 × 6 × 9 */
#define STRIDE_2_UNIT_INPUT_FLOATS 432
#define STRIDE_2_UNIT_INPUT_CHANNELS 8
#define STRIDE_2_UNIT_INPUT_HEIGHT 6
#define STRIDE_2_UNIT_INPUT_WIDTH 9
/* relu9: 1 × 16 × 3 × 5 */
#define STRIDE_2_UNIT_OUTPUT_FLOATS 240
#define STRIDE_2_UNIT_OUTPUT_CHANNELS 16
#define STRIDE_2_UNIT_OUTPUT_HEIGHT 3
#define STRIDE_2_UNIT_OUTPUT_WIDTH 5
#define STRIDE_2_UNIT_ARENA_BYTES 3648
#define STRIDE_2_UNIT_WEIGHTS_BYTES 1152

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: STRIDE_2_UNIT_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void stride_2_unit_run(const float *input, float *output, void *arena);

/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: STRIDE_2_UNIT_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void stride_2_unit_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define STRIDE_2_UNIT_ARENA_BYTES_FOR(workers) (STRIDE_2_UNIT_ARENA_BYTES + ((size_t)(workers) - 1) * 0)
void stride_2_unit_run_on(const float *input, float *output, void *arena, stride_2_unit_parallel_for *parallel_for, void *context);

#ifdef __cplusplus
}
#endif
#endif
