/* A product with one pixel: a matrix times a vector. Every weight is used once, so they are read in the order in which they lie
   in memory: [block of 32 rows][inner][32]. */
enum { VECTOR_ROWS = 32, CHAINS = LANES == 16 ? 4 : LANES == 8 ? 2 : 1 }; /* chains hide the latency of an addition */

KERNEL void matrix_times_vector(const int flags, const int activation, struct product p, int rows) {
  enum { VECTORS = VECTOR_ROWS / LANES, AT_ONCE = VECTORS > 8 ? 8 : VECTORS };
  for (int row = 0; row < rows; row += VECTOR_ROWS) {
    float y[VECTOR_ROWS];
    for (int first = 0; first < VECTORS; first += AT_ONCE) {
      vec sum[CHAINS][AT_ONCE];
      UNROLL for (int c = 0; c < CHAINS; c++)
        UNROLL for (int v = 0; v < AT_ONCE; v++) sum[c][v] = c ? (vec){0} : load(p.bias + row + (first + v) * LANES);
      const float *weights = p.weights + (ptrdiff_t)row * p.inner + first * LANES;
      int k = 0;
      for (; k + CHAINS <= p.inner; k += CHAINS)
        UNROLL for (int c = 0; c < CHAINS; c++)
          UNROLL for (int v = 0; v < AT_ONCE; v++) sum[c][v] += p.input[k + c] * load(weights + (k + c) * VECTOR_ROWS + v * LANES);
      for (; k < p.inner; k++)
        UNROLL for (int v = 0; v < AT_ONCE; v++) sum[0][v] += p.input[k] * load(weights + k * VECTOR_ROWS + v * LANES);
      UNROLL for (int v = 0; v < AT_ONCE; v++) {
        UNROLL for (int c = 1; c < CHAINS; c++) sum[0][v] += sum[c][v];
        store(y + (first + v) * LANES, sum[0][v]);
      }
    }
    for (int r = 0; r < VECTOR_ROWS && row + r < rows; r++) {
      if (flags & ADD) y[r] += p.addend[p.from[row + r]];
      p.output[p.to[row + r]] = activate_one(activation, y[r], p.alpha, p.beta);
    }
  }
}
