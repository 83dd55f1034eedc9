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

#ifdef __cplusplus
}
#endif
#endif
