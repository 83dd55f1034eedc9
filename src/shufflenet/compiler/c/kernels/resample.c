/* (rows, inner) × (inner, columns): a small product of matrices. */
KERNEL void small_product(const int rows, const int inner, const int columns, const float *left, const float *right, float *output) {
  for (int row = 0; row < rows; row++, output += columns) {
    for (int x = 0; x < columns; x++) output[x] = 0;
    for (int k = 0; k < inner; k++)
      for (int x = 0; x < columns; x++) output[x] += left[row * inner + k] * right[k * columns + x];
  }
}

/* Planes whose rows (weights from the left) or columns (from the right) are weighted sums of the input's. */
KERNEL void resample_planes(const int from_left, const int rows, const int inner, const int columns, const float *weights, int count,
                            const float *input, const int32_t *from, float *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) {
    const float *const x = input + from[plane];
    small_product(rows, inner, columns, from_left ? weights : x, from_left ? x : weights, output + to[plane]);
  }
}
