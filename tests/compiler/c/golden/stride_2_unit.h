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

#ifdef __cplusplus
}
#endif
#endif
