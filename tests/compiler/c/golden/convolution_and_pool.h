/* A convolution through panels and a max-pool. */
#ifndef CONVOLUTION_AND_POOL_H
#define CONVOLUTION_AND_POOL_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 8 × 9 × 11 */
#define CONVOLUTION_AND_POOL_INPUT_FLOATS 792
#define CONVOLUTION_AND_POOL_INPUT_CHANNELS 8
#define CONVOLUTION_AND_POOL_INPUT_HEIGHT 9
#define CONVOLUTION_AND_POOL_INPUT_WIDTH 11
/* maxpool2: 1 × 5 × 2 × 3 */
#define CONVOLUTION_AND_POOL_OUTPUT_FLOATS 30
#define CONVOLUTION_AND_POOL_OUTPUT_CHANNELS 5
#define CONVOLUTION_AND_POOL_OUTPUT_HEIGHT 2
#define CONVOLUTION_AND_POOL_OUTPUT_WIDTH 3
#define CONVOLUTION_AND_POOL_ARENA_BYTES 13760
#define CONVOLUTION_AND_POOL_WEIGHTS_BYTES 1792

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: CONVOLUTION_AND_POOL_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void convolution_and_pool_run(const float *input, float *output, void *arena);

/* The same on threads of the caller's, with the same bits for any number of them. parallel_for(context, count, task, data) calls
   task(data, worker, first, end) for ranges [first, end) that together are [0, count), and returns when all are done. `worker` counts
   from 0; no two calls at the same time have the same. `arena`: CONVOLUTION_AND_POOL_ARENA_BYTES_FOR(n) bytes for n workers. */
typedef void convolution_and_pool_parallel_for(void *context, int count, void (*task)(void *data, int worker, int first, int end), void *data);
#define CONVOLUTION_AND_POOL_ARENA_BYTES_FOR(workers) (CONVOLUTION_AND_POOL_ARENA_BYTES + ((size_t)(workers) - 1) * 0)
void convolution_and_pool_run_on(const float *input, float *output, void *arena, convolution_and_pool_parallel_for *parallel_for, void *context);

#ifdef __cplusplus
}
#endif
#endif
