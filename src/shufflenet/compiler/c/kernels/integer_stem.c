/* The first layer, a 3×3/2 convolution with padding 1, and the max-pool 3×3/2 where one follows, in one pass over the picture: five of its
   rows become codes, these two rows of sums, and they and the row of sums above the largest of each window, which alone become codes again.
   A row of codes begins one to the left: the three that a sum needs of it are four bytes in a line, the last of which has weight 0.
   Vectors from bytes 0 and 2 on are the convolution's even and odd columns. */
struct integer_stem {
  const int8_t *weights;      /* [channel][row of the kernel][filter][4] */
  const int32_t *bias;        /* [filter], for bytes as they are: the zero point is in it */
  const int32_t *weight_sums; /* [filter], for machines that take OFFSET from every byte */
  const float *scale;         /* [filter] */
  int channels, filters, columns, line; /* line: of sums, room for whole vectors of even or of odd columns */
  int zero, low, high;                  /* the output's zero point and bounds */
  uint8_t *codes;                       /* [5 rows][channel][pitch] */
  ptrdiff_t pitch;
  int32_t *wide;    /* the weights, where DEPTH is not 4: [channel][row of the kernel][filter][PARTS] */
  int32_t *above;   /* [filter][line / LANES][2][LANES]: sums of the row above, even columns and odd ones */
  uint8_t *output;
  const int32_t *to; /* [filter], where in output each plane starts */
  int row, rows;     /* of the output: the next; the convolution's that there are, of two */
  int output_width, output_size;
};

KERNEL ints larger_int(ints a, ints b) { return where_int(a > b, a, b); }

/* LANES sums' codes. */
KERNEL void store_codes(uint8_t *to, ints sum, float scale, int zero, int low, int high, int count) {
  const vec scaled = limit(to_float(sum) * scale, splat((float)(low - zero)), splat((float)(high - zero)));
  store_quarter(to, __builtin_convertvector(to_nearest(scaled) + zero, quarter), count);
}

enum {
  POOLED = 1,    /* the largest of each window is the output */
  LARGE_STEM = 2 /* a sum times its scale may be beyond 32 bits */
};

/* Two rows of the convolution, or one row of the pool's output, of some filters. */
KERNEL void integer_stem_tile(const int rows, const int flags, const struct integer_stem *s, int first) {
  const ptrdiff_t slot = s->channels * s->pitch, pitch = s->pitch;
  const int32_t *const weights = DEPTH == 4 ? (const int32_t *)s->weights : s->wide;
  const int channels = s->channels, filters = s->filters, columns = s->columns, output_width = s->output_width, two = s->rows == 2;
  const int zero = s->zero, low = s->low, high = s->high, from_row = s->row * output_width;
  ints before[8]; /* the odd columns to the left */
  UNROLL for (int r = 0; r < rows; r++) before[r] = splat_int(INT32_MIN);
  for (int start = 0; start < columns; start += 2 * LANES) {
    /* Whole vectors, if need be some columns twice. */
    const int x = !(flags & POOLED) && start && start + 2 * LANES > columns ? columns - 2 * LANES : start;
    ints sum[8][4];
    UNROLL for (int r = 0; r < rows; r++)
      UNROLL for (int j = 0; j < 4; j++) sum[r][j] = splat_int(s->bias[first + r] + OFFSET * s->weight_sums[first + r]);
    const int32_t *w = weights + PARTS * first;
    for (int channel = 0; channel < channels; channel++) {
      const uint8_t *from = s->codes + channel * pitch + 2 * x;
      for (int y = 0; y < 3; y++, from += slot, w += PARTS * filters)
        UNROLL for (int part = 0; part < PARTS; part++) {
          ints v[4];
          UNROLL for (int j = 0; j < 4; j++) v[j] = part_of(load_bytes(from + j / 2 * 2 * slot + j % 2 * 2), part);
          UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int j = 0; j < 4; j++) sum[r][j] = dot(sum[r][j], v[j], splat_int(w[PARTS * r + part]));
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
      const float scale = s->scale[first + r];
      uint8_t *const to = s->output + s->to[first + r] + from_row;
      if (flags & POOLED) {
        int32_t *const above = s->above + 2 * (first + r) * s->line + x;
        ints most[2];
        UNROLL for (int j = 0; j < 2; j++) {
          most[j] = larger_int(sum[r][j], load_ints(above + j * LANES));
          if (two) most[j] = larger_int(most[j], sum[r][2 + j]);
          store_ints(above + j * LANES, sum[r][2 + j]);
        }
        if (columns % 2) most[1] = where_int(count_from(x / 2) < splat_int(columns / 2), most[1], splat_int(INT32_MIN));
        const ints largest = larger_int(larger_int(most[0], most[1]), AFTER(before[r], most[1]));
        before[r] = most[1];
        /* What is stored beyond a row is the next one's place, whose codes come later. */
        store_codes(to + x / 2, largest, scale, zero, low, high, s->output_size - from_row - x / 2);
      } else {
        ints y[4];
        UNROLL for (int j = 0; j < 4; j++) {
          const vec z = to_float(sum[r][j]) * scale;
          y[j] = to_nearest(flags & LARGE_STEM ? within(z, 1e9f) : z);
        }
        const words all = to_bytes(y, zero, low, high, 0);
        const halves some[2] = {__builtin_convertvector(all & 0xFFFF, halves), __builtin_convertvector(all >> 16, halves)};
        for (int i = 0; i < 1 + two; i++) {
          if (columns >= 2 * LANES) memcpy(to + x + i * output_width, &some[i], sizeof some[i]);
          else memcpy(to + i * output_width, &some[i], (size_t)columns);
        }
      }
    }
  }
}

#define INTEGER_STEM(NAME, ROWS, FLAGS) \
  ROUTINE void NAME(const struct integer_stem *s, int first) { integer_stem_tile(ROWS, FLAGS, s, first); }

/* Where the picture is: float32 planes, or 8-bit pixels and each channel's code of each byte. */
struct integer_picture {
  int height, width, zero;
  float inverse; /* of the codes' scale */
  const float *input;
  const int32_t *from;
  const uint8_t *pixels;
  ptrdiff_t row_stride;
  const uint8_t *tables; /* [channel][256] */
  const int32_t *order;  /* [channel], of a pixel's bytes */
};

/* Row y of every channel, from one to its left on; all zero points if it is beyond the picture. */
KERNEL void stem_codes(const struct integer_picture p, int channels, ptrdiff_t pitch, int y, uint8_t *to) {
  if (y < 0 || y >= p.height) {
    memset(to, p.zero ^ OFFSET, (size_t)(channels * pitch));
    return;
  }
  for (int channel = 0; channel < channels; channel++, to += pitch) {
    to[0] = to[p.width + 1] = (uint8_t)(p.zero ^ OFFSET);
    if (p.pixels) {
      const uint8_t *const from = p.pixels + y * p.row_stride + p.order[channel], *const table = p.tables + 256 * channel;
      for (int x = 0; x < p.width; x++) to[1 + x] = table[from[PIXEL_BYTES * x]] ^ OFFSET;
    } else quantize_row(p.width, p.input + p.from[channel] + (ptrdiff_t)y * p.width, p.inverse, p.zero, OFFSET, to + 1);
  }
}

/* `tiles` does every filter's work on two rows of the convolution. */
KERNEL void integer_stem(const int pooled, const int height, const struct integer_picture p, struct integer_stem s,
                         void (*tiles)(const struct integer_stem *)) {
  const ptrdiff_t slot = s.channels * s.pitch;
  if (DEPTH != 4) widen_triples(s.weights, 3 * s.channels * s.filters, s.wide);
  if (pooled)
    for (int i = 0; i < 2 * s.filters * s.line; i++) s.above[i] = INT32_MIN;
  stem_codes(p, s.channels, s.pitch, -1, s.codes);
  for (int y = 0; y < height; y += 2) {
    for (int i = 0; i < 4; i++) stem_codes(p, s.channels, s.pitch, 2 * y + i, s.codes + (i + 1) * slot);
    s.row = pooled ? y / 2 : y, s.rows = height - y < 2 ? 1 : 2;
    tiles(&s);
    memcpy(s.codes, s.codes + 4 * slot, (size_t)slot);
  }
}
