/* Integer products: weights × pixels, 8 bits each, 32-bit sums. DEPTH planes at a time, a block of BYTES pixels is packed into four
   vectors of a panel, which all rows of a tile read. A row's sums then become bytes of its output plane, which `to` may put anywhere: a
   channel shuffle costs nothing. The sum becomes a byte by one float32 multiplication, rounded to the nearest, halves to the even; every
   machine gives the same byte. */
struct integer_product {
  const int8_t *weights;         /* [inner / 4][rows of the block][4] */
  const int32_t *bias;           /* [rows], for bytes as they are: the zero points are in it */
  const int32_t *weight_sums;    /* [rows], for machines that take OFFSET from every byte */
  const float *scale;            /* [rows] */
  const uint8_t *panel;          /* [block][inner / DEPTH][4] vectors, [inner / DEPTH][vectors beyond], [inner / 4][single pixel][4] */
  int32_t *wide;                 /* room for a tile's weights, 4 bytes each, where DEPTH is not 4 */
  uint8_t *output;
  float *numbers;                /* NUMBERS: in its place */
  const uint8_t *addend;         /* ADD_BYTES: another tensor at the same places, */
  const int32_t *addend_weights; /* [rows], and what its bytes count in the sum: numbers of 16 bits */
  const int32_t *shifts;         /* SHIFT_SUMS: [rows], how far the sum is shifted before, */
  const int32_t *addend_bias;    /* ADDEND_BIAS: [rows], and what is added then */
  const int32_t *to;             /* [rows], where in output each row's plane starts */
  const int32_t *from;           /* [rows], where in addend */
  int quads;                     /* of input planes */
  int first, rows;               /* of the block of weights */
  int pixels;
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


/* LANES pixels of four planes, four bytes each. */
KERNEL words pixels_of(const uint8_t *const plane[4], int pixel) {
  words all = {0};
  UNROLL for (int i = 0; i < 4; i++) {
    quarter x;
    memcpy(&x, plane[i] + pixel, sizeof x);
    all |= words_of(x) << 8 * i;
  }
  return all;
}

/* As DEPTH wants them: one vector of `vectors`. */
KERNEL void pack_quad_vector(const uint8_t *const plane[4], int pixel, int vectors, int8_t *to) {
  const words all = pixels_of(plane, pixel);
#if DEPTH == 4
  store_ints(to, (ints)(all ^ 0x01010101u * OFFSET));
#elif DEPTH == 2
  store_ints(to, (ints)((all & 255) | (all & 0xFF00) << 8));
  store_ints(to + vectors * BYTES, (ints)((all >> 16 & 255) | (all >> 8 & 0xFF0000)));
#else
  UNROLL for (int i = 0; i < 4; i++) store_ints(to + i * vectors * BYTES, (ints)(all >> 8 * i & 255));
#endif
  (void)vectors;
}

/* How so many pixels are multiplied: whole blocks; those of one more that is not whole, or so many vectors and single pixels. */
struct pixel_counts {
  int blocks, part, vectors, singles;
};

KERNEL struct pixel_counts count_pixels(int count) {
  struct pixel_counts n = {count / BYTES, 0, count % BYTES / LANES, count % LANES};
  if (n.singles > LANES / 4 && count > 1) n.vectors++, n.singles = 0;
  if (n.vectors == 4) n.part = count % BYTES, n.vectors = 0;
  if (count == 1) n.vectors = 0, n.singles = 1;
  return n;
}

/* Pixels that are packed at a time: even pieces of whole blocks, of as many as a panel of so many bytes has room for, `most` at most. */
KERNEL int chunk_pixels(int pixels, int most, int quads, int panel_bytes) {
  const int room = panel_bytes / (quads * (4 / DEPTH) * 4 * BYTES), blocks = (pixels + BYTES - 1) / BYTES;
  const int at_once = room < most / BYTES ? room : most / BYTES, pieces = at_once ? (blocks + at_once - 1) / at_once : 1;
  return (blocks + pieces - 1) / pieces * BYTES;
}

/* The pixels from `first` on of `inner` planes `stride` bytes apart. What lies beyond the last plane or pixel is never used. */
KERNEL void pack_pixels(const uint8_t *input, ptrdiff_t stride, int inner, int first, struct pixel_counts n, int8_t *panel) {
  const int blocks = n.blocks + (n.part > 0), parts = 4 / DEPTH;
  for (int block = 0; block < blocks + n.vectors + (n.singles > 0); block++) {
    const int vector = block - blocks;
    for (int k = 0; k < inner; k += 4) {
      const uint8_t *plane[4];
      for (int i = 0; i < 4; i++) plane[i] = input + (k + i < inner ? k + i : inner - 1) * stride;
      if (vector < 0) pack_quad(plane, first + BYTES * block, panel), panel += parts * 4 * BYTES;
      else if (vector < n.vectors)
        pack_quad_vector(plane, first + BYTES * blocks + LANES * vector, n.vectors, panel + (k / 4 * parts * n.vectors + vector) * BYTES);
      else { /* four bytes of each, as they are */
        const words all = pixels_of(plane, first + BYTES * blocks + LANES * n.vectors) ^ 0x01010101u * OFFSET;
        memcpy(panel, &all, 4 * (size_t)n.singles), panel += 4 * n.singles;
      }
    }
    if (vector >= 0 && vector == n.vectors - 1) panel += (inner + 3) / 4 * parts * n.vectors * BYTES;
  }
}

#if DEPTH == 2
typedef int16_t widened;
#else
typedef int32_t widened;
#endif
typedef int8_t four_bytes __attribute__((vector_size(4)));
typedef widened four_weights __attribute__((vector_size(4 * sizeof(widened))));

/* A tile's weights as DEPTH wants them: [inner / 4][4 / DEPTH][row]. */
KERNEL void widen(const int rows, const int8_t *weights, int quads, int stride, int32_t *to) {
  for (int k = 0; k < quads; k++, weights += 4 * stride, to += rows * (4 / DEPTH))
    UNROLL for (int r = 0; r < rows; r++) {
      four_bytes x;
      memcpy(&x, weights + 4 * r, sizeof x);
      const four_weights wide = __builtin_convertvector(x, four_weights);
      int32_t parts[4 / DEPTH];
      memcpy(parts, &wide, sizeof parts);
      UNROLL for (int part = 0; part < 4 / DEPTH; part++) to[part * rows + r] = parts[part];
    }
}

enum {
  ADD_BYTES = 1,   /* the addend belongs to the sum */
  SHIFT_SUMS = 2,  /* and counts less than a unit of it */
  ADDEND_BIAS = 4, /* and its zero point is not 0 */
  LARGE_SUMS = 8,  /* a sum times its scale may be beyond 32 bits */
  ANY_CODE = 16,   /* codes have a zero point, or limits */
  NUMBERS = 32     /* the sums, scaled, are the output: float32 */
};

/* The first `count` numbers of four vectors, or fewer, whose pixels lie as those of `integer_sums`. */
KERNEL void store_numbers(const int vectors, const vec z[4], float *to, int count) {
  vec line[4];
  UNROLL for (int j = 0; j < vectors; j++) line[j] = z[j];
  if (vectors == 4) {
    const vec first_even = FIRST_HALF(z[0], z[2]), last_even = LAST_HALF(z[0], z[2]);
    const vec first_odd = FIRST_HALF(z[1], z[3]), last_odd = LAST_HALF(z[1], z[3]);
    line[0] = FIRST_HALF(first_even, first_odd), line[1] = LAST_HALF(first_even, first_odd);
    line[2] = FIRST_HALF(last_even, last_odd), line[3] = LAST_HALF(last_even, last_odd);
  }
  UNROLL for (int j = 0; j < vectors; j++) {
    if (count >= (j + 1) * LANES) store(to + j * LANES, line[j]);
    else if (count > j * LANES) store_first(to + j * LANES, line[j], count - j * LANES);
  }
}

/* Sums of `vectors` = 4: a block's, or fewer: of pixels in their order. */
KERNEL void integer_sums(const int rows, const int vectors, const int flags, const struct integer_product *p, int row,
                         const int32_t *w, ptrdiff_t weights_stride, const uint8_t *x, int pixel, int count) {
  const int zero = flags & ANY_CODE ? p->zero : 0, low = flags & ANY_CODE ? p->low : 0, high = flags & ANY_CODE ? p->high : 255;
  const int32_t *const to = p->to + row, *const from = p->from + row;
  uint8_t *const output = flags & NUMBERS ? NULL : p->output + pixel;
  ints sum[8][4];
  const struct of_rows bias = plus_offset(load_of_rows(rows, p->bias + row), load_of_rows(rows, p->weight_sums + row));
  UNROLL for (int r = 0; r < rows; r++)
    UNROLL for (int j = 0; j < vectors; j++) sum[r][j] = of_row(bias, r);
  for (int k = p->quads; k > 0; k--, w += weights_stride)
    UNROLL for (int part = 0; part < 4 / DEPTH; part++, x += vectors * BYTES) {
      ints v[4];
      UNROLL for (int j = 0; j < vectors; j++) v[j] = load_ints(x + j * BYTES);
      const struct of_rows weights = load_of_rows(rows, w + part * rows);
      UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int j = 0; j < vectors; j++) sum[r][j] = dot(sum[r][j], v[j], of_row(weights, r));
    }
  const struct of_rows scale = load_of_rows(rows, p->scale + row), none = {0};
  const struct of_rows shifts = flags & SHIFT_SUMS ? load_of_rows(rows, p->shifts + row) : none;
  const struct of_rows more = flags & ADDEND_BIAS ? load_of_rows(rows, p->addend_bias + row) : none;
  const struct of_rows factors = flags & ADD_BYTES ? load_of_rows(rows, p->addend_weights + row) : none;
  UNROLL for (int r = 0; r < rows; r++) {
    if (flags & SHIFT_SUMS) {
      const ints shift = of_row(shifts, r);
      UNROLL for (int j = 0; j < vectors; j++) sum[r][j] <<= shift;
    }
    if (flags & ADDEND_BIAS)
      UNROLL for (int j = 0; j < vectors; j++) sum[r][j] += of_row(more, r);
    if (flags & ADD_BYTES) {
      const uint8_t *const addend = p->addend + from[r] + pixel;
      if (vectors == 4) add_scaled(sum[r], load_bytes(addend), factors, r);
      else UNROLL for (int j = 0; j < vectors; j++) {
        quarter a;
        memcpy(&a, addend + j * LANES, sizeof a);
        sum[r][j] = dot_pairs(sum[r][j], (ints)words_of(a), of_row(factors, r));
      }
    }
    vec z[4];
    ints y[4];
    UNROLL for (int j = 0; j < vectors; j++) z[j] = to_float(sum[r][j]) * floats_of_row(scale, r);
    if (flags & NUMBERS) {
      store_numbers(vectors, z, p->numbers + to[r] + pixel, count);
      continue;
    }
    UNROLL for (int j = 0; j < vectors; j++) y[j] = to_nearest(flags & LARGE_SUMS ? within(z[j], 1e9f) : z[j]);
    if (vectors == 1) {
      const ints least = splat_int(low - zero), most = splat_int(high - zero);
      const ints above = where_int(y[0] > least, y[0], least);
      store_quarter(output + to[r], __builtin_convertvector(where_int(above < most, above, most) + zero, quarter), count);
    } else {
      UNROLL for (int j = vectors; j < 4; j++) y[j] = (ints){0};
      const words all = to_bytes(y, zero, low, high, vectors < 4);
      if (vectors == 4 && count == BYTES) store_bytes(output + to[r], all);
      else store_some(output + to[r], all, count);
    }
  }
}

/* A tile of rows of all blocks and vectors. */
KERNEL void integer_tile(const int rows, const int flags, const struct integer_product *p, int row, struct pixel_counts n) {
  const int32_t *weights = (const int32_t *)(p->weights + 4 * (row - p->first));
  ptrdiff_t weights_stride = p->rows;
  if (DEPTH != 4) {
    widen(rows, p->weights + 4 * (row - p->first), p->quads, p->rows, p->wide);
    weights = p->wide, weights_stride = rows * (4 / DEPTH);
  }
  const uint8_t *x = p->panel;
  int pixel = 0;
  for (int block = 0; block < n.blocks; block++, x += p->quads * (4 / DEPTH) * 4 * BYTES, pixel += BYTES)
    integer_sums(rows, 4, flags, p, row, weights, weights_stride, x, pixel, BYTES);
  if (n.part) integer_sums(rows, 4, flags, p, row, weights, weights_stride, x, pixel, n.part);
  const int count = p->pixels - n.singles - pixel;
  if (n.vectors == 1) integer_sums(rows, 1, flags, p, row, weights, weights_stride, x, pixel, count);
  if (n.vectors == 2) integer_sums(rows, 2, flags, p, row, weights, weights_stride, x, pixel, count);
  if (n.vectors == 3) integer_sums(rows, 3, flags, p, row, weights, weights_stride, x, pixel, count);
}

#define INTEGER_TILE(NAME, ROWS, FLAGS) \
  ROUTINE void NAME(const struct integer_product *p, int row, struct pixel_counts n) { integer_tile(ROWS, FLAGS, p, row, n); }

typedef int16_t pairs __attribute__((vector_size(4 * LANES)));

/* Numbers of `count` rows; 0 for those that are no rows. */
KERNEL ints load_rows(const int32_t *from, int count) { return load_ints(from) & (count_from(0) < splat_int(count)); }

/* The sums of `count` rows, a lane each, scaled; `addend`: of each of these rows a byte. */
KERNEL vec scale_rows(const int flags, const struct integer_product *p, int row, int count, ints sum, words addend) {
  if (flags & SHIFT_SUMS) sum <<= load_rows(p->shifts + row, count);
  if (flags & ADDEND_BIAS) sum += load_rows(p->addend_bias + row, count);
  if (flags & ADD_BYTES) sum = dot_pairs(sum, (ints)addend, load_rows(p->addend_weights + row, count));
  const vec z = to_float(sum) * (vec)load_rows((const int32_t *)p->scale + row, count);
  return flags & LARGE_SUMS && !(flags & NUMBERS) ? within(z, 1e9f) : z;
}

/* LANES · `vectors` rows of one pixel, or of four of which `singles` are: a lane is a row. Both operands are four bytes a lane. */
KERNEL void integer_rows(const int vectors, const int pixels, const int flags, const struct integer_product *p, int row, const uint8_t *x,
                         int singles) {
  const int8_t *w = p->weights + 4 * (row - p->first);
  const int end = p->first + p->rows;
  ints sum[4][4];
  UNROLL for (int v = 0; v < vectors; v++) {
    const int count = end - row - v * LANES;
    sum[v][0] = load_rows(p->bias + row + v * LANES, count);
    if (OFFSET) sum[v][0] += OFFSET * load_rows(p->weight_sums + row + v * LANES, count);
    UNROLL for (int i = 1; i < pixels; i++) sum[v][i] = sum[v][0];
  }
  for (int k = p->quads; k > 0; k--, x += 4 * singles, w += 4 * p->rows) {
    int32_t bytes[4];
    memcpy(bytes, x, 4 * (size_t)pixels);
    UNROLL for (int v = 0; v < vectors; v++) {
      const ints own = load_ints(w + 4 * v * LANES);
      UNROLL for (int i = 0; i < pixels; i++) {
#if DEPTH == 4
        sum[v][i] = dot(sum[v][i], splat_int(bytes[i]), own);
#elif DEPTH == 2
        sum[v][i] = dot(sum[v][i], splat_int(bytes[i] & 0x00FF00FF), (ints)((pairs)own << 8 >> 8));
        sum[v][i] = dot(sum[v][i], splat_int(bytes[i] >> 8 & 0x00FF00FF), (ints)((pairs)own >> 8));
#else
        UNROLL for (int b = 0; b < 4; b++) sum[v][i] += (int32_t)((uint32_t)bytes[i] >> 8 * b & 255) * (own << (24 - 8 * b) >> 24);
#endif
      }
    }
  }
  const int pixel = p->pixels - singles, rows = end - row < vectors * LANES ? end - row : vectors * LANES;
  const int32_t *const to = p->to + row, *const from = p->from + row;
  if (pixels == 1) {
    uint8_t codes[BYTES], addend[BYTES] = {0};
    ints y[4] = {{0}, {0}, {0}, {0}};
    if (flags & ADD_BYTES)
      for (int r = 0; r < rows; r++) addend[r] = p->addend[from[r] + pixel];
    UNROLL for (int v = 0; v < vectors; v++) {
      quarter own;
      memcpy(&own, addend + v * LANES, sizeof own);
      const vec z = scale_rows(flags, p, row + v * LANES, rows - v * LANES, sum[v][0], words_of(own));
      if (flags & NUMBERS)
        for (int r = 0; r < LANES && v * LANES + r < rows; r++) p->numbers[to[v * LANES + r] + pixel] = z[r];
      else y[v] = to_nearest(z);
    }
    if (flags & NUMBERS) return;
    store_bytes(codes, to_bytes(y, p->zero, p->low, p->high, 1));
    for (int r = 0; r < rows; r++) p->output[to[r] + pixel] = codes[r];
    return;
  }
  uint8_t codes[4 * BYTES], addend[4 * BYTES] = {0}; /* four pixels of each row */
  if (flags & ADD_BYTES)
    for (int r = 0; r < rows; r++) memcpy(addend + 4 * r, p->addend + from[r] + pixel, 4);
  UNROLL for (int v = 0; v < vectors; v++) {
    const words own = load_bytes(addend + v * BYTES);
    ints y[4] = {{0}, {0}, {0}, {0}};
    UNROLL for (int i = 0; i < pixels; i++) {
      const vec z = scale_rows(flags, p, row + v * LANES, rows - v * LANES, sum[v][i], own >> 8 * i & 255);
      if (!(flags & NUMBERS)) y[i] = to_nearest(z);
      else if (i < singles)
        for (int r = 0; r < LANES && v * LANES + r < rows; r++) p->numbers[to[v * LANES + r] + pixel + i] = z[r];
    }
    store_bytes(codes + v * BYTES, to_bytes(y, p->zero, p->low, p->high, 0));
  }
  if (flags & NUMBERS) return;
  for (int r = 0; r < rows; r++) {
    if (singles == 4) memcpy(p->output + to[r] + pixel, codes + 4 * r, 4);
    else memcpy(p->output + to[r] + pixel, codes + 4 * r, (size_t)(singles & 3));
  }
}

/* The single pixels of all rows of the block. */
KERNEL void integer_singles(const int flags, const struct integer_product *p, struct pixel_counts n) {
  const int whole = n.blocks + (n.part > 0), end = p->first + p->rows;
  const uint8_t *const x = p->panel + (ptrdiff_t)p->quads * (4 / DEPTH) * (4 * whole + n.vectors) * BYTES;
  int row = p->first;
  if (n.singles == 1) {
    for (; row + 3 * LANES < end; row += 4 * LANES) integer_rows(4, 1, flags, p, row, x, 1);
    for (; row + LANES < end; row += 2 * LANES) integer_rows(2, 1, flags, p, row, x, 1);
    for (; row < end; row += LANES) integer_rows(1, 1, flags, p, row, x, 1);
  } else {
    for (; row + LANES < end; row += 2 * LANES) integer_rows(2, 4, flags, p, row, x, n.singles);
    for (; row < end; row += LANES) integer_rows(1, 4, flags, p, row, x, n.singles);
  }
}

#define INTEGER_SINGLES(NAME, FLAGS) \
  ROUTINE void NAME(const struct integer_product *p, struct pixel_counts n) { integer_singles(FLAGS, p, n); }
