/* Activations. `kind` is always a constant, so that one branch is left; a NaN stays a NaN in all of them. */
enum { NONE, RELU, CLIP, LEAKY_RELU, SIGMOID, HARD_SIGMOID, HARD_SWISH };

KERNEL vec limit(vec x, vec low, vec high) {
  x = where(x < low, low, x);
  return where(x > high, high, x);
}

KERNEL wide limit_wide(wide x, wide low, wide high) {
  x = where_wide(x < low, low, x);
  return where_wide(x > high, high, x);
}

/* e to the x, within 2 units of the last place: 2 to the n, times a polynomial for the rest, |rest| ≤ ln 2 / 2. */
KERNEL wide exponential(wide x) {
  const wide clipped = limit_wide(x, splat_wide(-104), splat_wide(89));
  const wide magic = splat_wide(12582912); /* 1.5 · 2^23: adding it rounds to a whole number */
  const wide n = clipped * 1.44269504f + magic - magic;
  const wide rest = clipped - n * 0.693359375f + n * 2.12194440e-4f;
  wide y = splat_wide(1.9875691500e-4f);
  y = y * rest + 1.3981999507e-3f;
  y = y * rest + 8.3334519073e-3f;
  y = y * rest + 4.1665795894e-2f;
  y = y * rest + 1.6666665459e-1f;
  y = y * rest + 5.0000001201e-1f;
  y = y * rest * rest + rest + 1.0f;
  /* Two factors of half the exponent each: their product may leave the range of normal numbers, they do not. */
  const wide_bits whole = __builtin_convertvector(where_wide(n == n, n, splat_wide(0)), wide_bits);
  const wide_bits first = whole >> 1;
  y = y * (wide)((first + 127) << 23) * (wide)((whole - first + 127) << 23);
  return where_wide(x != x, x, y);
}

KERNEL vec activate(const int kind, vec x, float alpha, float beta) {
  const vec zero = {0}, one = splat(1);
  switch (kind) {
    case RELU: return where(x < zero, zero, x);
    case CLIP: return limit(x, splat(alpha), splat(beta));
    case LEAKY_RELU: return where(x < zero, x * splat(alpha), x);
    case SIGMOID: return to_vec(1.0f / (1.0f + exponential(-to_wide(x))));
    case HARD_SIGMOID: return limit(x * splat(alpha) + splat(beta), zero, one);
    case HARD_SWISH: return x * limit(x * splat(1 / 6.0f) + splat(0.5f), zero, one);
    default: return x;
  }
}

KERNEL float activate_one(const int kind, float x, float alpha, float beta) {
  return (float)activate(kind, splat(x), alpha, beta)[0];
}
