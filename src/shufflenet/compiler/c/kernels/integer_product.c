/* Integer products: weights × pixels, 8 bits each, 32-bit sums. DEPTH planes at a time, a block of BYTES pixels is packed into four
   vectors of a panel, which all rows of a tile read. A row's sums then become bytes of its output plane, which `to` may put anywhere: a
   channel shuffle costs nothing. The sum becomes a byte by one float32 multiplication, rounded to the nearest, halves to the even; every
   machine gives the same byte. */
struct integer_product {
  const int8_t *weights;         /* [inner / 4][rows of the block][4] */
  const int32_t *bias;           /* [rows], for bytes as they are: the zero points are in it */
  const int32_t *weight_sums;    /* [rows], for machines that take OFFSET from every byte */
  const float *scale;            /* [rows] */
  const uint8_t *panel;          /* [block][inner / DEPTH][4] vectors, then, if a vector has the last pixels, [inner / DEPTH][1] */
  int32_t *wide;                 /* room for a tile's weights, 4 bytes each, where DEPTH is not 4 */
  uint8_t *output;
  const uint8_t *addend;         /* ADD_BYTES: another tensor at the same places, */
  const int32_t *addend_weights; /* [rows], and what its bytes count in the sum: numbers of 16 bits */
  const int32_t *shifts;         /* SHIFT_SUMS: [rows], how far the sum is shifted before, */
  const int32_t *addend_bias;    /* [rows], and what is added then */
  const int32_t *to;             /* [rows], where in output each row's plane starts */
  const int32_t *from;           /* [rows], where in addend */
  int quads;                     /* of input planes */
  int rows;                      /* of the block of weights */
  int zero, low, high;           /* the output's zero point and bounds */
};

/* BYTES pixels of four planes → DEPTH channels a lane. */
KERNEL void pack_quad(const uint8_t *const plane[4], int pixel, int8_t *to) {
  words a[4];
  UNROLL for (int i = 0; i < 4; i++) a[i] = load_bytes(plane[i] + pixel);
#if DEPTH == 4
  const words even = (words){0} + 0x00FF00FFu, low = (words){0} + 0x0000FFFFu, flip = (words){0} + 0x01010101u * OFFSET;
  const words ab0 = (a[0] & even) | ((a[1] & even) << 8), ab1 = ((a[0] >> 8) & even) | (a[1] & ~even);
  const words cd0 = (a[2] & even) | ((a[3] & even) << 8), cd1 = ((a[2] >> 8) & even) | (a[3] & ~even);
  store_ints(to, (ints)(((ab0 & low) | (cd0 << 16)) ^ flip));
  store_ints(to + BYTES, (ints)(((ab1 & low) | (cd1 << 16)) ^ flip));
  store_ints(to + 2 * BYTES, (ints)(((ab0 >> 16) | (cd0 & ~low)) ^ flip));
  store_ints(to + 3 * BYTES, (ints)(((ab1 >> 16) | (cd1 & ~low)) ^ flip));
#elif DEPTH == 2
  const words even = (words){0} + 0x00FF00FFu, low = (words){0} + 0x0000FFFFu;
  UNROLL for (int i = 0; i < 2; i++) {
    const words a0 = a[2 * i] & even, a1 = (a[2 * i] >> 8) & even, b0 = a[2 * i + 1] & even, b1 = (a[2 * i + 1] >> 8) & even;
    store_ints(to, (ints)((a0 & low) | (b0 << 16)));
    store_ints(to + BYTES, (ints)((a1 & low) | (b1 << 16)));
    store_ints(to + 2 * BYTES, (ints)((a0 >> 16) | (b0 & ~low)));
    store_ints(to + 3 * BYTES, (ints)((a1 >> 16) | (b1 & ~low)));
    to += 4 * BYTES;
  }
#else
  UNROLL for (int i = 0; i < 4; i++, to += 4 * BYTES)
    UNROLL for (int j = 0; j < 4; j++) store_ints(to + j * BYTES, (ints)((a[i] >> 8 * j) & 255));
#endif
}


/* The same of LANES pixels: one vector, in their order. */
KERNEL void pack_quad_tail(const uint8_t *const plane[4], int pixel, int8_t *to) {
  words a[4];
  UNROLL for (int i = 0; i < 4; i++) {
    quarter x;
    memcpy(&x, plane[i] + pixel, sizeof x);
    a[i] = __builtin_convertvector(x, words);
  }
#if DEPTH == 4
  store_ints(to, (ints)((a[0] | a[1] << 8 | a[2] << 16 | a[3] << 24) ^ 0x01010101u * OFFSET));
#elif DEPTH == 2
  store_ints(to, (ints)(a[0] | a[1] << 16));
  store_ints(to + BYTES, (ints)(a[2] | a[3] << 16));
#else
  UNROLL for (int i = 0; i < 4; i++) store_ints(to + i * BYTES, (ints)a[i]);
#endif
}

/* `blocks` blocks of pixels from `first` on, of `inner` planes `stride` bytes apart; then, if `tail`, LANES pixels more.
   What lies beyond the last plane or pixel is never used. */
KERNEL void pack_pixels(const uint8_t *input, ptrdiff_t stride, int inner, int first, int blocks, int tail, int8_t *panel) {
  for (int block = 0; block < blocks + tail; block++)
    for (int k = 0; k < inner; k += 4) {
      const uint8_t *plane[4];
      for (int i = 0; i < 4; i++) plane[i] = input + (k + i < inner ? k + i : inner - 1) * stride;
      if (block < blocks) pack_quad(plane, first + BYTES * block, panel), panel += 4 / DEPTH * 4 * BYTES;
      else pack_quad_tail(plane, first + BYTES * block, panel), panel += 4 / DEPTH * BYTES;
    }
}

/* A tile's weights as DEPTH wants them. */
KERNEL void widen(const int rows, const int8_t *weights, int quads, int stride, int32_t *to) {
#if DEPTH == 2
  for (int k = 0; k < quads; k++, weights += 4 * stride, to += 2 * rows)
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < 2; i++)
        to[i * rows + r] = (int32_t)((uint32_t)(uint16_t)weights[4 * r + 2 * i] | (uint32_t)weights[4 * r + 2 * i + 1] << 16);
#elif DEPTH == 1
  for (int k = 0; k < quads; k++, weights += 4 * stride, to += 4 * rows)
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < 4; i++) to[i * rows + r] = weights[4 * r + i];
#else
  (void)rows, (void)weights, (void)quads, (void)stride, (void)to;
#endif
}

enum {
  ADD_BYTES = 1, /* the addend belongs to the sum */
  SHIFT_SUMS = 2, /* and counts less than a unit of it */
  LARGE_SUMS = 4 /* a sum times its scale may be beyond 32 bits */
};

/* Sums of `vectors` = 4: a block's, or 1: the LANES pixels of a tail. */
KERNEL void integer_sums(const int rows, const int vectors, const int flags, const struct integer_product *p, int row,
                         const int32_t *w, ptrdiff_t weights_stride, const uint8_t *x, int pixel, int count) {
  const int32_t *const to = p->to + row, *const from = p->from + row;
  ints sum[8][4];
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int j = 0; j < vectors; j++) sum[r][j] = splat_int(p->bias[row + r] + OFFSET * p->weight_sums[row + r]);
  for (int k = p->quads * (4 / DEPTH); k > 0; k--, x += vectors * BYTES, w += weights_stride) {
    ints v[4];
    UNROLL for (int j = 0; j < vectors; j++) v[j] = load_ints(x + j * BYTES);
    UNROLL for (int r = 0; r < rows; r++)
      UNROLL for (int j = 0; j < vectors; j++) sum[r][j] = dot(sum[r][j], v[j], splat_int(w[r]));
  }
  UNROLL for (int r = 0; r < rows; r++) {
    if (flags & SHIFT_SUMS) {
      const ints shift = splat_int(p->shifts[row + r]), bias = splat_int(p->addend_bias[row + r]);
      UNROLL for (int j = 0; j < vectors; j++) sum[r][j] = (sum[r][j] << shift) + bias;
    }
    if (flags & ADD_BYTES) {
      const uint8_t *const addend = p->addend + from[r] + pixel;
      if (vectors == 4) add_scaled(sum[r], load_bytes(addend), p->addend_weights[row + r]);
      else {
        quarter a;
        memcpy(&a, addend, sizeof a);
        sum[r][0] += __builtin_convertvector(a, ints) * p->addend_weights[row + r];
      }
    }
    ints y[4];
    UNROLL for (int j = 0; j < vectors; j++) {
      vec z = to_float(sum[r][j]) * p->scale[row + r];
      if (flags & LARGE_SUMS) z = where(z > 1e9f, splat(1e9f), where(z < -1e9f, splat(-1e9f), z));
      y[j] = to_nearest(z);
    }
    UNROLL for (int j = vectors; j < 4; j++) y[j] = (ints){0};
    uint8_t *const output = p->output + to[r] + pixel;
    if (vectors == 4) {
      const words all = to_bytes(y, p->zero, p->low, p->high);
      if (count == BYTES) store_bytes(output, all);
      else memcpy(output, &all, (size_t)count);
    } else {
      const ints least = splat_int(p->low - p->zero), most = splat_int(p->high - p->zero);
      const ints above = where_int(y[0] > least, y[0], least);
      const quarter some = __builtin_convertvector(where_int(above < most, above, most) + p->zero, quarter);
      memcpy(output, &some, (size_t)count);
    }
  }
}

/* A tile of rows: `blocks` blocks of pixels, then those that are beyond the last: `last` of them, in a block or, if so few, a vector. */
KERNEL void integer_tile(const int rows, const int flags, const struct integer_product *p, int row, int blocks, int last) {
  const int32_t *weights = (const int32_t *)(p->weights + 4 * row);
  ptrdiff_t weights_stride = p->rows;
  if (DEPTH != 4) {
    widen(rows, p->weights + 4 * row, p->quads, p->rows, p->wide);
    weights = p->wide, weights_stride = rows;
  }
  const uint8_t *x = p->panel;
  int pixel = 0;
  for (int block = 0; block < blocks; block++, x += p->quads * (4 / DEPTH) * 4 * BYTES, pixel += BYTES)
    integer_sums(rows, 4, flags, p, row, weights, weights_stride, x, pixel, BYTES);
  if (last > LANES) integer_sums(rows, 4, flags, p, row, weights, weights_stride, x, pixel, last);
  else if (last) integer_sums(rows, 1, flags, p, row, weights, weights_stride, x, pixel, last);
}

#define INTEGER_TILE(NAME, ROWS, FLAGS) \
  ROUTINE void NAME(const struct integer_product *p, int row, int blocks, int last) { integer_tile(ROWS, FLAGS, p, row, blocks, last); }
