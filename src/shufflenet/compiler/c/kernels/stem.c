/* The stem: convolution 3×3 at stride 2, padding 1, row by row from the picture, and in the same pass, if it has one, max-pool 3×3 at
   stride 2, padding 1. Then two convolution rows are made for every pooled row, the third is kept from the row before, and the
   convolution's whole output never exists. */
struct picture {
  int height, width, channels;
  int columns;                  /* of the convolution's output */
  int odd, even;                /* where in a split row the odd and the even columns begin */
  int split, slot;              /* numbers from one split row to the next, and from all channels' to the next row's */
  int row, rows;                /* from one filter's convolution row to the next one's, and where in scratch they begin */
  int buffer;                   /* where a row of the picture has room */
  const float *input;
  const int32_t *from;          /* where in input each channel's plane starts */
  const uint8_t *pixels;        /* if not null, these stand in for `input` */
  ptrdiff_t row_stride;         /* bytes from one row of pixels to the next */
  const float *scales, *shifts; /* of each channel: number = byte · scale + shift */
  const int32_t *order;         /* which byte of a pixel each channel is */
};

/* A row of the picture, split into even and odd columns: odd[-1] is the left padding; the columns beyond `width` are zero. */
KERNEL void split_row(const number *row, int width, number *even, number *odd, int padded) {
  int x = 0;
  for (; x + LANES <= width / 2; x += LANES) {
    store(even + x, in_order(EVEN(load(row + 2 * x), load(row + 2 * x + LANES))));
    store(odd + x, in_order(ODD(load(row + 2 * x), load(row + 2 * x + LANES))));
  }
  for (; x < padded; x++) {
    even[x] = 2 * x < width ? row[2 * x] : 0;
    odd[x] = 2 * x + 1 < width ? row[2 * x + 1] : 0;
  }
  odd[-1] = 0;
}

/* Rows y, y + 1, ... of the picture, split into slots [slot, end). A row beyond the picture is zero. */
KERNEL void split_rows(const struct picture p, int y, int slot, int end, number *slots, number *buffer) {
  for (; slot < end; slot++, y++)
    for (int c = 0; c < p.channels; c++) {
      number *const odd = slots + slot * p.slot + c * p.split + p.odd, *const even = odd + (p.even - p.odd);
      if (y < 0 || y >= p.height) {
        memset(odd - 1, 0, sizeof(number) * (p.even - p.odd + p.columns + 1));
      } else if (p.pixels) {
        unpack_row(p.pixels + y * p.row_stride, p.width, p.order[c], p.scales[c], p.shifts[c], buffer);
        split_row(buffer, p.width, even, odd, p.columns);
      } else {
        split_row(row_of(p.input + p.from[c] + (ptrdiff_t)y * p.width, p.width, buffer), p.width, even, odd, p.columns);
      }
    }
}

/* LANES columns of the largest of `count` convolution rows. */
KERNEL vec stem_pool_down(const number *const rows[3], int count, int x) {
  vec most = load(rows[0] + x);
  for (int r = 1; r < count; r++) most = larger(most, load(rows[r] + x));
  return most;
}

/* The largest of up to three convolution rows, then of three columns, into one row of one output plane. */
KERNEL void stem_pool_row(const number *const rows[3], int count, const int width, const int output_width, number *output) {
  const vec nothing = splat(-__builtin_inff());
  vec left = nothing; /* its last lane is the column before */
  for (int x = 0; x < output_width; x += LANES) {
    if (x + LANES > output_width && output_width >= LANES) { /* the last vector is moved left to end with the row */
      x = output_width - LANES;
      left = stem_pool_down(rows, count, 2 * x - LANES);
    }
    const vec first = stem_pool_down(rows, count, 2 * x), second = stem_pool_down(rows, count, 2 * x + LANES);
    const vec even = in_order(EVEN(first, second));
    vec odd = in_order(ODD(first, second));
    if (2 * (x + LANES) > width) odd = where(count_from(0) * 2 + (lane)(2 * x + 1) < (lane)width, odd, nothing);
    const vec most = larger(larger(even, odd), AFTER(left, odd));
    left = second;
    if (output_width >= LANES) store(output + x, most);
    else store_first(output, most, output_width);
  }
}

/* Rows [begin, end) of the convolution alone. `convolution_row` makes one row of all filters from split rows: in its place, or where that would overhang
   the plane, in scratch. */
KERNEL void stem_rows(const struct picture picture, const int filters, const int begin, const int end, const int in_place,
                      void (*convolution_row)(struct product), struct product p, const int32_t *to, number *scratch, number *output) {
  const int slot = picture.slot;
  const ptrdiff_t kept = picture.row;
  number *const slots = scratch, *const rows = scratch + picture.rows, *const buffer = scratch + picture.buffer;
  output += (ptrdiff_t)begin * picture.columns;
  for (int y = begin; y < end; y++, output += picture.columns) {
    /* Picture rows 2y − 1 ... 2y + 1; the first is the last one of before. */
    const int kept_slots = y > begin;
    if (kept_slots) memcpy(slots, slots + 2 * slot, sizeof(number) * slot);
    split_rows(picture, 2 * y - 1 + kept_slots, kept_slots, 3, slots, buffer);
    p.input = slots;
    p.output = in_place ? output : rows;
    convolution_row(p);
    if (in_place) continue;
    for (int filter = 0; filter < filters; filter++)
      memcpy(output + to[filter], rows + filter * kept, sizeof(number) * picture.columns);
  }
}

/* The convolution, which makes its rows in scratch, and rows [begin, end) of the pool. */
KERNEL void stem_and_pool(const struct picture picture, const int filters, const int convolution_height, const int begin,
                          const int end, const int output_width, void (*convolution_row)(struct product), struct product p, const int32_t *to,
                          number *scratch, number *output) {
  const int slot = picture.slot;
  const ptrdiff_t kept = picture.row;
  number *const slots = scratch, *const rows = scratch + picture.rows, *const buffer = scratch + picture.buffer;
  if (begin > 0) { /* the convolution's row of before, and with it the picture's */
    split_rows(picture, 4 * begin - 3, 0, 3, slots, buffer);
    p.input = slots;
    p.output = rows + (~begin & 1) * filters * kept;
    convolution_row(p);
    memcpy(slots + 4 * slot, slots + 2 * slot, sizeof(number) * slot);
  }
  for (int y = begin; y < end; y++) {
    /* Picture rows 4y − 1 ... 4y + 3; the first is the last one of before. */
    if (y > 0) memcpy(slots, slots + 4 * slot, sizeof(number) * slot);
    split_rows(picture, 4 * y - (y == 0), y > 0, 5, slots, buffer);
    /* Convolution rows 2y, kept in the third place, and 2y + 1, kept in the first and second in turn. */
    number *const first = rows + 2 * filters * kept, *const second = rows + (y & 1) * filters * kept;
    const number *const before = rows + (~y & 1) * filters * kept;
    const int has_second = 2 * y + 1 < convolution_height;
    p.input = slots;
    p.output = first;
    convolution_row(p);
    if (has_second) {
      p.input = slots + 2 * slot;
      p.output = second;
      convolution_row(p);
    }
    for (int filter = 0; filter < filters; filter++) {
      const number *meet[3] = {first + filter * kept};
      int count = 1;
      if (has_second) meet[count++] = second + filter * kept;
      if (y > 0) meet[count++] = before + filter * kept;
      stem_pool_row(meet, count, picture.columns, output_width, output + to[filter] + (ptrdiff_t)y * output_width);
    }
  }
}
