/* The stem in one pass: convolution 3×3 at stride 2, padding 1, then max-pool 3×3 at stride 2, padding 1. Two convolution rows are
   made for every pooled row; the third is kept from the row before. The convolution's whole output never exists. */

/* A row of the picture, split into even and odd columns: odd[-1] is the left padding; the columns beyond `width` are zero. */
KERNEL void split_row(const float *row, int width, float *even, float *odd, int padded) {
  int x = 0;
  for (; x + LANES <= width / 2; x += LANES) {
    store(even + x, in_order(EVEN(load(row + 2 * x), load(row + 2 * x + LANES))));
    store(odd + x, in_order(ODD(load(row + 2 * x), load(row + 2 * x + LANES))));
  }
  for (; x < padded; x++) {
    even[x] = 2 * x < width ? row[2 * x] : 0;
    odd[x] = 2 * x + 1 < width ? row[2 * x + 1] : 0;
  }
  odd[-1] = 0;
}

/* LANES columns of the largest of `count` convolution rows. */
KERNEL vec stem_pool_down(const float *const rows[3], int count, int x) {
  vec most = load(rows[0] + x);
  for (int r = 1; r < count; r++) most = larger(most, load(rows[r] + x));
  return most;
}

/* The largest of up to three convolution rows, then of three columns, into one row of one output plane. */
KERNEL void stem_pool_row(const float *const rows[3], int count, const int width, const int output_width, float *output) {
  const vec nothing = splat(-__builtin_inff());
  vec left = nothing; /* its last lane is the column before */
  for (int x = 0; x < output_width; x += LANES) {
    if (x + LANES > output_width && output_width >= LANES) { /* the last vector is moved left to end with the row */
      x = output_width - LANES;
      left = x ? stem_pool_down(rows, count, 2 * x - LANES) : nothing;
    }
    const vec first = stem_pool_down(rows, count, 2 * x), second = stem_pool_down(rows, count, 2 * x + LANES);
    const vec even = in_order(EVEN(first, second));
    vec odd = in_order(ODD(first, second));
    if (2 * (x + LANES) > width) odd = where(count_from(0) * 2 + (2 * x + 1) < width, odd, nothing);
    const vec most = larger(larger(even, odd), AFTER(left, odd));
    left = second;
    if (output_width >= LANES) store(output + x, most);
    else store_first(output, most, output_width);
  }
}

/* The pass. `convolution_row` makes one row of all filters from split rows; `pixels`, if not null, stands in for `input`. */
KERNEL void stem_planes(const int height, const int width, const int channels, const int filters, const int convolution_height,
                        const int convolution_width, const int output_height, const int output_width, const int segment,
                        const float *input, const uint8_t *pixels, ptrdiff_t row_stride, const float *scales, const float *shifts,
                        const int32_t *order, void (*convolution_row)(struct product), struct product p, const int32_t *to,
                        float *scratch, float *output) {
  const int split = 2 * segment + 16, slot = channels * split; /* a row of all channels: odd columns from 16 on, then even ones */
  const ptrdiff_t kept = segment + 16;                         /* a row of one filter */
  float *const slots = scratch, *const rows = scratch + 5 * slot, *const buffer = rows + 3 * filters * kept + 16;
  for (int y = 0; y < output_height; y++) {
    /* Input rows 4y − 1 ... 4y + 3; the first is the last one of before. */
    for (int i = 0; i < 5; i++) {
      const int input_y = 4 * y - 1 + i;
      if (i == 0 && y > 0) {
        memcpy(slots, slots + 4 * slot, sizeof(float) * slot);
        continue;
      }
      for (int c = 0; c < channels; c++) {
        float *const odd = slots + i * slot + c * split + 16, *const even = odd + segment;
        if (input_y < 0 || input_y >= height) {
          memset(odd - 1, 0, sizeof(float) * (segment + convolution_width + 1));
        } else if (pixels) {
          unpack_row(pixels + input_y * row_stride, width, order[c], scales[c], shifts[c], buffer + 16);
          split_row(buffer + 16, width, even, odd, convolution_width);
        } else {
          split_row(input + ((ptrdiff_t)c * height + input_y) * width, width, even, odd, convolution_width);
        }
      }
    }
    /* Convolution rows 2y, kept in the third place, and 2y + 1, kept in the first and second in turn. */
    float *const first = rows + 2 * filters * kept, *const second = rows + (y & 1) * filters * kept;
    const float *const before = rows + (~y & 1) * filters * kept;
    const int has_second = 2 * y + 1 < convolution_height;
    p.input = slots;
    p.output = first;
    convolution_row(p);
    if (has_second) {
      p.input = slots + 2 * slot;
      p.output = second;
      convolution_row(p);
    }
    for (int filter = 0; filter < filters; filter++) {
      const float *meet[3] = {first + filter * kept};
      int count = 1;
      if (has_second) meet[count++] = second + filter * kept;
      if (y > 0) meet[count++] = before + filter * kept;
      stem_pool_row(meet, count, convolution_width, output_width, output + to[filter] + (ptrdiff_t)y * output_width);
    }
  }
}
