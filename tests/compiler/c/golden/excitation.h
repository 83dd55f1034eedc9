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

#ifdef __cplusplus
}
#endif
#endif
