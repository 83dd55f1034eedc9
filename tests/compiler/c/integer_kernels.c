/* The integer kernels against index loops: every byte must be equal, and no byte beside the planes may change. Prints what is wrong. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PIXEL_BYTES
enum { PIXEL_BYTES = 3 }; /* as the emitter writes it; 1 for grey pixels */
#endif

#include "vectors.c"
#include "activation.c"
#include "panels.c"
#include "integer_vectors.c"
#include "integer_planes.c"
#include "integer_product.c"
#include "integer_depthwise.c"
#include "integer_stem.c"

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

enum { ADDS = ADD_BYTES | SHIFT_SUMS | ADDEND_BIAS };
INTEGER_TILE(tile_5, 5, ANY_CODE)
INTEGER_TILE(tile_5_add, 5, ADDS | ANY_CODE)
INTEGER_TILE(tile_2, 2, LARGE_SUMS | ANY_CODE)
INTEGER_TILE(tile_2_add, 2, ADDS | LARGE_SUMS | ANY_CODE)
INTEGER_TILE(tile_1, 1, 0)
INTEGER_SINGLES(singles, 0)
INTEGER_SINGLES(singles_add, ADDS)
INTEGER_SINGLES(singles_large, LARGE_SUMS)
INTEGER_SINGLES(singles_add_large, ADDS | LARGE_SUMS)
INTEGER_SINGLES(singles_numbers, NUMBERS | LARGE_SUMS)

enum kind { USUAL, EXTREME, PLAIN }; /* EXTREME: weights and pixels at their limits, and huge scales. PLAIN: no zero point, no limits. */

/* Two blocks of rows × pixels from `inner` planes. */
static void product(int rows, int inner, int pixels, int add, enum kind kind) {
  const int quads = (inner + 3) / 4, stride = pixels + draw(3), all = 2 * rows, extreme = kind == EXTREME;
  const struct pixel_counts n = count_pixels(pixels);
  uint8_t *x = room((size_t)(inner * stride)), *y = room((size_t)(all * (stride + 1))), *addend = room((size_t)(all * (stride + 1)));
  int8_t *weights = room((size_t)(quads * all * 4)), *panel = room((size_t)((n.blocks + 1) * quads * 16 * BYTES));
  int32_t *bias = room(4 * (size_t)all), *sums = room(4 * (size_t)all), *counts = room(4 * (size_t)all), *to = room(4 * (size_t)all);
  int32_t *shifts = room(4 * (size_t)all), *after = room(4 * (size_t)all);
  int32_t *wide = room((size_t)(rows * quads * 16));
  float *scale = room(4 * (size_t)all), *numbers = room(4 * (size_t)(all * (stride + 1)));
  for (int i = 0; i < inner * stride; i++) x[i] = (uint8_t)(extreme ? 255 * draw(2) : draw(256));
  for (int i = 0; i < all * (stride + 1); i++) addend[i] = (uint8_t)draw(256);
  memset(weights, 0, (size_t)(quads * all * 4));
#define WEIGHT(r, k) weights[((r) / rows * quads * rows + (k) / 4 * rows + (r) % rows) * 4 + (k) % 4]
  for (int r = 0; r < all; r++) {
    bias[r] = draw(20001) - 10000, counts[r] = draw(1000) - 200, to[r] = (all - 1 - r) * (stride + 1), sums[r] = 0;
    scale[r] = extreme ? 100000.0f : (float)(1 + draw(100)) * 1e-4f, shifts[r] = draw(4), after[r] = draw(9) - 4;
    for (int k = 0; k < inner; k++) {
      const int8_t w = (int8_t)(extreme ? (draw(2) ? 127 : -128) : draw(256) - 128);
      WEIGHT(r, k) = w, sums[r] += w;
    }
  }
  struct integer_product p = {.weights = weights, .bias = bias, .weight_sums = sums, .scale = scale, .panel = (uint8_t *)panel};
  p.wide = wide, p.output = y, p.numbers = numbers, p.addend = addend, p.addend_weights = counts, p.shifts = shifts;
  p.addend_bias = after, p.to = to, p.from = to, p.quads = quads, p.rows = rows, p.pixels = pixels;
  p.zero = draw(256), p.low = draw(2) ? p.zero : 0, p.high = draw(2) ? 255 : p.zero + (255 - p.zero) / 2;
  if (kind == PLAIN) p.zero = p.low = 0, p.high = 255;
  pack_pixels(x, stride, inner, 0, n, panel);
  for (int block = 0; block < 2; block++, p.first += rows, p.weights += quads * rows * 4) {
    for (int row = 0; row < rows; row += kind == USUAL ? 5 : extreme ? 2 : 1) {
      if (kind == PLAIN) tile_1(&p, p.first + row, n);
      else if (extreme) (add ? tile_2_add : tile_2)(&p, p.first + row, n);
      else (add ? tile_5_add : tile_5)(&p, p.first + row, n);
    }
    if (extreme) (add ? singles_add_large : singles_large)(&p, n);
    else (add ? singles_add : singles)(&p, n);
    if (pixels == 1) singles_numbers(&p, n);
  }
  char what[80];
  snprintf(what, sizeof what, "product %d x %d x %d%s%s", rows, inner, pixels, add ? ", add" : "", extreme ? ", extreme" : "");
  for (int r = 0; r < all; r++) {
    for (int i = 0; i < pixels; i++) {
      int32_t sum = bias[r];
      for (int k = 0; k < inner; k++) sum += x[k * stride + i] * WEIGHT(r, k);
      if (pixels == 1) {
        volatile float number = (float)sum * scale[r];
        check("numbers", r, i, numbers[to[r]] == number, 1);
      }
      if (add && kind != PLAIN) sum = sum * (1 << shifts[r]) + after[r] + addend[to[r] + i] * counts[r];
      check(what, r, i, y[to[r] + i], requantized(sum, scale[r], p.zero, p.low, p.high));
    }
    for (int i = pixels; i < stride + 1; i++) check("beside a plane", r, i, y[to[r] + i], UNTOUCHED);
  }
  for (int i = 1; i <= REACH; i++) check("before all planes", 0, i, y[-i], UNTOUCHED);
}

/* One shape of depthwise layer, whole and in two parts; three planes, in the other order in memory. */
static void depthwise(void (*kernel)(struct integer_depthwise), int stride, int height, int width) {
  enum { PLANES = 3 };
  const int output_height = (height - 1) / stride + 1, output_width = (width - 1) / stride + 1, pixels = output_height * output_width;
  uint8_t *x = room((size_t)(PLANES * height * width)), *y = room((size_t)(PLANES * pixels));
  const size_t padded = (size_t)((stride * output_height + 2) * depthwise_pitch(width) + 2 * BYTES);
  int8_t w[PLANES * 12];
  int32_t from[PLANES], to[PLANES], bias[PLANES], folded[PLANES];
  float scale[PLANES];
  struct integer_depthwise d = {.planes = PLANES, .input = x, .from = from, .output = y, .to = to, .weights = w, .bias = folded, .scale = scale};
  d.padded[0] = room(padded), d.padded[1] = room(padded), d.made = room(padded);
  d.input_zero = draw(256), d.zero = draw(256), d.low = draw(2) ? d.zero : 0, d.high = 255;
  for (int i = 0; i < PLANES * height * width; i++) x[i] = (uint8_t)draw(256);
  for (int i = 0; i < PLANES * 12; i++) w[i] = (int8_t)(i % 4 == 3 ? 0 : draw(256) - 128);
  for (int plane = 0; plane < PLANES; plane++) {
    from[plane] = plane * height * width, to[plane] = (PLANES - 1 - plane) * pixels;
    folded[plane] = bias[plane] = draw(2001) - 1000, scale[plane] = (float)(1 + draw(50)) * 1e-4f;
    for (int i = 0; i < 12; i++) folded[plane] -= d.input_zero * w[12 * plane + i];
  }
  for (int parts = 1; parts <= 2 && parts <= output_height; parts++) {
    memset(y, UNTOUCHED, (size_t)(PLANES * pixels));
    d.rows = output_height - (output_height - 1) / 2 * (parts - 1);
    kernel(d);
    for (int place = 0; place < PLANES * pixels; place++) {
      const int plane = place / pixels, row = place % pixels / output_width, column = place % pixels % output_width;
      int32_t sum = bias[plane];
      for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++) {
          const int from_row = row * stride + i, from_column = column * stride + j;
          if (from_row >= 0 && from_row < height && from_column >= 0 && from_column < width)
            sum += (x[from[plane] + from_row * width + from_column] - d.input_zero) * w[12 * plane + (i + 1) * 4 + j + 1];
        }
      check("depthwise", height * 1000 + width, place, y[to[plane] + place % pixels], requantized(sum, scale[plane], d.zero, d.low, d.high));
    }
    for (int i = 0; i < REACH; i++) check("beside a depthwise plane", height, i, y[PLANES * pixels + i] + y[-1 - i], 2 * UNTOUCHED);
  }
}

INTEGER_STEM(stem_5, 5, LARGE_STEM)
INTEGER_STEM(stem_5_pooled, 5, POOLED)
static void stem_tiles(const struct integer_stem *s) { for (int r = 0; r < s->filters; r += 5) stem_5(s, r); }
static void stem_tiles_pooled(const struct integer_stem *s) { for (int r = 0; r < s->filters; r += 5) stem_5_pooled(s, r); }

/* A first layer of ten filters over a picture's numbers, or over its 8-bit pixels. */
static void stem(int channels, int height, int width, int pooled, int of_pixels) {
  enum { FILTERS = 10 };
  const int rows = (height - 1) / 2 + 1, columns = (width - 1) / 2 + 1, output_width = pooled ? (columns + 1) / 2 : columns;
  const int output_height = pooled ? (rows + 1) / 2 : rows, size = output_height * output_width, vectors = (columns + 2 * LANES - 1) / (2 * LANES);
  float *numbers = room(4 * (size_t)(channels * height * width));
  uint8_t *pixels = room((size_t)(PIXEL_BYTES * height * width)), *codes = room((size_t)(channels * height * width)), *tables = room(256 * (size_t)channels);
  uint8_t *y = room((size_t)(FILTERS * size));
  int8_t w[4 * 3 * FILTERS * 4] = {0};
  int32_t bias[FILTERS], folded[FILTERS + LANES], sums[FILTERS] = {0}, to[FILTERS], from[4], order[] = {2 % PIXEL_BYTES, 0, 1 % PIXEL_BYTES, 1 % PIXEL_BYTES};
  float scale[FILTERS];
  const int zero = draw(256);
  for (int i = 0; i < PIXEL_BYTES * height * width; i++) pixels[i] = (uint8_t)draw(256);
  for (int i = 0; i < 256 * channels; i++) tables[i] = (uint8_t)draw(256);
  for (int c = 0; c < channels; c++) {
    from[c] = (channels - 1 - c) * height * width;
    for (int i = 0; i < height * width; i++) {
      const int code = draw(256);
      numbers[from[c] + i] = (float)(code - zero) * 0.5f, codes[c * height * width + i] = (uint8_t)code;
      if (of_pixels) codes[c * height * width + i] = tables[256 * c + pixels[PIXEL_BYTES * i + order[c]]];
    }
  }
  for (int f = 0; f < FILTERS; f++) {
    bias[f] = draw(2001) - 1000, scale[f] = draw(9) ? (float)(1 + draw(50)) * 1e-4f : 1e6f, to[f] = (FILTERS - 1 - f) * size;
    for (int k = 0; k < 3 * channels; k++)
      for (int x = 0; x < 3; x++) w[(k * FILTERS + f) * 4 + x] = (int8_t)(draw(256) - 128), sums[f] += w[(k * FILTERS + f) * 4 + x];
    folded[f] = bias[f] - zero * sums[f];
  }
  struct integer_picture picture = {height, width, zero, 2.0f, numbers, from, NULL, PIXEL_BYTES * width, tables, order};
  if (of_pixels) picture.pixels = pixels;
  struct integer_stem s = {.weights = w, .bias = folded, .weight_sums = sums, .scale = scale, .channels = channels, .filters = FILTERS};
  s.columns = columns, s.line = vectors * LANES, s.pitch = (vectors + 1) * BYTES, s.output = y, s.to = to, s.output_width = output_width, s.output_size = size;
  s.zero = draw(256), s.low = draw(2) ? s.zero : 0, s.high = 255;
  s.codes = room((size_t)(5 * channels * s.pitch)), s.wide = room(4 * (size_t)(9 * channels * FILTERS));
  s.above = room(8 * (size_t)(FILTERS * s.line));
  if (pooled) integer_stem(1, rows, picture, s, stem_tiles_pooled);
  else integer_stem(0, rows, picture, s, stem_tiles);
  for (int i = 0; i < FILTERS * size; i++) {
    const int f = i / size, reach = pooled ? 1 : 0;
    int most = INT32_MIN;
    for (int v = -reach; v <= reach; v++)
      for (int u = -reach; u <= reach; u++) {
        const int row = i % size / output_width * (1 + pooled) + v, column = i % output_width * (1 + pooled) + u;
        if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
        int32_t sum = bias[f];
        for (int k = 0; k < 9 * channels; k++) {
          const int c = k / 9, down = 2 * row - 1 + k % 9 / 3, along = 2 * column - 1 + k % 3;
          if (down < 0 || down >= height || along < 0 || along >= width) continue;
          sum += (codes[(c * height + down) * width + along] - zero) * w[((c * 3 + k % 9 / 3) * FILTERS + f) * 4 + k % 3];
        }
        most = sum > most ? sum : most;
      }
    check(pooled ? "stem and pool" : "stem", height * 1000 + width, i, y[to[f] + i % size], requantized(most, scale[f], s.zero, s.low, s.high));
  }
  for (int i = 0; i < REACH; i++) check("beside a stem", width, i, y[FILTERS * size + i] + y[-1 - i], 2 * UNTOUCHED);
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
  const float inverse = 1 / scale;
  quantize_planes(size, 2, numbers, from, y, to, inverse, zero);
  for (int i = 0; i < 2 * size; i++) {
    volatile float quotient = numbers[i] * inverse;
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

#define SHAPES(SHAPE) \
  SHAPE(1, 1, 1) SHAPE(1, 1, 9) SHAPE(1, 7, 7) SHAPE(1, 5, 3) SHAPE(1, 14, 14) SHAPE(1, 28, 28) SHAPE(1, 3, 67) \
  SHAPE(2, 1, 1) SHAPE(2, 2, 9) SHAPE(2, 7, 7) SHAPE(2, 14, 14) SHAPE(2, 28, 27) SHAPE(2, 5, 130)
#define DEFINE(STRIDE, HEIGHT, WIDTH) \
  ROUTINE void depthwise_##STRIDE##_##HEIGHT##_##WIDTH(struct integer_depthwise d) { integer_depthwise(STRIDE, HEIGHT, WIDTH, d); }
#define TEST(STRIDE, HEIGHT, WIDTH) depthwise(depthwise_##STRIDE##_##HEIGHT##_##WIDTH, STRIDE, HEIGHT, WIDTH);
SHAPES(DEFINE)

int main(void) {
  static const int sizes[] = {1, 3, 16, 17, 33, 49, 52, 60, 64, 65, 80, 81, 196, 200};
  for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++) {
    for (int add = 0; add < 2; add++) {
      product(10, 5 + i, sizes[i], add, USUAL);
      product(20, 24, sizes[i], add, USUAL);
      product(4, 13, sizes[i], add, EXTREME);
    }
    product(70, 9, sizes[i], 0, PLAIN);
    planes(sizes[i]);
  }
  SHAPES(TEST)
  for (int kind = 0; kind < 4; kind++) {
    stem(3, 9, 13, kind & 1, kind >> 1);
    stem(2, 8, 66, kind & 1, kind >> 1);
    stem(4 - kind / 2, 6, 131, kind & 1, kind >> 1);
    stem(1, 1, 1, kind & 1, kind >> 1);
  }
  printf("depth %d, %d lanes: %d wrong\n", DEPTH, LANES, wrong);
  return wrong != 0;
}
