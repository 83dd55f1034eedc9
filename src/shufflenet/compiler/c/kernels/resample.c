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

/* Planes of rows × columns, with every row `down` times and every number of it `across` times. */
KERNEL void repeat_planes(const int rows, const int columns, const int down, const int across, int count, const float *input,
                          const int32_t *from, float *output, const int32_t *to) {
  const int width = columns * across;
  for (int plane = 0; plane < count; plane++) {
    const float *x = input + from[plane];
    float *y = output + to[plane];
    for (int row = 0; row < rows; row++, x += columns) {
      int i = 0;
      if (across == 2)
        for (; i + LANES <= columns; i += LANES) {
          const vec numbers = load(x + i);
          store(y + 2 * i, FIRST_HALF(numbers, numbers));
          store(y + 2 * i + LANES, LAST_HALF(numbers, numbers));
        }
      for (; i < columns; i++)
        for (int time = 0; time < across; time++) y[i * across + time] = x[i];
      for (int time = 1; time < down; time++) memcpy(y + time * width, y, sizeof(float) * (size_t)width);
      y += down * width;
    }
  }
}
