/* Products: weights × pixels. Row m of the product is an output plane, which `to` may put anywhere: a channel shuffle costs
   nothing. A tile of rows × vectors of pixels stays in registers while all input planes pass by. */
struct product {
  const weight *weights;   /* [inner][rows of the block] */
  const weight *bias;      /* [rows] */
  const number *input;     /* the first input plane */
  const int32_t *taps;     /* TAPS: [inner], where each input vector starts, instead of a constant stride */
  number *output;
  const number *addend;    /* ADD: what is added before the activation */
  const int32_t *to;       /* [rows], where in output each row's plane starts */
  const int32_t *from;     /* [rows], where in addend */
  ptrdiff_t input_stride;  /* from one input plane to the next */
  int inner;               /* input planes */
  int rows;                /* rows of a block of weights */
  float alpha, beta;       /* of the activation */
#ifdef HALF_WEIGHTS
  const scalar *factors;   /* a block's weights as they are multiplied by */
#endif
};
#ifdef HALF_WEIGHTS
#define FACTORS(P) (P)->factors
#else
#define FACTORS(P) (P)->weights
#endif
enum {
  ADD = 1,
  TAPS = 2,
  RESUME = 4, /* start from what output holds, not from the bias */
  FAR = 8     /* planes come from beyond the caches, and no processor foresees an order of so many: fetch them ahead */
};

enum { LINE_VECTORS = 64 / sizeof(number) / LANES }; /* of a cache line */

/* Sums of halves lose what they take in as they grow: so many input planes are summed up in halves, and those sums in floats. */
#ifdef HALF_ARITHMETIC
enum { SUM_INNER = 40 };
#else
enum { SUM_INNER = 0 };
#endif

/* A place that the compiler cannot see through: what is there stays in memory, for the registers are the products'. */
KERNEL float *in_memory(float *place) {
  __asm__("" : "+r"(place) : : "memory");
  return place;
}

KERNEL void product_tile(const int rows, const int vectors, const int flags, const int activation,
                         const struct product *p, int row, int pixel) {
  vec sum[24][8];
  const int32_t *const to = p->to + row, *const from = p->from + row;
  number *const output = p->output + pixel;
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++)
      sum[r][v] = flags & RESUME ? load(output + to[r] + v * LANES) : splat(from_weight(p->bias[row + r]));

  if (flags & FAR && !(flags & RESUME))
    UNROLL for (int r = 0; r < rows; r++)
      UNROLL for (int v = 0; v < vectors; v += LINE_VECTORS)
        __builtin_prefetch((flags & ADD ? p->addend + from[r] + pixel : output + to[r]) + v * LANES);

  const scalar *weights = FACTORS(p) + row;
  const number *input = p->input + pixel;
  const ptrdiff_t input_stride = p->input_stride, rows_stride = p->rows;
  const int32_t *const taps = p->taps;
  const ptrdiff_t next_block = (ptrdiff_t)p->inner * p->rows; /* weights come from far: fetch those of the block after this one */
  float totals[SUM_INNER > 0 ? 32 * LANES : 1];
  const int inner = p->inner;
  int k = 0, end = 0;
  while (1) {
    end = SUM_INNER > 0 && inner - end > SUM_INNER ? end + SUM_INNER : inner;
    for (; k < end; k++) {
      OPAQUE(weights);
      OPAQUE(input);
      vec x[8];
      UNROLL for (int v = 0; v < vectors; v++) x[v] = load((flags & TAPS ? input + taps[k] : input) + (unsigned)v * LANES);
      UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = multiply_add(spread_scalar(weights[(unsigned)r]), x[v], sum[r][v]);
      UNROLL for (int r = 0; r < rows; r += 16) __builtin_prefetch(weights + next_block + r);
      if (flags & FAR) /* the next tile's pixels */
        UNROLL for (int v = 0; v < vectors; v += LINE_VECTORS) __builtin_prefetch(input + (vectors + v) * LANES, 0, 2);
      weights += rows_stride;
      if (!(flags & TAPS)) input += input_stride;
    }
    if (end == inner) break;
    float *const total = in_memory(totals);
    if (end > SUM_INNER)
      UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
          float *const t = total + (r * vectors + v) * LANES;
          store_floats(t, load_floats(t) + to_wide(sum[r][v]));
          sum[r][v] = (vec){0};
        }
    else
      UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
          store_floats(total + (r * vectors + v) * LANES, to_wide(sum[r][v]));
          sum[r][v] = (vec){0};
        }
  }

  if (SUM_INNER > 0 && inner > SUM_INNER) {
    const float *const total = in_memory(totals);
    UNROLL for (int r = 0; r < rows; r++)
      UNROLL for (int v = 0; v < vectors; v++)
        sum[r][v] = to_vec(to_wide(sum[r][v]) + load_floats(total + (r * vectors + v) * LANES));
  }
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int v = 0; v < vectors; v++) {
      vec y = sum[r][v];
      if (flags & ADD) y += load(p->addend + from[r] + pixel + v * LANES);
      store(output + to[r] + v * LANES, activate(activation, y, p->alpha, p->beta));
    }
}

/* A few pixels of all rows of a block, vectorised over rows: what a plane has beyond whole vectors. Where sums are few, `chains`
   input planes are summed up side by side, to hide the latency of an addition. */
KERNEL void product_pixels(const int pixels, const int vectors, const int chains, const int flags, const int activation,
                           const struct product *p, int pixel) {
  vec sum[4][8][16];
  UNROLL for (int c = 0; c < chains; c++)
    UNROLL for (int i = 0; i < pixels; i++)
      UNROLL for (int v = 0; v < vectors; v++) sum[c][i][v] = (vec){0};
  const scalar *weights = FACTORS(p);
  const number *input = p->input + pixel;
  const ptrdiff_t input_stride = p->input_stride, rows_stride = p->rows;
  float y[8][16 * LANES];
  const int inner = p->inner;
  int k = 0, end = 0;
  do {
    const int begin = end;
    end = SUM_INNER > 0 && inner - end > SUM_INNER * chains ? end + SUM_INNER * chains : inner;
    for (; k + chains <= end; k += chains)
      UNROLL for (int c = 0; c < chains; c++, weights += rows_stride, input += input_stride)
        UNROLL for (int v = 0; v < vectors; v++) {
          const vec w = load_scalars(weights + v * LANES);
          UNROLL for (int i = 0; i < pixels; i++) sum[c][i][v] = multiply_add(spread(input[i]), w, sum[c][i][v]);
        }
    for (; k < end; k++, weights += rows_stride, input += input_stride)
      UNROLL for (int v = 0; v < vectors; v++)
        UNROLL for (int i = 0; i < pixels; i++) sum[0][i][v] += spread(input[i]) * load_scalars(weights + v * LANES);
    UNROLL for (int i = 0; i < pixels; i++)
      UNROLL for (int v = 0; v < vectors; v++) {
        wide total = to_wide(sum[0][i][v]);
        UNROLL for (int c = 1; c < chains; c++) total += to_wide(sum[c][i][v]);
        store_floats(y[i] + v * LANES, begin ? total + load_floats(y[i] + v * LANES) : total);
        UNROLL for (int c = 0; c < chains; c++) sum[c][i][v] = (vec){0};
      }
  } while (end < inner);
  for (int r = 0; r < p->rows; r++)
    for (int i = 0; i < pixels; i++) {
      number *const output = p->output + p->to[r] + pixel + i;
      float z = y[i][r] + (flags & RESUME ? from_number(*output) : from_weight(p->bias[r]));
      if (flags & ADD) z += from_number(p->addend[p->from[r] + pixel + i]);
      *output = to_number(activate_one(activation, z, p->alpha, p->beta));
    }
}

#define PRODUCT_TILE(NAME, ROWS, VECTORS, FLAGS, ACTIVATION) \
  ROUTINE void NAME(const struct product *p, int row, int pixel) { product_tile(ROWS, VECTORS, FLAGS, ACTIVATION, p, row, pixel); }
#define PRODUCT_PIXELS(NAME, PIXELS, VECTORS, CHAINS, FLAGS, ACTIVATION) \
  ROUTINE void NAME(const struct product *p, int pixel) { product_pixels(PIXELS, VECTORS, CHAINS, FLAGS, ACTIVATION, p, pixel); }

/* All tiles of one shape: rows [ROW, END_ROW) × vectors [VECTOR, END_VECTOR) of the block that p names. */
#define TILES(NAME, ROWS, VECTORS, ROW, END_ROW, VECTOR, END_VECTOR) \
  for (int v = VECTOR; v < END_VECTOR; v += VECTORS) \
    for (int r = ROW; r < END_ROW; r += ROWS) NAME(&p, r, v * LANES)
#define PIXELS(NAME, PIXELS, PIXEL, END_PIXEL) \
  for (int pixel = PIXEL; pixel < END_PIXEL; pixel += PIXELS) NAME(&p, pixel)

/* On to the next block of weights, which makes the next `count` rows. */
KERNEL void next_rows(struct product *p, int count) {
  p->weights += (ptrdiff_t)p->inner * count;
  p->bias += count;
  p->to += count;
  p->from += count;
}
