/* A convolution by Winograd's algorithm, added to what it read.

   Written by shufflenet 0; do not edit.
   Multiply-adds: 1,806,336. Arena: 211,776 bytes.
   Weights: 184,704 bytes, dense.bin, which the caller loads or maps, aligned to 64 bytes; SHA-256 1185010d665bea8a1e0adfd6321dff0e79d006768157474055b0a5bf198ee25f.

   Guarantees: no allocation, no global that is written, no library but memcpy and memset; calls with different arenas may
   run at the same time. NaN and infinity go through as IEEE 754 says. One source for every machine: vectors of LANES
   floats are written with gcc's and clang's vector extensions. C11. Little-endian. Build it with -O3, the machine's
   instruction set (for instance -march=native) and -ffp-contract=fast; never with -ffast-math. */
#include "dense.h"

#include <string.h>

/* kernels/vectors.c */

/* kernels/activation.c */

/* kernels/product.c */

/* kernels/panels.c */

/* kernels/winograd.c */

enum { PIXEL_BYTES = 3 };

/* kernels/pixels.c */

/* kernels/planes.c */

static const int32_t table_0[32] = {
  0, 196, 392, 588, 784, 980, 1176, 1372, 1568, 1764, 1960, 2156, 2352, 2548, 2744, 2940,
  3136, 3332, 3528, 3724, 3920, 4116, 4312, 4508, 4704, 4900, 5096, 5292, 5488, 5684, 5880, 6076};

static const int32_t table_1[32] = {
  0, 208, 416, 624, 832, 1040, 1248, 1456, 1664, 1872, 2080, 2288, 2496, 2704, 2912, 3120,
  3328, 3536, 3744, 3952, 4160, 4368, 4576, 4784, 4992, 5200, 5408, 5616, 5824, 6032, 6240, 6448};

static const int32_t table_2[32] = {
  0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240,
  256, 272, 288, 304, 320, 336, 352, 368, 384, 400, 416, 432, 448, 464, 480, 496};

static const float table_3[32] = {
  0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
  0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

#if LANES == 16
PRODUCT_TILE(product_16x1_add, 16, 1, ADD, NONE)
PRODUCT_TILE(product_16x1_resume_relu, 16, 1, RESUME, RELU)
PRODUCT_TILE(product_16x1, 16, 1, 0, NONE)
#elif LANES == 8
PRODUCT_TILE(product_4x2_add, 4, 2, ADD, NONE)
PRODUCT_TILE(product_4x2_resume_relu, 4, 2, RESUME, RELU)
PRODUCT_TILE(product_12x1_add, 12, 1, ADD, NONE)
PRODUCT_TILE(product_8x1_add, 8, 1, ADD, NONE)
PRODUCT_TILE(product_12x1_resume_relu, 12, 1, RESUME, RELU)
PRODUCT_TILE(product_8x1_resume_relu, 8, 1, RESUME, RELU)
PRODUCT_TILE(product_4x2, 4, 2, 0, NONE)
#elif LANES == 4 && REGISTERS == 32
PRODUCT_TILE(product_6x4_add, 6, 4, ADD, NONE)
PRODUCT_TILE(product_2x4_add, 2, 4, ADD, NONE)
PRODUCT_TILE(product_6x4_resume_relu, 6, 4, RESUME, RELU)
PRODUCT_TILE(product_2x4_resume_relu, 2, 4, RESUME, RELU)
PRODUCT_TILE(product_16x1_add, 16, 1, ADD, NONE)
PRODUCT_TILE(product_16x1_resume_relu, 16, 1, RESUME, RELU)
PRODUCT_TILE(product_6x4, 6, 4, 0, NONE)
PRODUCT_TILE(product_2x4, 2, 4, 0, NONE)
#elif defined __wasm_simd128__ && LANES == 4
PRODUCT_TILE(product_2x4_add, 2, 4, ADD, NONE)
PRODUCT_TILE(product_2x4_resume_relu, 2, 4, RESUME, RELU)
PRODUCT_TILE(product_11x1_add, 11, 1, ADD, NONE)
PRODUCT_TILE(product_10x1_add, 10, 1, ADD, NONE)
PRODUCT_TILE(product_11x1_resume_relu, 11, 1, RESUME, RELU)
PRODUCT_TILE(product_10x1_resume_relu, 10, 1, RESUME, RELU)
PRODUCT_TILE(product_2x4, 2, 4, 0, NONE)
#elif LANES == 4
PRODUCT_TILE(product_4x2_add, 4, 2, ADD, NONE)
PRODUCT_TILE(product_4x2_resume_relu, 4, 2, RESUME, RELU)
PRODUCT_TILE(product_12x1_add, 12, 1, ADD, NONE)
PRODUCT_TILE(product_8x1_add, 8, 1, ADD, NONE)
PRODUCT_TILE(product_12x1_resume_relu, 12, 1, RESUME, RELU)
PRODUCT_TILE(product_8x1_resume_relu, 8, 1, RESUME, RELU)
PRODUCT_TILE(product_4x2, 4, 2, 0, NONE)
#elif LANES == 1
PRODUCT_TILE(product_4x2_add, 4, 2, ADD, NONE)
PRODUCT_TILE(product_4x2_resume_relu, 4, 2, RESUME, RELU)
PRODUCT_TILE(product_4x2, 4, 2, 0, NONE)
#endif

enum { INPUT_4_3, OUTPUT_4_3 };
KERNEL void winograd_transform(const int matrix, const vec *x, vec *y) {
  switch (matrix) {
    case INPUT_4_3: {
      y[0] = x[0] * 0.87890625f - x[2] * 2.640625f + x[4];
      const vec even_1 = -x[2] * 2.25f + x[4];
      const vec odd_1 = -x[1] * 1.40625f + x[3] * 0.625f;
      y[1] = even_1 + odd_1;
      y[2] = even_1 - odd_1;
      const vec even_3 = -x[2] * 0.390625f + x[4];
      const vec odd_3 = -x[1] * 0.5859375f + x[3] * 1.5f;
      y[3] = even_3 + odd_3;
      y[4] = even_3 - odd_3;
      y[5] = x[1] * 0.87890625f - x[3] * 2.640625f + x[5];
      break;
    }
    case OUTPUT_4_3: {
      const vec sum_1 = x[1] + x[2];
      const vec difference_1 = x[1] - x[2];
      const vec sum_3 = x[3] + x[4];
      const vec difference_3 = x[3] - x[4];
      y[0] = x[0] + sum_1 + sum_3;
      y[1] = difference_1 * 0.625f + difference_3 * 1.5f;
      y[2] = sum_1 * 0.390625f + sum_3 * 2.25f;
      y[3] = difference_1 * 0.244140625f + difference_3 * 3.375f + x[5];
      break;
    }
  }
}

/* 32 rows × 16 pixels. */
ROUTINE void multiply_32x16_by_32_add(struct product p) {
  p.rows = 32;
#if LANES == 16
    TILES(product_16x1_add, 16, 1, 0, 32, 0, 1);
#elif LANES == 8
    TILES(product_4x2_add, 4, 2, 0, 32, 0, 2);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_6x4_add, 6, 4, 0, 30, 0, 4);
    TILES(product_2x4_add, 2, 4, 30, 32, 0, 4);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4_add, 2, 4, 0, 32, 0, 4);
#elif LANES == 4
    TILES(product_4x2_add, 4, 2, 0, 32, 0, 4);
#elif LANES == 1
    TILES(product_4x2_add, 4, 2, 0, 32, 0, 16);
#endif
    next_rows(&p, 32);
}

/* 32 rows × 16 pixels. */
ROUTINE void multiply_32x16_by_32_resume_relu(struct product p) {
  p.rows = 32;
#if LANES == 16
    TILES(product_16x1_resume_relu, 16, 1, 0, 32, 0, 1);
#elif LANES == 8
    TILES(product_4x2_resume_relu, 4, 2, 0, 32, 0, 2);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_6x4_resume_relu, 6, 4, 0, 30, 0, 4);
    TILES(product_2x4_resume_relu, 2, 4, 30, 32, 0, 4);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4_resume_relu, 2, 4, 0, 32, 0, 4);
#elif LANES == 4
    TILES(product_4x2_resume_relu, 4, 2, 0, 32, 0, 4);
#elif LANES == 1
    TILES(product_4x2_resume_relu, 4, 2, 0, 32, 0, 16);
#endif
    next_rows(&p, 32);
}

/* 32 rows × 4 pixels. */
ROUTINE void multiply_32x4_by_32_add(struct product p) {
  p.rows = 32;
#if LANES == 16
    TILES(product_16x1_add, 16, 1, 0, 32, 0, 1);
#elif LANES == 8
    TILES(product_12x1_add, 12, 1, 0, 24, 0, 1);
    TILES(product_8x1_add, 8, 1, 24, 32, 0, 1);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_16x1_add, 16, 1, 0, 32, 0, 1);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_11x1_add, 11, 1, 0, 22, 0, 1);
    TILES(product_10x1_add, 10, 1, 22, 32, 0, 1);
#elif LANES == 4
    TILES(product_12x1_add, 12, 1, 0, 24, 0, 1);
    TILES(product_8x1_add, 8, 1, 24, 32, 0, 1);
#elif LANES == 1
    TILES(product_4x2_add, 4, 2, 0, 32, 0, 4);
#endif
    next_rows(&p, 32);
}

/* 32 rows × 4 pixels. */
ROUTINE void multiply_32x4_by_32_resume_relu(struct product p) {
  p.rows = 32;
#if LANES == 16
    TILES(product_16x1_resume_relu, 16, 1, 0, 32, 0, 1);
#elif LANES == 8
    TILES(product_12x1_resume_relu, 12, 1, 0, 24, 0, 1);
    TILES(product_8x1_resume_relu, 8, 1, 24, 32, 0, 1);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_16x1_resume_relu, 16, 1, 0, 32, 0, 1);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_11x1_resume_relu, 11, 1, 0, 22, 0, 1);
    TILES(product_10x1_resume_relu, 10, 1, 22, 32, 0, 1);
#elif LANES == 4
    TILES(product_12x1_resume_relu, 12, 1, 0, 24, 0, 1);
    TILES(product_8x1_resume_relu, 8, 1, 24, 32, 0, 1);
#elif LANES == 1
    TILES(product_4x2_resume_relu, 4, 2, 0, 32, 0, 4);
#endif
    next_rows(&p, 32);
}

/* 32 rows × 16 pixels. */
ROUTINE void multiply_32x16_by_32(struct product p) {
  p.rows = 32;
#if LANES == 16
    TILES(product_16x1, 16, 1, 0, 32, 0, 1);
#elif LANES == 8
    TILES(product_4x2, 4, 2, 0, 32, 0, 2);
#elif LANES == 4 && REGISTERS == 32
    TILES(product_6x4, 6, 4, 0, 30, 0, 4);
    TILES(product_2x4, 2, 4, 30, 32, 0, 4);
#elif defined __wasm_simd128__ && LANES == 4
    TILES(product_2x4, 2, 4, 0, 32, 0, 4);
#elif LANES == 4
    TILES(product_4x2, 4, 2, 0, 32, 0, 4);
#elif LANES == 1
    TILES(product_4x2, 4, 2, 0, 32, 0, 16);
#endif
    next_rows(&p, 32);
}

/* copy x: copy of 32 planes */
static void step_0(float *a, const float *input, int begin, int end) {
  copy_planes(196, end - begin, input, table_0 + begin, a + 39584, table_1 + begin);
}

/* relu2: 3×3 convolution, 32 → 32 channels, 14×14, relu, Winograd */
static void step_1(const float *w, float *a) {
  if (!all_within(5.192296858534828e+33f, 196, 32, a + 39584, table_1)) {
    float *const panel = a + 32;
    for (int group = 0; group < 1; group++) {
      const int32_t *const from = table_1 + group * 32;
      for (int first = 0; first < 192; first += 16) {
        pack_panel((struct window){14, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, first, 16}, a + 39584, from, 0, 144, panel, 32);
        multiply_32x16_by_32_add((struct product){.weights = w + 0 + 32 * (288 * group + 0), .bias = w + 9216 + 32 * group, .input = panel, .output = a + 46240 + first, .to = table_1 + 32 * group, .addend = a + 39584 + first, .from = table_1 + 32 * group, .input_stride = 32, .inner = 144});
        pack_panel((struct window){14, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, first, 16}, a + 39584, from, 144, 288, panel, 32);
        multiply_32x16_by_32_resume_relu((struct product){.weights = w + 0 + 32 * (288 * group + 144), .bias = w + 9216 + 32 * group, .input = panel, .output = a + 46240 + first, .to = table_1 + 32 * group, .addend = a + 39584 + first, .from = table_1 + 32 * group, .input_stride = 32, .inner = 144});
      }
      for (int first = 192; first < 196; first += 4) {
        pack_panel((struct window){14, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, first, 4}, a + 39584, from, 0, 144, panel, 32);
        multiply_32x4_by_32_add((struct product){.weights = w + 0 + 32 * (288 * group + 0), .bias = w + 9216 + 32 * group, .input = panel, .output = a + 46240 + first, .to = table_1 + 32 * group, .addend = a + 39584 + first, .from = table_1 + 32 * group, .input_stride = 32, .inner = 144});
        pack_panel((struct window){14, 14, 14, 3, 3, 1, 1, 1, 1, 1, 1, first, 4}, a + 39584, from, 144, 288, panel, 32);
        multiply_32x4_by_32_resume_relu((struct product){.weights = w + 0 + 32 * (288 * group + 144), .bias = w + 9216 + 32 * group, .input = panel, .output = a + 46240 + first, .to = table_1 + 32 * group, .addend = a + 39584 + first, .from = table_1 + 32 * group, .input_stride = 32, .inner = 144});
      }
    }
    return;
  }
  float *const padded = a + 32, *const lines = padded + 576;
  float *const input = padded + 1536, *const output = padded + 20544;
  for (int group = 0; group < 1; group++) {
    const int32_t *const from = table_1 + group * 32;
    for (int first = 0; first < 4; first += 4) {
      const struct winograd tiles = {6, 4, 14, 14, 1, 1, 14, 14, 4, first, 4, 32, 80, 16, 528, 528};
      winograd_input(tiles, INPUT_4_3, 32, a + 39584, from, padded, lines, input);
      const float *weights = w + 9248 + 36864 * group;
      int row = 32 * group;
      for (int block = 0; block < 1; block++, row += 32) {
        for (int position = 0; position < 36; position++) {
          struct product p = {.weights = weights, .bias = table_3, .to = table_2, .from = table_2};
          p.input = input + position * 528, p.input_stride = 16;
          p.output = output + position * 528;
          p.inner = 32;
          multiply_32x16_by_32(p);
          p.weights += 1024, p.input += 512;
          weights = p.weights;
        }
        winograd_output(tiles, OUTPUT_4_3, RELU, 32, output, w + 9216 + row,
                        a + 46240, table_1 + row, a + 39584, table_1 + row, 0.0f, 0.0f, lines);
      }
    }
  }
}

void dense_run(const float *weights, const float *input, float *output, void *arena) {
  float *const a = aligned(arena);
  step_0(a, input, 0, 32);
  step_1(weights, a);
  copy_planes(196, 32, a + 46240, table_1, output, table_0);
}

/* A call, as its tasks see it. */
struct call {
  const float *w;
  float *a;
  const float *inputs[1];
};

static void tasks_0(void *data, int worker, int first, int end) {
  const struct call *const c = data;
  (void)worker;
  step_0(c->a, c->inputs[0], 16 * first, 16 * end);
}

void dense_run_on(const float *weights, const float *input, float *output, void *arena, dense_parallel_for *parallel_for, void *context) {
  float *const a = aligned(arena);
  struct call call = {.w = weights, .a = a, .inputs = {input}};
  parallel_for(context, 2, tasks_0, &call);
  step_1(weights, a);
  copy_planes(196, 32, a + 46240, table_1, output, table_0);
}
