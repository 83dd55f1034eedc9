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

#ifdef __cplusplus
}
#endif
#endif
