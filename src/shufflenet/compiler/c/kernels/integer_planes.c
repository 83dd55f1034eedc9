/* Simple work on planes of `size` codes, 8 bits each, and the way from numbers to codes and back. No store is past a plane's end. */

/* The code of a sum: one float32 multiplication, rounded to the nearest, halves to the even. What is far out is so on every machine. */
KERNEL ints codes_of(vec sum, float scale, int zero, int low, int high) {
  const ints code = to_nearest(limit(sum * scale, splat(-1e6f), splat(1e6f))) + zero;
  const ints above = where_int(code > low, code, splat_int(low));
  return where_int(above < high, above, splat_int(high));
}

KERNEL uint8_t code_of(int32_t sum, float scale, int zero, int low, int high) {
  return (uint8_t)codes_of(splat((float)sum), scale, zero, low, high)[0];
}

/* The code nearest to each number; 0 for a NaN. */
KERNEL void quantize_planes(const int size, int count, const float *input, const int32_t *from, uint8_t *output, const int32_t *to,
                            float scale, int zero) {
  const vec divisor = splat(scale), least = splat(-1000), most = splat(1000);
  for (int plane = 0; plane < count; plane++) {
    const float *const x = input + from[plane];
    uint8_t *const y = output + to[plane];
    for (int i = 0; i < size; i += LANES) {
      float some[LANES] = {0};
      memcpy(some, x + i, sizeof(float) * (size_t)(size - i < LANES ? size - i : LANES));
      vec scaled = load(some) / divisor;
      scaled = where(scaled > least, scaled, least); /* so is a NaN */
      scaled = where(scaled < most, scaled, most);
      const ints code = to_nearest(scaled) + zero, zeros = {0};
      const ints above = where_int(code > zeros, code, zeros), within = where_int(above < 255, above, splat_int(255));
      for (int lane = 0; lane < LANES && i + lane < size; lane++) y[i + lane] = (uint8_t)within[lane];
    }
  }
}

/* The number that each code stands for. */
KERNEL void dequantize_planes(const int size, int count, const uint8_t *input, const int32_t *from, float *output,
                              const int32_t *to, float scale, int zero) {
  for (int plane = 0; plane < count; plane++)
    for (int i = 0; i < size; i++) output[to[plane] + i] = (float)(input[from[plane] + i] - zero) * scale;
}

/* Any function of a code, by its 256 values. */
KERNEL void look_up_planes(const int size, int count, const uint8_t *input, const int32_t *from, uint8_t *output,
                           const int32_t *to, const uint8_t table[256]) {
  for (int plane = 0; plane < count; plane++)
    for (int i = 0; i < size; i++) output[to[plane] + i] = table[input[from[plane] + i]];
}

/* (left · left_factor + right · right_factor + offset) >> shift, within low and high. Factors have 16 bits; `number` as below. */
struct integer_addition {
  int32_t left_factor, right_factor, offset;
  int shift, low, high;
};

KERNEL void add_code_planes(const int number, const int size, int count, const uint8_t *left, const int32_t *left_from, const uint8_t *right,
                            const int32_t *right_from, uint8_t *output, const int32_t *to, const struct integer_addition a) {
  for (int plane = 0; plane < count; plane++) {
    const uint8_t *const l = left + left_from[plane], *const r = right + right_from[plane];
    uint8_t *const y = output + to[plane];
    for (int i = 0; i < size; i++) {
      const int32_t sum = (l[i] * a.left_factor + r[number ? 0 : i] * a.right_factor + a.offset) >> a.shift;
      const int32_t above = sum > a.low ? sum : a.low;
      y[i] = (uint8_t)(above < a.high ? above : a.high);
    }
  }
}

/* left · right, each less its zero point; `number`: right is one code a plane. */
KERNEL void multiply_code_planes(const int number, const int size, int count, const uint8_t *left, const int32_t *left_from, int left_zero,
                                 const uint8_t *right, const int32_t *right_from, int right_zero, uint8_t *output, const int32_t *to,
                                 float scale, int zero, int low, int high) {
  for (int plane = 0; plane < count; plane++) {
    const uint8_t *const l = left + left_from[plane], *const r = right + right_from[plane];
    for (int i = 0; i < size; i++)
      output[to[plane] + i] = code_of((l[i] - left_zero) * (r[number ? 0 : i] - right_zero), scale, zero, low, high);
  }
}

/* The mean, or the largest, code of every plane; input_zero is the input's zero point, scale that of the sum. */
KERNEL void reduce_code_planes(const int largest, const int size, int count, const uint8_t *input, const int32_t *from, int input_zero,
                               uint8_t *output, const int32_t *to, float scale, int zero, int low, int high) {
  for (int plane = 0; plane < count; plane++) {
    const uint8_t *const x = input + from[plane];
    int32_t sum = 0, most = 0;
    for (int i = 0; i < size; i++) sum += x[i];
    for (int i = 0; i < size; i++) most = x[i] > most ? x[i] : most;
    const int code = largest ? (most > low ? most : low) : code_of(sum - size * input_zero, scale, zero, low, high);
    output[to[plane]] = (uint8_t)(code < high ? code : high);
  }
}

/* A pool of every plane; scales[y · output width + x] is that of a mean's sum. Padding counts as the zero point, or is never the largest. */
KERNEL void pool_code_planes(const int largest, const struct window w, const int output_height, int count, const uint8_t *input,
                             const int32_t *from, int input_zero, uint8_t *output, const int32_t *to, const float *scales,
                             int zero, int low, int high) {
  for (int plane = 0; plane < count; plane++)
    for (int y = 0; y < output_height; y++)
      for (int x = 0; x < w.output_width; x++) {
        int32_t sum = 0, most = 0;
        for (int v = 0; v < w.kernel_height; v++) {
          const int row = y * w.stride_y - w.top + v * w.dilation_y;
          if (row < 0 || row >= w.height) continue;
          for (int u = 0; u < w.kernel_width; u++) {
            const int column = x * w.stride_x - w.left + u * w.dilation_x;
            if (column < 0 || column >= w.width) continue;
            const int code = input[from[plane] + (ptrdiff_t)row * w.width + column];
            sum += code - input_zero;
            most = code > most ? code : most;
          }
        }
        const int place = y * w.output_width + x;
        const int code = largest ? (most > low ? most : low) : code_of(sum, scales[place], zero, low, high);
        output[to[plane] + place] = (uint8_t)(code < high ? code : high);
      }
}
