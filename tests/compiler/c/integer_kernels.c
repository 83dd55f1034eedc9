/* The integer kernels against index loops: every byte must be equal, and no byte beside the planes may change. Prints what is wrong. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.c"
#include "activation.c"
#include "panels.c"
#include "integer_vectors.c"
#include "integer_planes.c"
#include "integer_product.c"
#include "integer_depthwise.c"

enum { UNTOUCHED = 0x55, REACH = 256 }; /* REACH: how far kernels may read, never use, around the planes they are given */

static uint32_t state = 1;
static int draw(int count) {
  state = state * 1664525u + 1013904223u;
  return (int)((state >> 8) % (uint32_t)count);
}

static int wrong = 0;
static void check(const char *what, int row, int place, int actual, int expected) {
  if (actual != expected && wrong++ < 10) printf("%s: row %d, place %d: %d, not %d\n", what, row, place, actual, expected);
}

static int requantized(int32_t sum, float scale, int zero, int low, int high) {
  volatile float product = (float)sum * scale;
  const double byte = nearbyint((double)product) + zero;
  return byte < low ? low : byte > high ? high : (int)byte;
}

static void *room(size_t size) {
  void *found = malloc(size + 2 * REACH);
  memset(found, UNTOUCHED, size + 2 * REACH);
  return (char *)found + REACH;
}

INTEGER_TILE(tile_5, 5, 0)
INTEGER_TILE(tile_5_add, 5, ADD_BYTES)
INTEGER_TILE(tile_2, 2, LARGE_SUMS)
INTEGER_TILE(tile_2_add, 2, ADD_BYTES | LARGE_SUMS)

/* rows × pixels from `inner` planes; `extreme`: all weights and pixels at their limits, and huge scales. */
static void product(int rows, int inner, int pixels, int add, int extreme) {
  const int quads = (inner + 3) / 4, stride = pixels + draw(3), blocks = pixels / BYTES, last = pixels % BYTES;
  uint8_t *x = room((size_t)(inner * stride)), *y = room((size_t)(rows * (stride + 1))), *addend = room((size_t)(rows * (stride + 1)));
  int8_t *weights = room((size_t)(quads * rows * 4)), *panel = room((size_t)((blocks + 1) * quads * 16 * BYTES));
  int32_t *bias = room(4 * (size_t)rows), *sums = room(4 * (size_t)rows), *counts = room(4 * (size_t)rows), *to = room(4 * (size_t)rows);
  int32_t *wide = room((size_t)(rows * quads * 16));
  float *scale = room(4 * (size_t)rows);
  for (int i = 0; i < inner * stride; i++) x[i] = (uint8_t)(extreme ? 255 * draw(2) : draw(256));
  for (int i = 0; i < rows * (stride + 1); i++) addend[i] = (uint8_t)draw(256);
  memset(weights, 0, (size_t)(quads * rows * 4));
  for (int r = 0; r < rows; r++) {
    bias[r] = draw(20001) - 10000, counts[r] = draw(1000) - 200, to[r] = (rows - 1 - r) * (stride + 1), sums[r] = 0;
    scale[r] = extreme ? 100000.0f : (float)(1 + draw(100)) * 1e-4f;
    for (int k = 0; k < inner; k++) {
      const int8_t w = (int8_t)(extreme ? (draw(2) ? 127 : -128) : draw(256) - 128);
      weights[(k / 4 * rows + r) * 4 + k % 4] = w, sums[r] += w;
    }
  }
  struct integer_product p = {.weights = weights, .bias = bias, .weight_sums = sums, .scale = scale, .panel = (uint8_t *)panel};
  p.wide = wide, p.output = y, p.addend = addend, p.addend_weights = counts, p.to = to, p.from = to;
  p.quads = quads, p.rows = rows, p.zero = draw(256), p.low = draw(2) ? p.zero : 0, p.high = draw(2) ? 255 : p.zero + (255 - p.zero) / 2;
  pack_pixels(x, stride, inner, 0, blocks + (last > LANES), last && last <= LANES, panel);
  for (int row = 0; row < rows; row += extreme ? 2 : 5) {
    if (extreme) (add ? tile_2_add : tile_2)(&p, row, blocks, last);
    else (add ? tile_5_add : tile_5)(&p, row, blocks, last);
  }
  char what[80];
  snprintf(what, sizeof what, "product %d x %d x %d%s%s", rows, inner, pixels, add ? ", add" : "", extreme ? ", extreme" : "");
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < pixels; i++) {
      int32_t sum = bias[r] + (add ? addend[to[r] + i] * counts[r] : 0);
      for (int k = 0; k < inner; k++) sum += x[k * stride + i] * weights[(k / 4 * rows + r) * 4 + k % 4];
      check(what, r, i, y[to[r] + i], requantized(sum, scale[r], p.zero, p.low, p.high));
    }
    for (int i = pixels; i < stride + 1; i++) check("beside a plane", r, i, y[to[r] + i], UNTOUCHED);
  }
  for (int i = 1; i <= REACH; i++) check("before all planes", 0, i, y[-i], UNTOUCHED);
}

/* One shape of depthwise layer, whole and in two strips. */
static void depthwise(void (*kernel)(struct integer_depthwise, const int8_t *, int32_t, float), int stride, int height, int width) {
  const int output_height = (height - 1) / stride + 1, output_width = (width - 1) / stride + 1, pixels = output_height * output_width;
  uint8_t *x = room((size_t)(height * width)), *y = room((size_t)pixels);
  uint8_t *padded = room((size_t)((stride * (output_height - 1) + 3) * (width + 2) + 2 * BYTES));
  uint8_t *made = room((size_t)(output_height * (width + 2) + 2 * BYTES));
  int8_t w[12];
  for (int i = 0; i < height * width; i++) x[i] = (uint8_t)draw(256);
  for (int i = 0; i < 12; i++) w[i] = (int8_t)(i % 4 == 3 ? 0 : draw(256) - 128);
  const int input_zero = draw(256), bias = draw(2001) - 1000;
  const float scale = (float)(1 + draw(50)) * 1e-4f;
  int32_t folded = bias;
  for (int i = 0; i < 12; i++) folded -= input_zero * w[i];
  struct integer_depthwise d = {.first = 0, .rows = output_height, .input = x, .output = y, .padded = padded, .made = made};
  d.input_zero = input_zero, d.zero = draw(256), d.low = draw(2) ? d.zero : 0, d.high = 255;
  for (int strips = 1; strips <= 2 && strips <= output_height; strips++) {
    memset(y, UNTOUCHED, (size_t)pixels);
    d.first = 0, d.rows = output_height / strips;
    kernel(d, w, folded, scale);
    d.first = d.rows, d.rows = output_height - d.rows;
    if (d.rows) kernel(d, w, folded, scale);
    for (int row = 0; row < output_height; row++)
      for (int column = 0; column < output_width; column++) {
        int32_t sum = bias;
        for (int i = -1; i <= 1; i++)
          for (int j = -1; j <= 1; j++) {
            const int from_row = row * stride + i, from_column = column * stride + j;
            if (from_row >= 0 && from_row < height && from_column >= 0 && from_column < width)
              sum += (x[from_row * width + from_column] - input_zero) * w[(i + 1) * 4 + j + 1];
          }
        check("depthwise", height * 1000 + width, row * output_width + column, y[row * output_width + column],
              requantized(sum, scale, d.zero, d.low, d.high));
      }
    for (int i = 0; i < REACH; i++) check("beside a depthwise plane", height, i, y[pixels + i] + y[-1 - i], 2 * UNTOUCHED);
  }
}

/* Two planes of `size` codes and numbers, in the other order in memory, through all of integer_planes.c. */
static void planes(const int size) {
  const int zero = draw(256), from[2] = {0, size}, to[2] = {size, 0};
  const float scale = (float)(1 + draw(1000)) * 1e-3f;
  float *numbers = room(8 * (size_t)size), *back = room(8 * (size_t)size);
  uint8_t *x = room(2 * (size_t)size), *z = room(2 * (size_t)size), *y = room(2 * (size_t)size), table[256];
  const struct integer_addition a = {draw(32768), draw(32768), draw(1 << 22) - (1 << 22), 5 + draw(12), draw(20), 200 + draw(56)};
  for (int i = 0; i < 256; i++) table[i] = (uint8_t)draw(256);
  for (int i = 0; i < 2 * size; i++) {
    x[i] = (uint8_t)draw(256), z[i] = (uint8_t)draw(256);
    numbers[i] = (float)(draw(1025) - 512) * 0.5f * scale; /* many halves */
  }
  numbers[0] = NAN, numbers[size - 1] = size > 1 ? INFINITY : NAN, numbers[size] = -1e38f;
  quantize_planes(size, 2, numbers, from, y, to, scale, zero);
  for (int i = 0; i < 2 * size; i++) {
    volatile float quotient = numbers[i] / scale;
    const double code = nearbyint((double)quotient) + zero;
    check("quantize", zero, i, y[(i + size) % (2 * size)], isnan(code) || code < 0 ? 0 : code > 255 ? 255 : (int)code);
  }
  dequantize_planes(size, 2, x, from, back, to, scale, zero);
  for (int i = 0; i < 2 * size; i++) {
    volatile float number = (float)(x[i] - zero) * scale;
    check("dequantize", zero, i, back[(i + size) % (2 * size)] == number, 1);
  }
  look_up_planes(size, 2, x, from, y, to, table);
  for (int i = 0; i < 2 * size; i++) check("look up", 0, i, y[(i + size) % (2 * size)], table[x[i]]);
  add_code_planes(0, size, 2, x, from, z, from, y, to, a);
  for (int i = 0; i < 2 * size; i++) {
    const double sum = floor(((double)x[i] * a.left_factor + (double)z[i] * a.right_factor + a.offset) / (double)(1 << a.shift));
    check("add", a.shift, i, y[(i + size) % (2 * size)], sum < a.low ? a.low : sum > a.high ? a.high : (int)sum);
  }
  for (int number = 0; number < 2; number++) {
    multiply_code_planes(number, size, 2, x, from, zero, z, from, 7, y, to, scale * 1e-2f, 100, 3, 250);
    for (int i = 0; i < 2 * size; i++) {
      const int32_t product = (x[i] - zero) * (z[number ? i / size * size : i] - 7);
      check("multiply", number, i, y[(i + size) % (2 * size)], requantized(product, scale * 1e-2f, 100, 3, 250));
    }
  }
  uint8_t *one = room(2);
  const int places[2] = {1, 0};
  for (int largest = 0; largest < 2; largest++) {
    reduce_code_planes(largest, size, 2, x, from, zero, one, places, scale / (float)size, 128, 1, 254);
    for (int plane = 0; plane < 2; plane++) {
      int32_t sum = 0, most = 1;
      for (int i = 0; i < size; i++) sum += x[plane * size + i] - zero, most = x[plane * size + i] > most ? x[plane * size + i] : most;
      const int mean = requantized(sum, scale / (float)size, 128, 1, 254);
      check("reduce", largest, plane, one[1 - plane], largest ? (most > 254 ? 254 : most) : mean);
    }
  }
  for (int i = 0; i < REACH; i++) check("beside planes", size, i, y[2 * size + i] + y[-1 - i], 2 * UNTOUCHED);
}

/* 3×3 over 7×size at stride 2, padding 1, and 2×2 at stride 1, without. */
static void pools(const int width) {
  const struct window windows[2] = {{7, width, (width + 1) / 2, 3, 3, 2, 2, 1, 1, 1, 1, 0, 0}, {7, width, width - 1, 2, 2, 1, 1, 0, 0, 1, 1, 0, 0}};
  for (int kind = 0; kind < 4; kind++) {
    const struct window w = windows[kind & 1];
    const int largest = kind >> 1, height = kind & 1 ? 6 : 4, count = height * w.output_width, zero = draw(256), from = 0;
    uint8_t *x = room((size_t)(7 * width)), *y = room((size_t)count);
    float *scales = room(4 * (size_t)count);
    for (int i = 0; i < 7 * width; i++) x[i] = (uint8_t)draw(256);
    for (int i = 0; i < count; i++) scales[i] = (float)(1 + draw(100)) * 1e-2f;
    pool_code_planes(largest, w, height, 1, x, &from, zero, y, &from, scales, 90, 2, 251);
    for (int i = 0; i < count; i++) {
      int32_t sum = 0, most = 2;
      for (int tap = 0; tap < w.kernel_height * w.kernel_width; tap++) {
        const int row = i / w.output_width * w.stride_y - w.top + tap / w.kernel_width;
        const int column = i % w.output_width * w.stride_x - w.left + tap % w.kernel_width;
        if (row < 0 || row >= 7 || column < 0 || column >= width) continue;
        const int code = x[row * width + column];
        sum += code - zero, most = code > most ? code : most;
      }
      check("pool", kind, i, y[i], largest ? (most > 251 ? 251 : most) : requantized(sum, scales[i], 90, 2, 251));
    }
    for (int i = 0; i < REACH; i++) check("beside a pool", kind, i, y[count + i] + y[-1 - i], 2 * UNTOUCHED);
  }
}

#define SHAPES(SHAPE) \
  SHAPE(1, 1, 1) SHAPE(1, 1, 9) SHAPE(1, 7, 7) SHAPE(1, 5, 3) SHAPE(1, 14, 14) SHAPE(1, 28, 28) SHAPE(1, 3, 67) \
  SHAPE(2, 1, 1) SHAPE(2, 2, 9) SHAPE(2, 7, 7) SHAPE(2, 14, 14) SHAPE(2, 28, 27) SHAPE(2, 5, 130)
#define DEFINE(STRIDE, HEIGHT, WIDTH) \
  ROUTINE void depthwise_##STRIDE##_##HEIGHT##_##WIDTH(struct integer_depthwise d, const int8_t *w, int32_t bias, float scale) { \
    integer_depthwise(STRIDE, HEIGHT, WIDTH, d, w, bias, scale); \
  }
#define TEST(STRIDE, HEIGHT, WIDTH) depthwise(depthwise_##STRIDE##_##HEIGHT##_##WIDTH, STRIDE, HEIGHT, WIDTH);
SHAPES(DEFINE)

int main(void) {
  static const int sizes[] = {1, 3, 16, 17, 49, 64, 65, 80, 81, 196, 200};
  for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++)
    for (int add = 0; add < 2; add++) {
      product(10, 5 + i, sizes[i], add, 0);
      product(20, 24, sizes[i], add, 0);
      product(4, 13, sizes[i], add, 1);
    }
  for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++) {
    planes(sizes[i]);
    if (sizes[i] > 1) pools(sizes[i]);
  }
  SHAPES(TEST)
  printf("depth %d, %d lanes: %d wrong\n", DEPTH, LANES, wrong);
  return wrong != 0;
}
