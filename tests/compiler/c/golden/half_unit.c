/* A residual unit in half precision.

   Written by shufflenet 0; do not edit.
   Multiply-adds: 2,380. Arena: 2,368 bytes.
   Weights: 704 bytes, in this file; SHA-256 b7b6315e54ed69548ebace498d4973fb4a1b1eb90692432b4ec6f95f6243bb58.
   Half precision: planes and weights are float16, and so is the arithmetic where the machine has it, else float32.

   Guarantees: no allocation, no global that is written, no library but memcpy and memset; calls with different arenas may
   run at the same time. NaN and infinity go through as IEEE 754 says. One source for every machine: vectors of LANES
   floats are written with gcc's and clang's vector extensions. C11. Little-endian. Build it with -O3, the machine's
   instruction set (for instance -march=native) and -ffp-contract=fast; never with -ffast-math. */
#include "half_unit.h"

#include <string.h>

/* kernels/half_arithmetic.c */

/* kernels/vectors.c */

/* kernels/halves.c */

/* kernels/activation.c */

/* kernels/product.c */

/* kernels/panels.c */

/* kernels/depthwise.c */

/* kernels/depthwise_any.c */

enum { PIXEL_BYTES = 3 };

/* kernels/pixels.c */

/* kernels/planes.c */

static const int32_t table_0[8] = {
  0, 35, 70, 105, 140, 175, 210, 245};

static const int32_t table_1[8] = {
  0, 64, 128, 192, 256, 320, 384, 448};

static const int32_t table_2[4] = {
  0, 128, 64, 192};

static const int32_t table_3[4] = {
  0, 64, 128, 192};

#if LANES == 32
PRODUCT_TILE(product_2x2_relu, 2, 2, 0, RELU)
PRODUCT_TILE(product_4x2_add_relu, 4, 2, ADD, RELU)
#elif LANES == 8 && defined HALF_ARITHMETIC
PRODUCT_TILE(product_2x5_relu, 2, 5, 0, RELU)
PRODUCT_TILE(product_4x5_add_relu, 4, 5, ADD, RELU)
#elif LANES == 16
PRODUCT_TILE(product_2x3_relu, 2, 3, 0, RELU)
PRODUCT_TILE(product_4x3_add_relu, 4, 3, ADD, RELU)
#elif LANES == 8
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_PIXELS(product_pixels_3x1_relu, 3, 1, 2, 0, RELU)
PRODUCT_TILE(product_4x2_add_relu, 4, 2, ADD, RELU)
PRODUCT_PIXELS(product_pixels_3x1_add_relu, 3, 1, 2, ADD, RELU)
#elif LANES == 4 && REGISTERS == 32
PRODUCT_TILE(product_2x5_relu, 2, 5, 0, RELU)
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_4x5_add_relu, 4, 5, ADD, RELU)
PRODUCT_TILE(product_4x4_add_relu, 4, 4, ADD, RELU)
#elif defined __wasm_simd128__ && LANES == 4
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_PIXELS(product_pixels_3x1_relu, 3, 1, 2, 0, RELU)
PRODUCT_TILE(product_2x4_add_relu, 2, 4, ADD, RELU)
PRODUCT_PIXELS(product_pixels_3x1_add_relu, 3, 1, 2, ADD, RELU)
#elif LANES == 4
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_PIXELS(product_pixels_3x1_relu, 3, 1, 2, 0, RELU)
PRODUCT_TILE(product_4x2_add_relu, 4, 2, ADD, RELU)
PRODUCT_PIXELS(product_pixels_3x1_add_relu, 3, 1, 2, ADD, RELU)
#elif LANES == 1
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_2x3_relu, 2, 3, 0, RELU)
PRODUCT_TILE(product_2x4_add_relu, 2, 4, ADD, RELU)
PRODUCT_TILE(product_2x3_add_relu, 2, 3, ADD, RELU)
#endif

/* 2 rows × 35 pixels. */
ROUTINE void multiply_2x35_by_2_relu(struct product p) {
  scalar room[256 + LANES];
  p.rows = 2;
  p.factors = factors_of(p.weights, p.inner * 2, room);
#if LANES == 32
    TILES(product_2x2_relu, 2, 2, 0, 2, 0, 2);
#elif LANES == 8 && defined HALF_ARITHMETIC
    TILES(product_2x5_relu, 2, 5, 0, 2, 0, 5);
#elif LANES == 16
    TILES(product_2x3_relu, 2, 3, 0, 2, 0, 3);
#elif LANES == 8
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 4);
    PIXELS(product_pixels_3x1_relu, 3, 32, 35);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_2x5_relu, 2, 5, 0, 2, 0, 5);
    TILES(product_2x4_relu, 2, 4, 0, 2, 5, 9);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 8);
    PIXELS(product_pixels_3x1_relu, 3, 32, 35);
#elif LANES == 4
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 8);
    PIXELS(product_pixels_3x1_relu, 3, 32, 35);
#elif LANES == 1
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 32);
    TILES(product_2x3_relu, 2, 3, 0, 2, 32, 35);
#endif
    next_rows(&p, 2);
}

/* 4 rows × 35 pixels. */
ROUTINE void multiply_4x35_by_4_add_relu(struct product p) {
  scalar room[512 + LANES];
  p.rows = 4;
  p.factors = factors_of(p.weights, p.inner * 4, room);
#if LANES == 32
    TILES(product_4x2_add_relu, 4, 2, 0, 4, 0, 2);
#elif LANES == 8 && defined HALF_ARITHMETIC
    TILES(product_4x5_add_relu, 4, 5, 0, 4, 0, 5);
#elif LANES == 16
    TILES(product_4x3_add_relu, 4, 3, 0, 4, 0, 3);
#elif LANES == 8
    TILES(product_4x2_add_relu, 4, 2, 0, 4, 0, 4);
    PIXELS(product_pixels_3x1_add_relu, 3, 32, 35);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_4x5_add_relu, 4, 5, 0, 4, 0, 5);
    TILES(product_4x4_add_relu, 4, 4, 0, 4, 5, 9);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4_add_relu, 2, 4, 0, 4, 0, 8);
    PIXELS(product_pixels_3x1_add_relu, 3, 32, 35);
#elif LANES == 4
    TILES(product_4x2_add_relu, 4, 2, 0, 4, 0, 8);
    PIXELS(product_pixels_3x1_add_relu, 3, 32, 35);
#elif LANES == 1
    TILES(product_2x4_add_relu, 2, 4, 0, 4, 0, 32);
    TILES(product_2x3_add_relu, 2, 3, 0, 4, 32, 35);
#endif
    next_rows(&p, 4);
}

/* copy x: copy of 8 planes */
static void step_0(float *a, const float *input) {
  narrow_planes(35, 8, input, table_0, (half *)a + 64, table_1);
}

/* relu1: 1×1 convolution, 8 → 4 channels, 5×7, 2 groups, relu */
static void step_1(const float *w, float *a) {
  struct product p = {.weights = (const half *)w + 0, .bias = (const half *)w + 32, .input = (half *)a + 64, .output = (half *)a + 576, .to = table_2, .from = table_2, .input_stride = 64, .inner = 4};
  for (int group = 0; group < 2; group++) {
    for (int first = 0; first < 35; first += 35) {
      struct product q = p;
      q.input += first, q.output += first;
      multiply_2x35_by_2_relu(q);
      q.weights += 8, q.input += 256;
    }
    p.weights += 8, p.input += 256;
    p.bias += 2, p.to += 2, p.from += 2;
  }
}

/* conv5: depthwise 3×3 convolution, 4 → 4 channels, 5×7, 4 groups */
static void step_2(const float *w, float *a) {
  depthwise_planes(1, 5, 7, NONE, 4, 5, 0,
                   (const half *)w + 64, (const half *)w + 128, (half *)a + 576, table_3, (half *)a + 832, table_3, 0.0f, 0.0f);
}

/* relu8: 1×1 convolution, 4 → 8 channels, 5×7, 2 groups, relu */
static void step_3(const float *w, float *a) {
  struct product p = {.weights = (const half *)w + 160, .bias = (const half *)w + 192, .input = (half *)a + 832, .output = (half *)a + 64, .to = table_1, .addend = (half *)a + 64, .from = table_1, .input_stride = 64, .inner = 2};
  for (int group = 0; group < 2; group++) {
    for (int first = 0; first < 35; first += 35) {
      struct product q = p;
      q.input += first, q.output += first, q.addend += first;
      multiply_4x35_by_4_add_relu(q);
      q.weights += 8, q.input += 128;
    }
    p.weights += 8, p.input += 128;
    p.bias += 4, p.to += 4, p.from += 4;
  }
}

/* Float16 numbers, as the bytes of a string: compilers read that in a fraction of the time of a list of numbers. */
static const union {
  _Alignas(64) char bytes[705];
  float numbers[176];
} embedded = {
"\000\266\0000\000\264\0004\000\260\0006\000\000\000\266\000\264\0004\000\260\0006\000\000\000\266\0000\000\264\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\266\000\264\000\260\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\266\000\264\000\260\000\000\0000\0004\0006\000\266\000\264\000\260\000\000\0000\0004\0006\000\266\000\264\000\260\000\000\0000\0004\0006\000\266\000\264\000\260\000\000\0000\0004\0006\000\266\000\264\000\260\000\000"
"\0000\0004\0006\000\266\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\266\000\264\000\260\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\266\000\260\0000\0006\000\264\000\000\0004\000\266\000\264\000\000\0004\000\266\000\260\0000\0006\000\264\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\266\000\264\000\260\000\000\0000\0004\0006\000\266\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"};

void half_unit_run(const float *input, float *output, void *arena) {
  float *const a = aligned(arena);
  step_0(a, input);
  step_1(embedded.numbers, a);
  step_2(embedded.numbers, a);
  step_3(embedded.numbers, a);
  widen_planes(35, 8, (half *)a + 64, table_1, output, table_0);
}

void half_unit_run_on(const float *input, float *output, void *arena, half_unit_parallel_for *parallel_for, void *context) {
  float *const a = aligned(arena);
  (void)parallel_for;
  (void)context;
  step_0(a, input);
  step_1(embedded.numbers, a);
  step_2(embedded.numbers, a);
  step_3(embedded.numbers, a);
  widen_planes(35, 8, (half *)a + 64, table_1, output, table_0);
}
