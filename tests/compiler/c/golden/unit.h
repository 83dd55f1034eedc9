/* A residual unit: grouped product, shuffle, depthwise, grouped product, addition. */
#ifndef UNIT_H
#define UNIT_H

#include <stddef.h>
#include <stdint.h>

/* x: 1 × 8 × 5 × 7 */
#define UNIT_INPUT_FLOATS 280
#define UNIT_INPUT_CHANNELS 8
#define UNIT_INPUT_HEIGHT 5
#define UNIT_INPUT_WIDTH 7
/* relu8: 1 × 8 × 5 × 7 */
#define UNIT_OUTPUT_FLOATS 280
#define UNIT_OUTPUT_CHANNELS 8
#define UNIT_OUTPUT_HEIGHT 5
#define UNIT_OUTPUT_WIDTH 7
#define UNIT_ARENA_BYTES 3392
#define UNIT_WEIGHTS_BYTES 768

#ifdef __cplusplus
extern "C" {
#endif

/* `arena`: UNIT_ARENA_BYTES bytes of the caller's, anywhere; they need not be cleared. */
void unit_run(const float *input, float *output, void *arena);

#ifdef __cplusplus
}
#endif
#endif
