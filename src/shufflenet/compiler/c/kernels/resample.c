/* (rows, inner) × (inner, columns): a product of two matrices, one of which has zeros outside of a band. Of row i of that one the
   numbers from bands[2 * i] up to bands[2 * i + 1] count. */
KERNEL void banded_product(const int from_left, const int rows, const int inner, const int columns, const int32_t *bands,
                           const float *left, const float *right, float *output) {
  for (int row = 0; row < rows; row++, output += columns) {
    const int first = from_left ? bands[2 * row] : 0, end = from_left ? bands[2 * row + 1] : inner;
    for (int x = 0; x < columns; x++) output[x] = 0;
    for (int k = first; k < end; k++) {
      const int first_column = from_left ? 0 : bands[2 * k], end_column = from_left ? columns : bands[2 * k + 1];
      for (int x = first_column; x < end_column; x++) output[x] += left[row * inner + k] * right[k * columns + x];
    }
  }
}

/* Planes whose rows (weights from the left) or columns (from the right) are weighted sums of the input's. */
KERNEL void resample_planes(const int from_left, const int rows, const int inner, const int columns, const int32_t *bands,
                            const float *weights, int count, const float *input, const int32_t *from, float *output,
                            const int32_t *to) {
  for (int plane = 0; plane < count; plane++) {
    const float *const x = input + from[plane];
    banded_product(from_left, rows, inner, columns, bands, from_left ? weights : x, from_left ? x : weights, output + to[plane]);
  }
}
