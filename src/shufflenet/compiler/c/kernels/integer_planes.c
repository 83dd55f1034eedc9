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

/* The code nearest to each number, 0 for a NaN, and some of its bits flipped. `inverse`: of the scale. */
KERNEL void quantize_row(const int size, const float *from, float inverse, int zero, int flip, uint8_t *to) {
  const vec least = splat((float)-zero), most = splat((float)(255 - zero));
  for (int i = 0; i < size; i += LANES) {
    const int count = size - i;
    vec x = {0};
    if (count >= LANES) x = load(from + i);
    else memcpy(&x, from + i, sizeof(float) * (size_t)(count & (LANES - 1)));
    x *= inverse;
    x = where(x > least, x, least); /* so is a NaN */
    x = where(x < most, x, most);
    store_quarter(to + i, __builtin_convertvector((to_nearest(x) + zero) ^ flip, quarter), count);
  }
}

KERNEL void quantize_planes(const int size, int count, const float *input, const int32_t *from, uint8_t *output, const int32_t *to,
                            float inverse, int zero) {
  for (int plane = 0; plane < count; plane++) quantize_row(size, input + from[plane], inverse, zero, 0, output + to[plane]);
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

/* LANES codes, less their zero point. What lies beyond a plane may be read. */
KERNEL ints load_codes(const uint8_t *from, int zero) {
  quarter x;
  memcpy(&x, from, sizeof x);
  return (ints)words_of(x) - zero;
}

/* left · right, each less its zero point; `number`: right is one code a plane. */
KERNEL void multiply_code_planes(const int number, const int size, int count, const uint8_t *left, const int32_t *left_from, int left_zero,
                                 const uint8_t *right, const int32_t *right_from, int right_zero, uint8_t *output, const int32_t *to,
                                 float scale, int zero, int low, int high) {
  for (int plane = 0; plane < count; plane++) {
    const uint8_t *const l = left + left_from[plane], *const r = right + right_from[plane];
    const ints factor = splat_int(r[0] - right_zero);
    for (int i = 0; i < size; i += LANES) {
      const ints product = load_codes(l + i, left_zero) * (number ? factor : load_codes(r + i, right_zero));
      const ints codes = codes_of(to_float(product), scale, zero, low, high);
      store_quarter(output + to[plane] + i, __builtin_convertvector(codes, quarter), size - i);
    }
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
