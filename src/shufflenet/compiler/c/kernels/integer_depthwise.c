/* The depthwise 3×3, padding 1, on planes of bytes. Rows are copied with their zero point between them, `pitch` bytes apart; there, the pixels
   that a sum needs of one row are four bytes in a line, the last of which has weight 0. Vector j of a block has pixels j, j + 4, ..., so its
   lanes are what an ordinary load from j bytes further finds, and all rows are one long one. At stride 2, the rows above, and those in
   the middle of, a row of output lie together each, and vectors 0 and 2 are the even and the odd columns. */
struct integer_depthwise {
  int planes, rows;         /* rows of output at a time */
  const uint8_t *input;
  const int32_t *from;      /* [plane], where in input each starts; */
  uint8_t *output;
  const int32_t *to;        /* and in output */
  uint8_t *padded[2];       /* each has room for stride · rows + 2 rows and 2 · BYTES more */
  uint8_t *made;            /* room for rows of pitch / stride bytes and BYTES more */
  const int8_t *weights;    /* [plane][3][4] */
  const int32_t *bias;      /* [plane], for bytes as they are: the zero point is in it */
  const float *scale;       /* [plane] */
  int input_zero, zero, low, high;
};

enum { PIECE = 16 };

/* Bytes from one row to the next: the zero point after it is the one before the next, too. */
KERNEL int depthwise_pitch(int width) { return width < 8 ? 8 : (width + PIECE) / PIECE * PIECE; }

typedef uint8_t piece_8 __attribute__((vector_size(8)));
typedef uint8_t piece_16 __attribute__((vector_size(16)));
typedef uint8_t piece_32 __attribute__((vector_size(32)));

/* A row that begins one to the left of `from`, SIZE bytes at a time. What lies around a plane may be read. */
#define PAD_ROW(SIZE)                                                                                    \
  KERNEL void pad_row_##SIZE(const int width, const uint8_t *from, uint8_t zero, uint8_t *to) {          \
    const int pitch = depthwise_pitch(width);                                                            \
    for (int i = 0; i < pitch; i += SIZE) {                                                              \
      piece_##SIZE x, inside = {0};                                                                      \
      memcpy(&x, from + i - 1, SIZE);                                                                    \
      if (i == 0 || i + SIZE == pitch) {                                                                 \
        UNROLL for (int b = 0; b < SIZE; b++) inside[b] = i + b > 0 && i + b <= width ? 255 : 0;         \
        x = (x & inside) | (zero & ~inside);                                                             \
      }                                                                                                  \
      memcpy(to + i, &x, SIZE);                                                                          \
    }                                                                                                    \
  }
PAD_ROW(8)
PAD_ROW(16)
PAD_ROW(32)

KERNEL void pad_row(const int width, const uint8_t *from, uint8_t zero, uint8_t *to) {
  if (depthwise_pitch(width) % 32 == 0) pad_row_32(width, from, zero, to);
  else if (depthwise_pitch(width) % 16 == 0) pad_row_16(width, from, zero, to);
  else pad_row_8(width, from, zero, to);
}

/* What output rows [first, first + rows) of a plane need. */
KERNEL void pad_rows(const int stride, const int height, const int width, int first, int rows, const uint8_t *plane, int zero, uint8_t *to) {
  const int pitch = depthwise_pitch(width), above = stride * first - 1, count = stride * (rows - 1) + 3;
  to[count * pitch] = (uint8_t)zero; /* after the last row */
  for (int i = 0; i < count; i++) {
    uint8_t *const row = to + (stride == 1 ? i : i / 2 + i % 2 * (rows + 1)) * pitch;
    if (above + i < 0 || above + i >= height) memset(row, zero, (size_t)pitch);
    else pad_row(width, plane + (ptrdiff_t)(above + i) * width, (uint8_t)zero, row);
  }
}

KERNEL void filter_rows(const int stride, const int width, const struct integer_depthwise *d, int plane, const uint8_t *padded, int rows,
                        uint8_t *output) {
  const int pitch = depthwise_pitch(width), output_width = (width - 1) / stride + 1, count = (rows - 1) * pitch + width;
  const uint8_t *const row[3] = {padded, padded + (stride == 1 ? 1 : rows + 1) * pitch, padded + (stride == 1 ? 2 : 1) * pitch};
  const int8_t *const weights = d->weights + 12 * plane;
  int32_t offset = 0, wide[3 * PARTS];
  for (int i = 0; i < 12; i++) offset += weights[i];
  widen_triples(weights, 3, wide);
  const ints start = splat_int(d->bias[plane] + OFFSET * offset);
  const vec scale = splat(d->scale[plane]);
  const int zero = d->zero, low = d->low, high = d->high;
  for (int q = 0; q < count; q += BYTES) {
    ints sum[4] = {start, start, start, start}, z[4] = {{0}, {0}, {0}, {0}};
    UNROLL for (int r = 0; r < 3; r++)
      UNROLL for (int two = 0; two < 4; two += 2) { /* bytes two and two + 1 further */
        const words x = load_bytes(row[r] + q + two) ^ 0x01010101u * OFFSET;
        if (stride == 2) sum[two / 2] = dot_triple(sum[two / 2], x, 0, wide + PARTS * r);
        else UNROLL for (int first = 0; first < 2; first++)
          sum[two + first] = dot_triple(sum[two + first], x, first, wide + PARTS * r);
      }
    UNROLL for (int j = 0; j < 4; j++)
      if (j < 4 / stride) z[j] = to_nearest(to_float(sum[j]) * scale);
    const words all = to_bytes(z, zero, low, high, 0);
    if (stride == 1) store_bytes(d->made + q, all);
    else {
      const halves two = __builtin_convertvector(all & 0xFFFF, halves);
      memcpy(d->made + q / 2, &two, sizeof two);
    }
  }
  for (int y = 0; y < rows; y++) memcpy(output + (ptrdiff_t)y * output_width, d->made + y * (pitch / stride), (size_t)output_width);
}

/* Rows are copied for the next plane, or part of one, before this one is multiplied: no load waits for a store. */
KERNEL void integer_depthwise(const int stride, const int height, const int width, const struct integer_depthwise d) {
  const int output_height = (height - 1) / stride + 1, output_width = (width - 1) / stride + 1;
  const int parts = (output_height + d.rows - 1) / d.rows, last = output_height - (parts - 1) * d.rows;
  for (int i = 0; i <= parts * d.planes; i++) {
    if (i < parts * d.planes) {
      const int plane = i / parts, part = i % parts;
      pad_rows(stride, height, width, part * d.rows, part == parts - 1 ? last : d.rows, d.input + d.from[plane], d.input_zero, d.padded[i % 2]);
    }
    if (i > 0) {
      const int plane = (i - 1) / parts, part = (i - 1) % parts;
      uint8_t *const output = d.output + d.to[plane] + (ptrdiff_t)part * d.rows * output_width;
      filter_rows(stride, width, &d, plane, d.padded[(i - 1) % 2], part == parts - 1 ? last : d.rows, output);
    }
  }
}
