/* Work across channels, pixel by pixel. */

/* Natural logarithm of a positive normal number: the exponent, and a polynomial for the rest in [√½, √2). */
KERNEL wide logarithm(wide x) {
  wide_bits exponent = ((wide_bits)x >> 23) - 126;
  wide m = (wide)(((wide_bits)x & 0x7fffff) | 0x3f000000); /* in [½, 1) */
  const wide_bits small = m < splat_wide(0.70710678f);
  exponent += small; /* a true lane is −1 */
  m = where_wide(small, m + m, m) - 1.0f;
  wide whole;
  UNROLL for (int i = 0; i < LANES; i++) whole[i] = (float)exponent[i];
  wide y = splat_wide(7.0376836292e-2f);
  y = y * m - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  const wide square = m * m;
  return m * square * y - 0.5f * square + m + whole * 0.6931471806f;
}

/* Numbers i, i + 1, ... of a plane; of one number, that in every lane. */
KERNEL wide pixels_at(const int size, const number *plane, int i) { return size == 1 ? to_wide(spread(*plane)) : load_wide(plane + i); }

/* input / (bias + alpha / size · Σ input²) ** beta over neighbouring channels. */
KERNEL void local_response(const int before, const int after, const int size, float scale, float beta, float bias, int count,
                           const number *input, const int32_t *from, number *output, const int32_t *to) {
  for (int i = 0; i < size; i += LANES)
    for (int c = 0; c < count; c++) {
      wide sum = {0};
      for (int n = c - before < 0 ? 0 : c - before; n <= c + after && n < count; n++) {
        const wide x = pixels_at(size, input + from[n], i);
        sum += x * x;
      }
      const wide base = bias + scale * sum;
      const wide power = where_wide((base > splat_wide(0)) & (base < splat_wide(__builtin_inff())), exponential(-beta * logarithm(base)),
                              where_wide(base == base, where_wide(base > splat_wide(0), splat_wide(0), splat_wide(__builtin_inff())), base));
      const wide y = pixels_at(size, input + from[c], i) * power;
      if (size == 1) output[to[c]] = to_number(y[0]);
      else store_wide(output + to[c] + i, y);
    }
}

/* exp(input) / Σ exp(input). */
KERNEL void softmax(const int size, int count, const number *input, const int32_t *from, number *output, const int32_t *to) {
  for (int i = 0; i < size; i += LANES) {
    wide most = pixels_at(size, input + from[0], i), sum = {0};
    for (int c = 1; c < count; c++) most = larger_wide(most, pixels_at(size, input + from[c], i));
    for (int pass = 0; pass < 2; pass++)
      for (int c = 0; c < count; c++) {
        if (pass == 0) sum += exponential(pixels_at(size, input + from[c], i) - most);
        else if (size == 1) output[to[c]] = to_number((exponential(to_wide(spread(input[from[c]])) - most) / sum)[0]);
        else store_wide(output + to[c] + i, exponential(load_wide(input + from[c] + i) - most) / sum);
      }
  }
}
