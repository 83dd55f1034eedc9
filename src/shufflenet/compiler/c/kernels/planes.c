/* Simple work on planes of `size` numbers. A plane of more than one number has room up to a multiple of 16, so that whole vectors
   may be stored; planes of one number lie side by side. */

/* The mean, or the largest, number of every plane. */
KERNEL void reduce_planes(const int largest, const int size, const int activation, int count, const number *input,
                          const int32_t *from, number *output, const int32_t *to, float alpha, float beta) {
  for (int plane = 0; plane < count; plane++) {
    const number *const x = input + from[plane];
    float total = from_number(x[0]);
    int i = 1;
    if (size >= LANES) {
      wide sum = load_wide(x);
      for (i = LANES; i + LANES <= size; i += LANES) sum = largest ? larger_wide(sum, load_wide(x + i)) : sum + load_wide(x + i);
      total = sum[0];
      for (int lane = 1; lane < LANES; lane++)
        total = largest ? larger_wide(splat_wide(total), splat_wide(sum[lane]))[0] : total + sum[lane];
    }
    for (; i < size; i++) {
      const float next = from_number(x[i]);
      total = largest ? larger_wide(splat_wide(total), splat_wide(next))[0] : total + next;
    }
    if (!largest) total *= 1.0f / (float)size;
    output[to[plane]] = to_number(activate_one(activation, total, alpha, beta));
  }
}

/* left + right or left · right, plus an addend or not; `right` may be one number a plane. */
KERNEL void combine_planes(const int multiply, const int one, const int size, const int activation, int count,
                           const number *left, const int32_t *left_from, const number *right, const int32_t *right_from,
                           const number *addend, const int32_t *addend_from, number *output, const int32_t *to,
                           float alpha, float beta) {
  for (int plane = 0; plane < count; plane++) {
    const number *const l = left + left_from[plane], *const r = right + right_from[plane];
    for (int i = 0; i < size; i += LANES) {
      const vec a = size == 1 ? spread(l[0]) : load(l + i), b = one || size == 1 ? spread(r[0]) : load(r + i);
      vec sum = multiply ? a * b : a + b;
      if (addend) sum += size == 1 ? spread(addend[addend_from[plane]]) : load(addend + addend_from[plane] + i);
      sum = activate(activation, sum, alpha, beta);
      if (size == 1) output[to[plane]] = to_number((float)sum[0]);
      else store(output + to[plane] + i, sum);
    }
  }
}

/* An activation alone. */
KERNEL void activate_planes(const int size, const int activation, int count, const number *input, const int32_t *from,
                            number *output, const int32_t *to, float alpha, float beta) {
  for (int plane = 0; plane < count; plane++)
    for (int i = 0; i < size; i += LANES) {
      if (size == 1) output[to[plane]] = to_number(activate_one(activation, from_number(input[from[plane]]), alpha, beta));
      else store(output + to[plane] + i, activate(activation, load(input + from[plane] + i), alpha, beta));
    }
}

/* Planes as they are, to another place. */
KERNEL void copy_planes(const int size, int count, const number *input, const int32_t *from, number *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) memcpy(output + to[plane], input + from[plane], sizeof(number) * size);
}

/* Planes with a border of `value`. */
KERNEL void pad_planes(const int height, const int width, const int top, const int left, const int bottom, const int right,
                       const float value, int count, const number *input, const int32_t *from, number *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) {
    const number *row = input + from[plane], border = to_number(value);
    number *out = output + to[plane];
    for (int y = -top; y < height + bottom; y++) {
      const int outside = y < 0 || y >= height;
      for (int x = -left; x < width + right; x++) *out++ = outside || x < 0 || x >= width ? border : row[x];
      if (!outside) row += width;
    }
  }
}
