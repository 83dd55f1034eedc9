/* A residual unit: grouped product, shuffle, depthwise, grouped product, addition.

   Written by shufflenet 0; do not edit.
   Multiply-adds: 2,380. Arena: 3,392 bytes.
   Weights: 768 bytes, in this file; SHA-256 32c9a82b36be71fc057a84c5d1c1241c11d28a7a1ff6c8ba54e47c20217f3adf.

   Guarantees: no allocation, no global that is written, no library but memcpy and memset; calls with different arenas may
   run at the same time. NaN and infinity go through as IEEE 754 says. One source for every machine: vectors of LANES
   floats are written with gcc's and clang's vector extensions. C11. Little-endian. Build it with -O3, the machine's
   instruction set (for instance -march=native) and -ffp-contract=fast; never with -ffast-math. */
#include "unit.h"

#include <string.h>

/* kernels/vectors.c */

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
  0, 48, 96, 144, 192, 240, 288, 336};

static const int32_t table_2[4] = {
  0, 96, 48, 144};

static const int32_t table_3[4] = {
  0, 48, 96, 144};

#if LANES == 16
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
  p.rows = 2;
#if LANES == 16
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
  p.rows = 4;
#if LANES == 16
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
  copy_planes(35, 8, input, table_0, a + 32, table_1);
}

/* relu1: 1×1 convolution, 8 → 4 channels, 5×7, 2 groups, relu */
static void step_1(const float *w, float *a) {
  struct product p = {.weights = w + 0, .bias = w + 16, .input = a + 32, .output = a + 416, .to = table_2, .from = table_2, .input_stride = 48, .inner = 4};
  for (int group = 0; group < 2; group++) {
    for (int first = 0; first < 35; first += 35) {
      struct product q = p;
      q.input += first, q.output += first;
      multiply_2x35_by_2_relu(q);
      q.weights += 8, q.input += 192;
    }
    p.weights += 8, p.input += 192;
    p.bias += 2, p.to += 2, p.from += 2;
  }
}

/* conv5: depthwise 3×3 convolution, 4 → 4 channels, 5×7, 4 groups */
static void step_2(const float *w, float *a) {
  depthwise_planes(1, 5, 7, NONE, 4, 5, 0,
                   w + 32, w + 80, a + 416, table_3, a + 608, table_3, 0.0f, 0.0f);
}

/* relu8: 1×1 convolution, 4 → 8 channels, 5×7, 2 groups, relu */
static void step_3(const float *w, float *a) {
  struct product p = {.weights = w + 96, .bias = w + 112, .input = a + 608, .output = a + 32, .to = table_1, .addend = a + 32, .from = table_1, .input_stride = 48, .inner = 2};
  for (int group = 0; group < 2; group++) {
    for (int first = 0; first < 35; first += 35) {
      struct product q = p;
      q.input += first, q.output += first, q.addend += first;
      multiply_4x35_by_4_add_relu(q);
      q.weights += 8, q.input += 96;
    }
    p.weights += 8, p.input += 96;
    p.bias += 4, p.to += 4, p.from += 4;
  }
}

/* Float32 numbers, as the bytes of a string: compilers read that in a fraction of the time of a list of numbers. */
static const union {
  _Alignas(64) char bytes[769];
  float numbers[192];
} embedded = {
"\000\000\300\276\000\000\000>\000\000\200\276\000\000\200>\000\000\000\276\000\000\300>\000\000\000\000\000\000\300\276\000\000\200\276\000\000\200>\000\000\000\276\000\000\300>\000\000\000\000\000\000\300\276\000\000\000>\000\000\200\276"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276"
"\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000"
"\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\300\276\000\000\000\276\000\000\000>\000\000\300>\000\000\200\276\000\000\000\000\000\000\200>\000\000\300\276\000\000\200\276\000\000\000\000\000\000\200>\000\000\300\276\000\000\000\276\000\000\000>\000\000\300>\000\000\200\276"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"};

void unit_run(const float *input, float *output, void *arena) {
  float *const a = aligned(arena);
  step_0(a, input);
  step_1(embedded.numbers, a);
  step_2(embedded.numbers, a);
  step_3(embedded.numbers, a);
  copy_planes(35, 8, a + 32, table_1, output, table_0);
}

void unit_run_on(const float *input, float *output, void *arena, unit_parallel_for *parallel_for, void *context) {
  float *const a = aligned(arena);
  (void)parallel_for;
  (void)context;
  step_0(a, input);
  step_1(embedded.numbers, a);
  step_2(embedded.numbers, a);
  step_3(embedded.numbers, a);
  copy_planes(35, 8, a + 32, table_1, output, table_0);
}
