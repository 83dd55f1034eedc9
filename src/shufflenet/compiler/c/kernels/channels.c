/* Work across channels, pixel by pixel. */

/* Natural logarithm of a positive normal number: the exponent, and a polynomial for the rest in [√½, √2). */
KERNEL vec logarithm(vec x) {
  bits exponent = ((bits)x >> 23) - 126;
  vec m = (vec)(((bits)x & 0x7fffff) | 0x3f000000); /* in [½, 1) */
  const bits small = m < splat(0.70710678f);
  exponent += small; /* a true lane is −1 */
  m = where(small, m + m, m) - 1.0f;
  vec whole;
  UNROLL for (int i = 0; i < LANES; i++) whole[i] = (float)exponent[i];
  vec y = splat(7.0376836292e-2f);
  y = y * m - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  const vec square = m * m;
  return m * square * y - 0.5f * square + m + whole * 0.6931471806f;
}

/* input / (bias + alpha / size · Σ input²) ** beta over neighbouring channels. */
KERNEL void local_response(const int before, const int after, const int size, float scale, float beta, float bias, int count,
                           const float *input, const int32_t *from, float *output, const int32_t *to) {
  for (int i = 0; i < size; i += LANES)
    for (int c = 0; c < count; c++) {
      vec sum = {0};
      for (int n = c - before < 0 ? 0 : c - before; n <= c + after && n < count; n++) {
        const vec x = size == 1 ? splat(input[from[n]]) : load(input + from[n] + i);
        sum += x * x;
      }
      const vec base = bias + scale * sum;
      const vec power = where((base > splat(0)) & (base < splat(__builtin_inff())), exponential(-beta * logarithm(base)),
                              where(base == base, where(base > splat(0), splat(0), splat(__builtin_inff())), base));
      const vec y = (size == 1 ? splat(input[from[c]]) : load(input + from[c] + i)) * power;
      if (size == 1) output[to[c]] = y[0];
      else store(output + to[c] + i, y);
    }
}

/* exp(input) / Σ exp(input). */
KERNEL void softmax(const int size, int count, const float *input, const int32_t *from, float *output, const int32_t *to) {
  for (int i = 0; i < size; i += LANES) {
    vec most = size == 1 ? splat(input[from[0]]) : load(input + from[0] + i), sum = {0};
    for (int c = 1; c < count; c++) most = larger(most, size == 1 ? splat(input[from[c]]) : load(input + from[c] + i));
    for (int pass = 0; pass < 2; pass++)
      for (int c = 0; c < count; c++) {
        if (pass == 0) sum += exponential((size == 1 ? splat(input[from[c]]) : load(input + from[c] + i)) - most);
        else if (size == 1) output[to[c]] = (exponential(splat(input[from[c]]) - most) / sum)[0];
        else store(output + to[c] + i, exponential(load(input + from[c] + i) - most) / sum);
      }
  }
}
