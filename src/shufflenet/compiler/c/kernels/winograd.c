/* Winograd's convolution: tiles of the input are transformed, multiplied position by position, and transformed to tiles of the
   output. A transform's matrix is applied along y to whole rows of the picture, then along x to numbers that are as far apart as
   tiles are: one vector holds the same number of LANES tiles. The output goes the same way back. */
struct winograd {
  int size, tile;                        /* numbers along a side of a tile of the input, and of the output; `tile` is 2 or 4 */
  int height, width, top, left;          /* of the input */
  int output_height, output_width;
  int columns;                           /* tiles in a row of them */
  int first, count;                      /* rows of tiles */
  int padded_stride;                     /* from one row of the padded picture to the next */
  int line_stride;                       /* from one line, the rows that all rows of tiles have in one place, to the next */
  int tile_stride;                       /* from one channel's tiles to the next one's */
  ptrdiff_t input_stride, output_stride; /* from one position to the next */
};

/* y = matrix × x; written further down. */
KERNEL void winograd_transform(const int matrix, const vec *x, vec *y);

/* Whether no number of these planes is beyond ±largest, or NaN. */
KERNEL int all_within(float largest, const int size, int count, const float *input, const int32_t *from) {
  const vec high = splat(largest);
  bits within = ~(bits){0};
  for (int plane = 0; plane < count; plane++) {
    const float *const x = input + from[plane];
    int i = 0;
    for (; i + LANES <= size; i += LANES) within &= (load(x + i) <= high) & (load(x + i) >= -high);
    for (; i < size; i++) within &= (splat(x[i]) <= high) & (splat(x[i]) >= -high);
  }
  int all = -1;
  for (int lane = 0; lane < LANES; lane++) all &= within[lane];
  return all;
}

/* x[p] = numbers p, p + count, p + 2 · count, ... */
KERNEL void split(const int count, const float *from, vec *x) {
  vec half[4];
  UNROLL for (int p = 0; p < count; p += 2) {
    const vec a = load(from + p * LANES), b = load(from + (p + 1) * LANES);
    half[p] = in_order(EVEN(a, b));
    half[p + 1] = in_order(ODD(a, b));
  }
  UNROLL for (int p = 0; p < 2; p++) {
    x[p] = count == 2 ? half[p] : in_order(EVEN(half[p], half[p + 2]));
    if (count == 4) x[p + 2] = in_order(ODD(half[p], half[p + 2]));
  }
}

/* The reverse. */
KERNEL void join(const int count, const vec *x, float *to) {
  vec half[4];
  UNROLL for (int p = 0; p < 2; p++) {
    half[p] = count == 2 ? x[p] : FIRST_HALF(x[p], x[p + 2]);
    if (count == 4) half[p + 2] = LAST_HALF(x[p], x[p + 2]);
  }
  UNROLL for (int p = 0; p < count; p += 2) {
    store(to + p * LANES, FIRST_HALF(half[p], half[p + 1]));
    store(to + (p + 1) * LANES, LAST_HALF(half[p], half[p + 1]));
  }
}

/* tiles[position][channel][tile], from the planes of `channels` channels. */
KERNEL void winograd_input(const struct winograd w, const int matrix, int channels, const float *input, const int32_t *from,
                           float *padded, float *lines, float *tiles) {
  const int span = w.tile * w.columns, tile_count = w.count * w.columns;
  const int reach = (w.size + w.tile - 1) / w.tile; /* a tile's input goes on so many tiles */
  const int rows = w.count * w.tile + w.size - w.tile, first = w.first * w.tile - w.top;
  const int low = first < 0 ? 0 : first, high = first + rows < w.height ? first + rows : w.height;
  memset(padded, 0, sizeof(float) * rows * w.padded_stride);
  for (int c = 0; c < channels; c++) {
    for (int y = low; y < high; y++)
      memcpy(padded + (y - first) * w.padded_stride + w.left, input + from[c] + (ptrdiff_t)y * w.width, sizeof(float) * w.width);
    /* Lines of the columns from 0 on, then of those from the second tile on, ...: what overhangs a row is overwritten by the next. */
    for (int shift = 0; shift < reach; shift++)
      for (int row = 0; row < w.count; row++)
        for (int x = 0; x < span; x += LANES) {
          vec a[8], b[8];
          UNROLL for (int i = 0; i < w.size; i++)
            a[i] = load(padded + (row * w.tile + i) * w.padded_stride + shift * w.tile + x);
          winograd_transform(matrix, a, b);
          UNROLL for (int i = 0; i < w.size; i++) store(lines + (shift * w.size + i) * w.line_stride + row * span + x, b[i]);
        }
    float *const to = tiles + (ptrdiff_t)c * w.tile_stride;
    for (int i = 0; i < w.size; i++)
      for (int t = 0; t < tile_count; t += LANES) {
        vec a[8], b[8];
        UNROLL for (int shift = 0; shift < reach; shift++)
          split(w.tile, lines + (shift * w.size + i) * w.line_stride + t * w.tile, a + shift * w.tile);
        winograd_transform(matrix, a, b);
        UNROLL for (int j = 0; j < w.size; j++) store(to + (i * w.size + j) * w.input_stride + t, b[j]);
      }
  }
}

/* Planes of `channels` channels, from tiles[position][channel][tile]. */
KERNEL void winograd_output(const struct winograd w, const int matrix, const int activation, int channels, const float *tiles,
                            const float *bias, float *output, const int32_t *to, const float *addend, const int32_t *addend_from,
                            float alpha, float beta, float *lines) {
  const int span = w.tile * w.columns, tile_count = w.count * w.columns;
  const int left = w.output_height - w.first * w.tile, rows = w.count * w.tile < left ? w.count * w.tile : left;
  for (int c = 0; c < channels; c++) {
    const float *const from = tiles + (ptrdiff_t)c * w.tile_stride;
    for (int t = 0; t < tile_count; t += LANES) {
      vec half[8][4], whole[4][4];
      UNROLL for (int i = 0; i < w.size; i++) {
        vec a[8];
        UNROLL for (int j = 0; j < w.size; j++) a[j] = load(from + (i * w.size + j) * w.output_stride + t);
        winograd_transform(matrix, a, half[i]);
      }
      UNROLL for (int x = 0; x < w.tile; x++) {
        vec a[8], b[4];
        UNROLL for (int i = 0; i < w.size; i++) a[i] = half[i][x];
        winograd_transform(matrix, a, b);
        UNROLL for (int y = 0; y < w.tile; y++) whole[y][x] = b[y];
      }
      UNROLL for (int y = 0; y < w.tile; y++) join(w.tile, whole[y], lines + y * w.line_stride + t * w.tile);
    }
    for (int y = 0; y < rows; y++) {
      const float *const line = lines + y % w.tile * w.line_stride + y / w.tile * span;
      const ptrdiff_t start = (ptrdiff_t)(w.first * w.tile + y) * w.output_width;
      for (int x = 0; x < w.output_width; x += LANES) {
        vec sum = load(line + x) + bias[c];
        if (addend) sum += load(addend + addend_from[c] + start + x);
        sum = activate(activation, sum, alpha, beta);
        if (x + LANES <= w.output_width) store(output + to[c] + start + x, sum);
        else store_first(output + to[c] + start + x, sum, w.output_width - x);
      }
    }
  }
}
