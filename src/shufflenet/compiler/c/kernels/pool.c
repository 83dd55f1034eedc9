/* Pools. First down: the kernel's rows become one, in a buffer that has the padding at both ends. Then along the row. Sums between
   are not rounded to what planes hold. */
KERNEL vec pool_pair(const int largest, vec a, vec b) { return largest ? larger(a, b) : a + b; }

/* Row y of a vertical pool: `rows` rows of a plane, `dilation` rows apart, into buffer. */
KERNEL void pool_down(const int largest, const number *input, ptrdiff_t row_stride, int rows, int width, scalar *buffer) {
  for (int x = 0; x < width; x += LANES) {
    vec sum = load(input + x);
    for (int r = 1; r < rows; r++) sum = pool_pair(largest, sum, load(input + r * row_stride + x));
    store_scalars(buffer + x, sum);
  }
}

/* Vector `x`, x + 1, ... of a horizontal pool of buffer. */
KERNEL vec pool_along(const int largest, const int kernel, const int stride, const int dilation, const scalar *buffer, int x) {
  vec sum = {0};
  if (stride > 2) {
    scalar lanes[LANES];
    for (int i = 0; i < LANES; i++) {
      vec one = spread_scalar(buffer[(x + i) * stride]);
      for (int tap = 1; tap < kernel; tap++) one = pool_pair(largest, one, spread_scalar(buffer[(x + i) * stride + tap * dilation]));
      lanes[i] = one[0];
    }
    return load_scalars(lanes);
  }
  UNROLL for (int tap = 0; tap < kernel; tap++) {
    const scalar *const at = buffer + x * stride + tap * dilation;
    const vec next = stride == 2 ? EVEN(load_scalars(at), load_scalars(at + LANES)) : load_scalars(at);
    sum = tap ? pool_pair(largest, sum, next) : next;
  }
  return stride == 2 ? in_order(sum) : sum;
}

/* All planes. An average is the sum times row_scale[y] times column_scale[x]: one over the numbers counted. */
KERNEL void pool_planes(const int largest, const struct window w, const int output_height, const int activation, int planes,
                        const number *input, const int32_t *from, number *output, const int32_t *to,
                        const float *row_scale, const float *column_scale, float alpha, float beta, scalar *buffer) {
  const scalar nothing = (scalar)(largest ? -__builtin_inff() : 0);
  const int reach = (w.output_width - 1) * w.stride_x + (w.kernel_width - 1) * w.dilation_x + 1; /* columns that count */
  for (int x = 0; x < w.left; x++) buffer[x] = nothing;
  for (int plane = 0; plane < planes; plane++)
    for (int y = 0; y < output_height; y++) {
      int tap = 0, end = w.kernel_height;
      const int first = y * w.stride_y - w.top;
      while (first + tap * w.dilation_y < 0) tap++;
      while (first + (end - 1) * w.dilation_y >= w.height) end--;
      const number *const rows = input + from[plane] + (ptrdiff_t)(first + tap * w.dilation_y) * w.width;
      pool_down(largest, rows, (ptrdiff_t)w.dilation_y * w.width, end - tap, w.width, buffer + w.left);
      for (int x = w.left + w.width; x < reach; x++) buffer[x] = nothing;
      number *const row = output + to[plane] + (ptrdiff_t)y * w.output_width;
      for (int x = 0; x < w.output_width; x += LANES) {
        if (x + LANES > w.output_width && w.output_width >= LANES) x = w.output_width - LANES;
        vec sum = pool_along(largest, w.kernel_width, w.stride_x, w.dilation_x, buffer, x);
        if (!largest) sum *= to_vec(row_scale[y] * load_floats(column_scale + x));
        sum = activate(activation, sum, alpha, beta);
        if (w.output_width >= LANES) store(row + x, sum);
        else store_first(row, sum, w.output_width);
      }
    }
}
