/* Simple work on planes of `size` numbers. A plane of more than one number has room up to a multiple of 16, so that whole vectors
   may be stored; planes of one number lie side by side. */

/* The mean, or the largest, number of every plane. */
KERNEL void reduce_planes(const int largest, const int size, const int activation, int count, const float *input,
                          const int32_t *from, float *output, const int32_t *to, float alpha, float beta) {
  for (int plane = 0; plane < count; plane++) {
    const float *const x = input + from[plane];
    float total = x[0];
    int i = 1;
    if (size >= LANES) {
      vec sum = load(x);
      for (i = LANES; i + LANES <= size; i += LANES) sum = largest ? larger(sum, load(x + i)) : sum + load(x + i);
      total = sum[0];
      for (int lane = 1; lane < LANES; lane++)
        total = largest ? larger(splat(total), splat(sum[lane]))[0] : total + sum[lane];
    }
    for (; i < size; i++) total = largest ? larger(splat(total), splat(x[i]))[0] : total + x[i];
    if (!largest) total *= 1.0f / (float)size;
    output[to[plane]] = activate_one(activation, total, alpha, beta);
  }
}

/* left + right or left · right, plus an addend or not; `right` may be one number a plane. */
KERNEL void combine_planes(const int multiply, const int number, const int size, const int activation, int count,
                           const float *left, const int32_t *left_from, const float *right, const int32_t *right_from,
                           const float *addend, const int32_t *addend_from, float *output, const int32_t *to,
                           float alpha, float beta) {
  for (int plane = 0; plane < count; plane++) {
    const float *const l = left + left_from[plane], *const r = right + right_from[plane];
    for (int i = 0; i < size; i += LANES) {
      const vec a = size == 1 ? splat(l[0]) : load(l + i), b = number || size == 1 ? splat(r[0]) : load(r + i);
      vec sum = multiply ? a * b : a + b;
      if (addend) sum += size == 1 ? splat(addend[addend_from[plane]]) : load(addend + addend_from[plane] + i);
      sum = activate(activation, sum, alpha, beta);
      if (size == 1) output[to[plane]] = sum[0];
      else store(output + to[plane] + i, sum);
    }
  }
}

/* An activation alone. */
KERNEL void activate_planes(const int size, const int activation, int count, const float *input, const int32_t *from,
                            float *output, const int32_t *to, float alpha, float beta) {
  for (int plane = 0; plane < count; plane++)
    for (int i = 0; i < size; i += LANES) {
      if (size == 1) output[to[plane]] = activate_one(activation, input[from[plane]], alpha, beta);
      else store(output + to[plane] + i, activate(activation, load(input + from[plane] + i), alpha, beta));
    }
}

/* Planes as they are, to another place. */
KERNEL void copy_planes(const int size, int count, const float *input, const int32_t *from, float *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) memcpy(output + to[plane], input + from[plane], sizeof(float) * size);
}

/* Planes with a border of `value`. */
KERNEL void pad_planes(const int height, const int width, const int top, const int left, const int bottom, const int right,
                       const float value, int count, const float *input, const int32_t *from, float *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) {
    const float *row = input + from[plane];
    float *out = output + to[plane];
    for (int y = -top; y < height + bottom; y++) {
      const int outside = y < 0 || y >= height;
      for (int x = -left; x < width + right; x++) *out++ = outside || x < 0 || x >= width ? value : row[x];
      if (!outside) row += width;
    }
  }
}
