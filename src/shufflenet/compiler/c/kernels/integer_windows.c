/* Convolutions and pools on planes of codes of any window, and what moves codes. Every byte is what graph/integers.py says. */

/* round(sum · scale) + zero, within [low, high]; halves to the even one. */
KERNEL int32_t to_code(int32_t sum, float scale, int zero, int low, int high) {
  float z = (float)sum * scale;
  z = z < -65536 ? -65536 : z > 65536 ? 65536 : z; /* and so no machine fuses the product with what follows */
  const float whole = z + 12582912.0f; /* 1.5 · 2^23 */
  const int32_t code = (int32_t)(whole - 12582912.0f) + zero;
  return code < low ? low : code > high ? high : code;
}

typedef uint16_t shorts __attribute__((vector_size(4 * LANES)));
typedef uint16_t shorts_anywhere __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef uint8_t half_bytes __attribute__((vector_size(2 * LANES)));

/* Every other byte, `count` of them; up to 2 · LANES more are written. */
KERNEL void every_other(const uint8_t *from, int count, uint8_t *to) {
  for (int i = 0; i < count; i += 2 * LANES) {
    const shorts both = *(const shorts_anywhere *)(from + 2 * i);
    const half_bytes first = __builtin_convertvector(both & 255, half_bytes);
    memcpy(to + i, &first, sizeof first);
  }
}

/* The codes that pixels [first, first + count) of the output meet, in rows `stride` bytes apart, with room for BYTES more, but
   where that is 1; `zero` where that is padding. */
KERNEL void gather_bytes(const struct window w, int zero, const uint8_t *input, const int32_t *from, int inner, uint8_t *panel, int stride) {
  const int taps = w.kernel_height * w.kernel_width;
  for (int k = 0; k < inner; k++, panel += stride) {
    const uint8_t *plane = input + from[k / taps];
    const int offset_y = k % taps / w.kernel_width * w.dilation_y - w.top;
    const int offset_x = k % w.kernel_width * w.dilation_x - w.left;
    const int low = offset_x < 0 ? (-offset_x + w.stride_x - 1) / w.stride_x : 0;
    const int reach = w.width - offset_x <= 0 ? 0 : (w.width - offset_x + w.stride_x - 1) / w.stride_x;
    const int high = reach < w.output_width ? reach : w.output_width;
    int y = w.first / w.output_width, x = w.first % w.output_width;
    for (int done = 0; done < w.count; y++, x = 0) {
      const int run = w.output_width - x < w.count - done ? w.output_width - x : w.count - done;
      const int input_y = y * w.stride_y + offset_y;
      uint8_t *const to = panel + done - x;
      done += run;
      int i = x;
      if (input_y >= 0 && input_y < w.height) {
        const uint8_t *row = plane + (ptrdiff_t)input_y * w.width + offset_x;
        const int end = high < x + run ? high : x + run;
        for (; i < low && i < x + run; i++) to[i] = (uint8_t)zero;
        if (w.stride_x == 1 && end > i) memcpy(to + i, row + i, (size_t)(end - i));
        else if (w.stride_x == 2 && stride > 1) every_other(row + 2 * i, end - i, to + i);
        else
          for (int j = i; j < end; j++) to[j] = row[j * w.stride_x];
        i = end > i ? end : i;
      }
      for (; i < x + run; i++) to[i] = (uint8_t)zero;
    }
  }
}

/* A convolution, pixel by pixel. Codes go to `output`, or numbers to `numbers`. */
KERNEL void integer_patches(struct window w, const int pixels, const int groups, const int rows, const int inner, int zero, const int activation,
                            const uint8_t *input, const int32_t *from, const int8_t *weights, const int32_t *bias, const float *scale,
                            const uint8_t *addend, const int32_t *addend_from, const int32_t *factors, const int32_t *shifts,
                            const int32_t *addend_bias, uint8_t *output, float *numbers, const int32_t *to, int output_zero, int low, int high, float alpha, float beta, uint8_t *patch) {
  const int channels = inner / (w.kernel_height * w.kernel_width);
  for (int group = 0; group < groups; group++)
    for (int pixel = 0; pixel < pixels; pixel++) {
      w.first = pixel, w.count = 1;
      gather_bytes(w, zero, input, from + group * channels, inner, patch, 1);
      for (int r = group * rows; r < (group + 1) * rows; r++) {
        const int8_t *const own = weights + (ptrdiff_t)r * inner;
        int32_t sum = 0;
        for (int k = 0; k < inner; k++) sum += patch[k] * own[k];
        sum = (int32_t)((uint32_t)sum + (uint32_t)bias[r]);
        if (shifts) sum = (int32_t)((uint32_t)sum << shifts[r]);
        if (addend_bias) sum += addend_bias[r];
        if (addend) sum += addend[addend_from[r] + pixel] * factors[r];
        if (numbers) numbers[to[r] + pixel] = activate_one(activation, (float)sum * scale[r], alpha, beta);
        else output[to[r] + pixel] = (uint8_t)to_code(sum, scale[r], output_zero, low, high);
      }
    }
}

/* The largest of `count` rows `row_stride` bytes apart, and where windows step by 2, its even and its odd columns apart. */
KERNEL void largest_down(const uint8_t *rows, ptrdiff_t row_stride, int count, int width, int stride, uint8_t *down, uint8_t *even,
                         uint8_t *odd) {
  memcpy(down, rows, (size_t)width);
  for (int r = 1; r < count; r++) {
    rows += row_stride;
    for (int x = 0; x < width; x++) down[x] = rows[x] > down[x] ? rows[x] : down[x];
  }
  if (stride == 2) {
    every_other(down, (width + 1) / 2, even);
    every_other(down + 1, width / 2, odd);
  }
}

/* Pools: the kernel's rows become one, then its columns. A mean is the sum of codes, less `zero` each, times its pixel's scale. */
KERNEL void integer_pool(const int largest, const struct window w, const int output_height, int zero, int planes, const uint8_t *input,
                         const int32_t *from, uint8_t *output, const int32_t *to, const float *scales, int output_zero, int low, int high,
                         int32_t *buffer) {
  for (int plane = 0; plane < planes; plane++)
    for (int y = 0; y < output_height; y++) {
      int tap = 0, end = w.kernel_height;
      const int first = y * w.stride_y - w.top;
      while (first + tap * w.dilation_y < 0) tap++;
      while (first + (end - 1) * w.dilation_y >= w.height) end--;
      const uint8_t *row = input + from[plane] + (ptrdiff_t)(first + tap * w.dilation_y) * w.width;
      const ptrdiff_t row_stride = (ptrdiff_t)w.dilation_y * w.width;
      uint8_t *const made = output + to[plane] + (ptrdiff_t)y * w.output_width;
      /* Of bytes for the largest, of sums for a mean. */
      uint8_t *const down = (uint8_t *)buffer, *const even = down + w.width + BYTES, *const odd = even + w.width + BYTES;
      int32_t *const sums = buffer, *const along = sums + w.width;
      if (largest) {
        largest_down(row, row_stride, end - tap, w.width, w.stride_x, down, even, odd);
        for (int x = 0; x < w.output_width; x++) made[x] = (uint8_t)low;
      } else {
        for (int x = 0; x < w.width; x++) sums[x] = row[x] - zero;
        for (int r = tap + 1; r < end; r++) {
          row += row_stride;
          for (int x = 0; x < w.width; x++) sums[x] += row[x] - zero;
        }
        for (int x = 0; x < w.output_width; x++) along[x] = 0;
      }
      for (int t = 0; t < w.kernel_width; t++) {
        const int offset = t * w.dilation_x - w.left;
        const int least = offset < 0 ? (-offset + w.stride_x - 1) / w.stride_x : 0;
        int most = w.width - offset <= 0 ? 0 : (w.width - offset + w.stride_x - 1) / w.stride_x;
        most = most < w.output_width ? most : w.output_width;
        if (!largest) {
          for (int x = least; x < most; x++) along[x] += sums[x * w.stride_x + offset];
        } else if (w.stride_x == 2) {
          const uint8_t *const column = offset & 1 ? odd + (offset - 1) / 2 : even + offset / 2;
          for (int x = least; x < most; x++) made[x] = column[x] > made[x] ? column[x] : made[x];
        } else {
          for (int x = least; x < most; x++) made[x] = down[x * w.stride_x + offset] > made[x] ? down[x * w.stride_x + offset] : made[x];
        }
      }
      for (int x = 0; x < w.output_width; x++) {
        if (largest) made[x] = made[x] > high ? (uint8_t)high : made[x];
        else made[x] = (uint8_t)to_code(along[x], scales[y * w.output_width + x], output_zero, low, high);
      }
    }
}

KERNEL void pad_bytes(const int height, const int width, const int top, const int left, const int bottom, const int right, int value,
                      int planes, const uint8_t *input, const int32_t *from, uint8_t *output, const int32_t *to) {
  for (int plane = 0; plane < planes; plane++) {
    const uint8_t *row = input + from[plane];
    uint8_t *out = output + to[plane];
    memset(out, value, (size_t)((height + top + bottom) * (width + left + right)));
    out += top * (width + left + right) + left;
    for (int y = 0; y < height; y++, row += width, out += width + left + right) memcpy(out, row, (size_t)width);
  }
}

/* Planes of rows × columns, with every row `down` times and every byte of it `across` times. */
KERNEL void repeat_bytes(const int rows, const int columns, const int down, const int across, int planes, const uint8_t *input,
                         const int32_t *from, uint8_t *output, const int32_t *to) {
  /* Rows that are not repeated are one long one. */
  const int lines = down == 1 ? 1 : rows, length = down == 1 ? rows * columns : columns, width = length * across;
  for (int plane = 0; plane < planes; plane++) {
    const uint8_t *x = input + from[plane];
    uint8_t *y = output + to[plane];
    for (int line = 0; line < lines; line++, x += length, y += down * width) {
      int i = 0;
      if (across == 1) {
        memcpy(y, x, (size_t)length);
        i = length;
      } else if (across == 2)
        for (; i + LANES <= length; i += LANES) {
          quarter some;
          memcpy(&some, x + i, sizeof some);
          const halves twice = __builtin_convertvector(some, halves) * 257;
          memcpy(y + 2 * i, &twice, sizeof twice);
        }
      for (; i < length; i++)
        for (int time = 0; time < across; time++) y[i * across + time] = x[i];
      for (int time = 1; time < down; time++) memcpy(y + time * width, y, (size_t)width);
    }
  }
}

KERNEL void copy_bytes(const int size, int planes, const uint8_t *input, const int32_t *from, uint8_t *output, const int32_t *to) {
  for (int plane = 0; plane < planes; plane++) memcpy(output + to[plane], input + from[plane], (size_t)size);
}
