/* The unit that halves a map: average pool beside the branch, concatenated.

   Written by shufflenet 0; do not edit.
   Multiply-adds: 1,644. Arena: 3,648 bytes.
   Weights: 1,152 bytes, in this file; SHA-256 55e12a025b49e4c8feb273d3c0732a9da0364302c063ed72fc860bf25eefc68a.

   Guarantees: no allocation, no global that is written, no library but memcpy and memset; calls with different arenas may
   run at the same time. NaN and infinity go through as IEEE 754 says. One source for every machine: vectors of LANES
   floats are written with gcc's and clang's vector extensions. C11. Little-endian. Build it with -O3, the machine's
   instruction set (for instance -march=native) and -ffp-contract=fast; never with -ffast-math. */
#include "stride_2_unit.h"

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
  0, 54, 108, 162, 216, 270, 324, 378};

static const int32_t table_1[8] = {
  0, 64, 128, 192, 256, 320, 384, 448};

static const int32_t table_2[4] = {
  0, 128, 64, 192};

static const int32_t table_3[4] = {
  0, 64, 128, 192};

static const int32_t table_4[4] = {
  0, 16, 32, 48};

static const int32_t table_5[8] = {
  0, 16, 32, 48, 64, 80, 96, 112};

static const int32_t table_6[8] = {
  128, 144, 160, 176, 192, 208, 224, 240};

static const int32_t table_7[16] = {
  0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180, 195, 210, 225};

static const int32_t table_8[16] = {
  0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240};

#if LANES == 16
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_4x1_relu, 4, 1, 0, RELU)
#elif LANES == 8
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_2x3_relu, 2, 3, 0, RELU)
PRODUCT_TILE(product_4x2_relu, 4, 2, 0, RELU)
#elif LANES == 4 && REGISTERS == 32
PRODUCT_TILE(product_2x7_relu, 2, 7, 0, RELU)
PRODUCT_TILE(product_4x4_relu, 4, 4, 0, RELU)
#elif defined __wasm_simd128__ && LANES == 4
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_2x3_relu, 2, 3, 0, RELU)
#elif LANES == 4
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_2x2_relu, 2, 2, 0, RELU)
PRODUCT_TILE(product_4x2_relu, 4, 2, 0, RELU)
#elif LANES == 1
PRODUCT_TILE(product_2x4_relu, 2, 4, 0, RELU)
PRODUCT_TILE(product_2x2_relu, 2, 2, 0, RELU)
PRODUCT_TILE(product_2x3_relu, 2, 3, 0, RELU)
#endif

/* 2 rows × 54 pixels. */
ROUTINE void multiply_2x54_by_2_relu(struct product p) {
  p.rows = 2;
#if LANES == 16
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 4);
#elif LANES == 8
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 4);
    TILES(product_2x3_relu, 2, 3, 0, 2, 4, 7);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_2x7_relu, 2, 7, 0, 2, 0, 14);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 8);
    TILES(product_2x3_relu, 2, 3, 0, 2, 8, 14);
#elif LANES == 4
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 12);
    TILES(product_2x2_relu, 2, 2, 0, 2, 12, 14);
#elif LANES == 1
    TILES(product_2x4_relu, 2, 4, 0, 2, 0, 52);
    TILES(product_2x2_relu, 2, 2, 0, 2, 52, 54);
#endif
    next_rows(&p, 2);
}

/* 4 rows × 15 pixels. */
ROUTINE void multiply_4x15_by_4_relu(struct product p) {
  p.rows = 4;
#if LANES == 16
    TILES(product_4x1_relu, 4, 1, 0, 4, 0, 1);
#elif LANES == 8
    TILES(product_4x2_relu, 4, 2, 0, 4, 0, 2);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_4x4_relu, 4, 4, 0, 4, 0, 4);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4_relu, 2, 4, 0, 4, 0, 4);
#elif LANES == 4
    TILES(product_4x2_relu, 4, 2, 0, 4, 0, 4);
#elif LANES == 1
    TILES(product_2x4_relu, 2, 4, 0, 4, 0, 12);
    TILES(product_2x3_relu, 2, 3, 0, 4, 12, 15);
#endif
    next_rows(&p, 4);
}

/* copy x: copy of 8 planes */
static void step_0(float *a, const float *input) {
  copy_planes(54, 8, input, table_0, a + 32, table_1);
}

/* relu1: 1×1 convolution, 8 → 4 channels, 6×9, 2 groups, relu */
static void step_1(const float *w, float *a) {
  struct product p = {.weights = w + 0, .bias = w + 16, .input = a + 32, .output = a + 544, .to = table_2, .from = table_2, .input_stride = 64, .inner = 4};
  for (int group = 0; group < 2; group++) {
    for (int first = 0; first < 54; first += 54) {
      struct product q = p;
      q.input += first, q.output += first;
      multiply_2x54_by_2_relu(q);
      q.weights += 8, q.input += 256;
    }
    p.weights += 8, p.input += 256;
    p.bias += 2, p.to += 2, p.from += 2;
  }
}

/* conv5: depthwise 3×3 convolution, 4 → 4 channels, 3×5, 4 groups */
static void step_2(const float *w, float *a) {
  depthwise_planes(2, 6, 9, NONE, 4, 3, 0,
                   w + 32, w + 80, a + 544, table_3, a + 800, table_4, 0.0f, 0.0f);
}

/* relu9.0: average pool 3×3, 8 channels, 3×5 */
static void step_3(const float *w, float *a) {
  depthwise_planes(2, 6, 9, RELU, 8, 3, 0,
                   w + 96, w + 176, a + 32, table_1, a + 544, table_5, 0.0f, 0.0f);
}

/* relu9.1: 1×1 convolution, 4 → 8 channels, 3×5, 2 groups, relu */
static void step_4(const float *w, float *a) {
  struct product p = {.weights = w + 192, .bias = w + 208, .input = a + 800, .output = a + 544, .to = table_6, .from = table_6, .input_stride = 16, .inner = 2};
  for (int group = 0; group < 2; group++) {
    for (int first = 0; first < 15; first += 15) {
      struct product q = p;
      q.input += first, q.output += first;
      multiply_4x15_by_4_relu(q);
      q.weights += 8, q.input += 32;
    }
    p.weights += 8, p.input += 32;
    p.bias += 4, p.to += 4, p.from += 4;
  }
}

/* Float32 numbers, as the bytes of a string: compilers read that in a fraction of the time of a list of numbers. */
static const union {
  _Alignas(64) char bytes[1153];
  float numbers[288];
} embedded = {
"\000\000\300\276\000\000\000>\000\000\200\276\000\000\200>\000\000\000\276\000\000\300>\000\000\000\000\000\000\300\276\000\000\200\276\000\000\200>\000\000\000\276\000\000\300>\000\000\000\000\000\000\300\276\000\000\000>\000\000\200\276"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276"
"\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000"
"\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343="
"9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343="
"9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343="
"9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343="
"9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=9\216\343=\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\300\276\000\000\000\276\000\000\000>\000\000\300>\000\000\200\276\000\000\000\000\000\000\200>\000\000\300\276\000\000\200\276\000\000\000\000\000\000\200>\000\000\300\276\000\000\000\276\000\000\000>\000\000\300>\000\000\200\276"
"\000\000\300\276\000\000\200\276\000\000\000\276\000\000\000\000\000\000\000>\000\000\200>\000\000\300>\000\000\300\276\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
"\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"};

void stride_2_unit_run(const float *input, float *output, void *arena) {
  float *const a = aligned(arena);
  step_0(a, input);
  step_1(embedded.numbers, a);
  step_2(embedded.numbers, a);
  step_3(embedded.numbers, a);
  step_4(embedded.numbers, a);
  copy_planes(15, 16, a + 544, table_8, output, table_7);
}

void stride_2_unit_run_on(const float *input, float *output, void *arena, stride_2_unit_parallel_for *parallel_for, void *context) {
  float *const a = aligned(arena);
  (void)parallel_for;
  (void)context;
  step_0(a, input);
  step_1(embedded.numbers, a);
  step_2(embedded.numbers, a);
  step_3(embedded.numbers, a);
  step_4(embedded.numbers, a);
  copy_planes(15, 16, a + 544, table_8, output, table_7);
}
