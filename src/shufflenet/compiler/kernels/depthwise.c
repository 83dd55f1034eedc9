/* The depthwise 3×3, padding 1, direct on planes. A sweep goes down one vector of columns; each input row that it loads serves
   the (at most three) output rows that meet it. Beyond the left and right edge the loads find other rows' numbers, which the
   masks turn into zeros; rows beyond the top and bottom are left out. */

/* Lanes whose column lies inside a row: lane i reads column first + i · step. */
KERNEL bits inside(int first, int step, int width) {
  const bits column = count_from(0) * step + first;
  return (column >= 0) & (column < width);
}

KERNEL vec masked(vec x, bits mask) { return (vec)((bits)x & mask); }

/* Weights times the three neighbours of a row, on top of sum. */
KERNEL vec three_taps(vec sum, const float *weights, const vec x[3]) {
  UNROLL for (int i = 0; i < 3; i++) sum = multiply_add(splat(weights[i]), x[i], sum);
  return sum;
}

/* Output columns [column, column + LANES) of a whole plane; of the last `partial` only the first lanes count. */
KERNEL void depthwise_sweep(const int stride, const int height, const int width, const int edge, const int activation,
                            int column, int lanes, const float *input, const float *weights, float bias, float *output,
                            float alpha, float beta) {
  const int output_height = (height - 1) / stride + 1, output_width = (width - 1) / stride + 1;
  bits left = {0}, right = {0};
  if (edge) {
    left = inside(column * stride - 1, stride, width);
    right = inside(column * stride + 1, stride, width);
    if (LANES == 8 && stride == 2) { /* as EVEN and ODD leave them */
      left = (bits)in_order((vec)left);
      right = (bits)in_order((vec)right);
    }
  }
  vec above = splat(bias), here = splat(bias); /* the output rows above the input row, and at it, so far */
  input += column * stride;
  for (int y = 0; y < height; y++, input += width) {
    vec x[3];
    if (stride == 1) {
      UNROLL for (int i = 0; i < 3; i++) x[i] = load(input + i - 1);
    } else {
      const vec first = load(input), second = load(input + LANES);
      x[0] = EVEN(load(input - 1), load(input - 1 + LANES));
      x[1] = EVEN(first, second);
      x[2] = ODD(first, second);
    }
    if (edge) {
      x[0] = masked(x[0], left);
      x[2] = masked(x[2], right);
    }
    int done = -1; /* the output row that is complete */
    vec result = above;
    if (stride == 1) {
      result = three_taps(above, weights + 6, x);
      above = three_taps(here, weights + 3, x);
      here = three_taps(splat(bias), weights, x);
      done = y - 1;
    } else if (y % 2 == 0) {
      above = three_taps(above, weights + 3, x);
      if (y == height - 1) done = y / 2, result = above;
    } else {
      result = three_taps(above, weights + 6, x);
      above = three_taps(splat(bias), weights, x);
      done = y / 2;
    }
    if (done < 0) continue;
    result = activate(activation, stride == 2 ? in_order(result) : result, alpha, beta);
    float *const to = output + (ptrdiff_t)done * output_width + column;
    if (lanes == LANES) store(to, result);
    else store_first(to, result, lanes);
  }
  if (stride == 1) {
    above = activate(activation, above, alpha, beta);
    float *const to = output + (ptrdiff_t)(output_height - 1) * output_width + column;
    if (lanes == LANES) store(to, above);
    else store_first(to, above, lanes);
  }
}

/* Every plane: sweeps side by side, the last one moved left so that it ends with the row. */
KERNEL void depthwise_planes(const int stride, const int height, const int width, const int activation, int planes,
                             const float *weights, const float *bias, const float *input, const int32_t *from,
                             float *output, const int32_t *to, float alpha, float beta) {
  const int output_width = (width - 1) / stride + 1;
  for (int plane = 0; plane < planes; plane++, weights += 9) {
    const float *const x = input + from[plane];
    float *const y = output + to[plane];
    if (output_width <= LANES) {
      depthwise_sweep(stride, height, width, 1, activation, 0, output_width, x, weights, bias[plane], y, alpha, beta);
    } else {
      depthwise_sweep(stride, height, width, 1, activation, 0, LANES, x, weights, bias[plane], y, alpha, beta);
      for (int column = LANES; column < output_width - LANES; column += LANES)
        depthwise_sweep(stride, height, width, 0, activation, column, LANES, x, weights, bias[plane], y, alpha, beta);
      depthwise_sweep(stride, height, width, 1, activation, output_width - LANES, LANES, x, weights, bias[plane], y, alpha, beta);
    }
  }
}
