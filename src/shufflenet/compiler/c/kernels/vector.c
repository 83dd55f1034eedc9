/* A product with one pixel: a matrix times a vector. Every weight is used once, so they are read in the order in which they lie
   in memory: [block of rows][inner][row]. A block is of whole vectors, and of 32 rows at most. */
enum { CHAINS = LANES == 16 ? 4 : LANES == 8 ? 2 : 1 }; /* they hide the latency of an addition */

KERNEL void matrix_times_vector(const int block, const int flags, const int activation, struct product p, int rows) {
  const int vectors = block / LANES, at_once = vectors > 8 ? 8 : vectors;
  for (int row = 0; row < rows; row += block) {
    float y[32];
    for (int first = 0; first < vectors; first += at_once) {
      wide sum[CHAINS][8];
      UNROLL for (int c = 0; c < CHAINS; c++)
        UNROLL for (int v = 0; v < at_once; v++) sum[c][v] = c ? (wide){0} : load_weights(p.bias + row + (first + v) * LANES);
      const weight *weights = p.weights + (ptrdiff_t)row * p.inner + first * LANES;
      int k = 0;
      for (; k + CHAINS <= p.inner; k += CHAINS)
        UNROLL for (int c = 0; c < CHAINS; c++)
          UNROLL for (int v = 0; v < at_once; v++) sum[c][v] += from_number(p.input[k + c]) * load_weights(weights + (k + c) * block + v * LANES);
      for (; k < p.inner; k++)
        UNROLL for (int v = 0; v < at_once; v++) sum[0][v] += from_number(p.input[k]) * load_weights(weights + k * block + v * LANES);
      UNROLL for (int v = 0; v < at_once; v++) {
        UNROLL for (int c = 1; c < CHAINS; c++) sum[0][v] += sum[c][v];
        store_floats(y + (first + v) * LANES, sum[0][v]);
      }
    }
    for (int r = 0; r < block && row + r < rows; r++) {
      if (flags & ADD) y[r] += from_number(p.addend[p.from[row + r]]);
      p.output[p.to[row + r]] = to_number(activate_one(activation, y[r], p.alpha, p.beta));
    }
  }
}
