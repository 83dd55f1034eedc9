/* The depthwise 3×3, padding 1, direct on planes. A sweep goes down one vector of columns; each input row that it loads serves
   the (at most three) output rows that meet it. Beyond the left and right edge the loads find other rows' numbers, which the
   masks turn into zeros; rows beyond the top and bottom are left out. */

/* Lanes whose column lies inside a row: lane i reads column first + i · step. */
KERNEL bits inside(int first, int step, int width) {
  const bits column = count_from(0) * (lane)step + (lane)first;
  return (column >= 0) & (column < (lane)width);
}

KERNEL vec masked(vec x, bits mask) { return (vec)((bits)x & mask); }

/* Weights times the three neighbours of a row, on top of sum. */
KERNEL vec three_taps(vec sum, const scalar *weights, const vec x[3]) {
  UNROLL for (int i = 0; i < 3; i++) sum = multiply_add(spread_scalar(weights[i]), x[i], sum);
  return sum;
}

/* What one input row shows to LANES output columns: their left neighbours, they themselves, their right neighbours. */
KERNEL void neighbours(const int stride, const int edge, bits left, bits right, const number *row, vec x[3]) {
  if (stride == 1) {
    UNROLL for (int i = 0; i < 3; i++) x[i] = load(row + i - 1);
  } else {
    const vec first = load(row), second = load(row + LANES);
    x[0] = EVEN(load(row - 1), load(row - 1 + LANES));
    x[1] = EVEN(first, second);
    x[2] = ODD(first, second);
  }
  if (edge) {
    x[0] = masked(x[0], left);
    x[2] = masked(x[2], right);
  }
}

/* Output columns [column, column + LANES), of which the first `lanes` count, of `rows` rows from row `first` of a plane on, where
   `output` begins; `input` begins with the row that has the first one in its middle. */
KERNEL void depthwise_sweep(const int stride, const int height, const int width, const int edge, const int activation, const int rows,
                            int first, int column, int lanes, const number *input, const scalar *weights, float bias, number *output,
                            float alpha, float beta) {
  const int output_width = (width - 1) / stride + 1;
  bits left = {0}, right = {0};
  if (edge) {
    left = inside(column * stride - 1, stride, width);
    right = inside(column * stride + 1, stride, width);
    if (stride == 2) { /* as EVEN and ODD leave them */
      left = (bits)in_order((vec)left);
      right = (bits)in_order((vec)right);
    }
  }
  vec x[3], above, here = splat(bias); /* sums so far: of the output row that the next input row completes, and of the one after */
  const number *row = input + column * stride;
  if (first > 0) {
    neighbours(stride, edge, left, right, row - width, x);
    here = three_taps(here, weights, x);
  }
  if (stride == 1) {
    neighbours(stride, edge, left, right, row, x);
    row += width;
    above = three_taps(here, weights + 3, x);
    here = three_taps(splat(bias), weights, x);
  }
  for (int r = 0; r < rows; r++) {
    if (stride == 2) {
      neighbours(stride, edge, left, right, row, x);
      row += width;
      above = three_taps(here, weights + 3, x);
    }
    vec result = above;
    if (r + 1 < rows || stride * (first + r) + 1 < height) {
      neighbours(stride, edge, left, right, row, x);
      row += width;
      result = three_taps(above, weights + 6, x);
      if (stride == 1) above = three_taps(here, weights + 3, x);
      here = three_taps(splat(bias), weights, x);
    }
    result = activate(activation, stride == 2 ? in_order(result) : result, alpha, beta);
    number *const to = output + (ptrdiff_t)r * output_width + column;
    /* Where a vector is too wide, the rows below make it good. */
    if (lanes == LANES || (rows - r) * output_width >= LANES) store(to, result);
    else store_first(to, result, lanes);
  }
}

/* So many rows of every plane: sweeps side by side, the last one moved left so that it ends with the row. */
KERNEL void depthwise_planes(const int stride, const int height, const int width, const int activation, const int planes, const int rows,
                             int first, const weight *weights, const weight *bias, const number *input, const int32_t *from,
                             number *output, const int32_t *to, float alpha, float beta) {
  const int output_width = (width - 1) / stride + 1;
  const int last = output_width < LANES ? 0 : output_width - LANES, lanes = output_width < LANES ? output_width : LANES;
  for (int plane = 0; plane < planes; plane++, weights += 9) {
    const number *const x = input + from[plane];
    number *const y = output + to[plane];
    scalar room[9 + LANES];
    const scalar *const w = factors_of(weights, 9, room);
    const float b = from_weight(bias[plane]);
    if (last > 0)
      depthwise_sweep(stride, height, width, 1, activation, rows, first, 0, LANES, x, w, b, y, alpha, beta);
    for (int column = LANES; column < last; column += LANES)
      depthwise_sweep(stride, height, width, 0, activation, rows, first, column, LANES, x, w, b, y, alpha, beta);
    depthwise_sweep(stride, height, width, 1, activation, rows, first, last, lanes, x, w, b, y, alpha, beta);
  }
}
