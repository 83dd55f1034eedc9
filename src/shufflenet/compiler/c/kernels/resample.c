/* (rows, inner) × (inner, columns): a product of two matrices, one of which has zeros outside of a band. Of row i of that one the
   numbers from bands[2 * i] up to bands[2 * i + 1] count. `weights` are the left one or the right one. */
enum { MOST_COLUMNS = 64 }; /* that are summed up at a time */

KERNEL void banded_product(const int from_left, const int rows, const int inner, const int columns, const int32_t *bands,
                           const weight *weights, const number *input, number *output) {
  for (int row = 0; row < rows; row++, output += columns) {
    const int first = from_left ? bands[2 * row] : 0, end = from_left ? bands[2 * row + 1] : inner;
    for (int begin = 0; begin < columns; begin += MOST_COLUMNS) {
      const int last = begin + MOST_COLUMNS < columns ? begin + MOST_COLUMNS : columns;
      float sum[MOST_COLUMNS] = {0};
      for (int k = first; k < end; k++) {
        int x = from_left ? 0 : bands[2 * k], end_column = from_left ? columns : bands[2 * k + 1];
        x = x > begin ? x : begin;
        end_column = end_column < last ? end_column : last;
        for (; x < end_column; x++)
          sum[x - begin] += from_left ? from_weight(weights[row * inner + k]) * from_number(input[k * columns + x])
                                      : from_number(input[row * inner + k]) * from_weight(weights[k * columns + x]);
      }
      for (int x = begin; x < last; x++) output[x] = to_number(sum[x - begin]);
    }
  }
}

/* Planes whose rows (weights from the left) or columns (from the right) are weighted sums of the input's. */
KERNEL void resample_planes(const int from_left, const int rows, const int inner, const int columns, const int32_t *bands,
                            const weight *weights, int count, const number *input, const int32_t *from, number *output,
                            const int32_t *to) {
  for (int plane = 0; plane < count; plane++) {
    banded_product(from_left, rows, inner, columns, bands, weights, input + from[plane], output + to[plane]);
  }
}

/* Planes of rows × columns, with every row `down` times and every number of it `across` times. */
KERNEL void repeat_planes(const int rows, const int columns, const int down, const int across, int count, const number *input,
                          const int32_t *from, number *output, const int32_t *to) {
  /* Rows that are not repeated are one long one. */
  const int lines = down == 1 ? 1 : rows, length = down == 1 ? rows * columns : columns, width = length * across;
  for (int plane = 0; plane < count; plane++) {
    const number *x = input + from[plane];
    number *y = output + to[plane];
    for (int line = 0; line < lines; line++, x += length, y += down * width) {
      int i = 0;
      if (across == 1) {
        memcpy(y, x, sizeof(number) * (size_t)length);
        i = length;
      } else if (across == 2)
        for (; i + LANES <= length; i += LANES) {
          const vec numbers = load(x + i);
          store(y + 2 * i, FIRST_HALF(numbers, numbers));
          store(y + 2 * i + LANES, LAST_HALF(numbers, numbers));
        }
      for (; i < length; i++)
        for (int time = 0; time < across; time++) y[i * across + time] = x[i];
      for (int time = 1; time < down; time++) memcpy(y + time * width, y, sizeof(number) * (size_t)width);
    }
  }
}
