/* A picture of any size, scaled bilinearly or bicubically, row by row, to within one grey level as Pillow does it: across first, then
   down, each time rounded to 8 bits, with weights in 22-bit fixed point. Antialiased, the filter grows with what one pixel of the
   result covers. */
enum { WEIGHT_BITS = 22 };

typedef uint8_t pixel8 __attribute__((vector_size(4)));
typedef int32_t pixel32 __attribute__((vector_size(16)));

/* One side of a picture: `from` pixels become `to`, of which `count` are kept, beginning with `first`. */
struct side {
  int from, to, first, count;
};

struct resizer {
  int cubic, antialias, grey;
  struct side down, across;
  const uint8_t *pixels; /* rows `row_stride` bytes apart, pixels `bytes` apart: 3, RGB, or 4, RGBA, which is laid on white */
  ptrdiff_t row_stride;
  int bytes;
  /* In the caller's scratch memory, resize_bytes() of it. */
  int32_t *down_taps, *across_taps; /* of each pixel kept: the first pixel read, how many are, and their weights */
  uint8_t *row, *rows, *result;     /* a row of the picture; the last rows scaled across; a row of the result. All in RGBX */
  int next;                         /* the row of the picture that is scaled across next */
};

/* How many pixels of the picture the filter's unit is. */
static double unit_of(const struct resizer *r, struct side side) {
  const double scale = (double)side.from / side.to;
  return r->antialias && scale > 1 ? scale : 1;
}

/* How far the filter reaches to each side, in pixels of the picture. */
static double reach_of(const struct resizer *r, struct side side) { return (r->cubic ? 2 : 1) * unit_of(r, side); }

static int most_taps(const struct resizer *r, struct side side) {
  const double reach = reach_of(r, side);
  return 2 * ((int)reach + ((int)reach < reach)) + 1;
}

/* A triangle, or Keys's cubic with a = -1/2. */
static double filter(const struct resizer *r, double x) {
  if (x < 0) x = -x;
  if (!r->cubic) return x < 1 ? 1 - x : 0;
  return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static void find_taps(const struct resizer *r, struct side side, int32_t *taps) {
  const double scale = (double)side.from / side.to, unit = unit_of(r, side), reach = reach_of(r, side);
  const int most = most_taps(r, side);
  for (int i = 0; i < side.count; i++, taps += 2 + most) {
    const double center = (side.first + i + 0.5) * scale;
    const double begin = center - reach + 0.5, end = center + reach + 0.5;
    taps[0] = begin > 0 ? (int)begin : 0;
    taps[1] = (end < side.from ? (int)end : side.from) - taps[0];
    double sum = 0;
    for (int t = 0; t < taps[1]; t++) sum += filter(r, (taps[0] + t - center + 0.5) / unit);
    for (int t = 0; t < taps[1]; t++) {
      const double weight = filter(r, (taps[0] + t - center + 0.5) / unit) / sum * (1 << WEIGHT_BITS);
      taps[2 + t] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
}

/* Bytes of scratch memory, for any address: all but the sizes of `r` may be left open. */
static size_t resize_bytes(const struct resizer *r) {
  const size_t down = most_taps(r, r->down), across = most_taps(r, r->across);
  const size_t taps = r->down.count * (2 + down) + r->across.count * (2 + across);
  return 4 * (taps + r->across.from + (down + 1) * r->across.count) + 3;
}

static void resize_begin(struct resizer *r, void *scratch) {
  const size_t down = most_taps(r, r->down), across = most_taps(r, r->across);
  r->down_taps = (int32_t *)(((uintptr_t)scratch + 3) & ~(uintptr_t)3);
  r->across_taps = r->down_taps + r->down.count * (2 + down);
  r->row = (uint8_t *)(r->across_taps + r->across.count * (2 + across));
  r->rows = r->row + 4 * (size_t)r->across.from;
  r->result = r->rows + 4 * down * r->across.count;
  r->next = 0;
  find_taps(r, r->down, r->down_taps);
  find_taps(r, r->across, r->across_taps);
}

/* Opaque RGBX, or the luma of ITU-R BT.601 as the first byte of four. */
static void read_pixels(const struct resizer *r, const uint8_t *from, int first, int end) {
  from += (ptrdiff_t)first * r->bytes;
  for (uint8_t *to = r->row + 4 * (ptrdiff_t)first; to < r->row + 4 * (ptrdiff_t)end; to += 4, from += r->bytes) {
    uint32_t red = from[0], green = from[1], blue = from[2];
    if (r->bytes == 4 && from[3] != 255) {
      const uint32_t alpha = from[3], white = 255 * (255 - alpha) + 128;
      red = red * alpha + white, green = green * alpha + white, blue = blue * alpha + white;
      red = (red + (red >> 8)) >> 8, green = (green + (green >> 8)) >> 8, blue = (blue + (blue >> 8)) >> 8;
    }
    if (r->grey) red = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    to[0] = (uint8_t)red, to[1] = (uint8_t)green, to[2] = (uint8_t)blue, to[3] = 0;
  }
}

KERNEL pixel32 as_floats(const uint8_t *from) {
  pixel8 bytes;
  memcpy(&bytes, from, 4);
  return __builtin_convertvector(bytes, pixel32);
}

/* A cubic filter's sums may lie outside of a byte. */
KERNEL void store_pixel(uint8_t *to, pixel32 sum) {
  const pixel32 level = sum >> WEIGHT_BITS;
  const pixel8 bytes = __builtin_convertvector((level | (level > 255)) & (level > 0) & 255, pixel8);
  memcpy(to, &bytes, 4);
}

static void scale_across(const struct resizer *r, const uint8_t *from, uint8_t *to) {
  const int most = most_taps(r, r->across);
  const int32_t *taps = r->across_taps, *const last = taps + (r->across.count - 1) * (ptrdiff_t)(2 + most);
  read_pixels(r, from, taps[0], last[0] + last[1]);
  for (int x = 0; x < r->across.count; x++, taps += 2 + most) {
    pixel32 sum = (pixel32){0} + (1 << (WEIGHT_BITS - 1));
    const uint8_t *pixel = r->row + 4 * (ptrdiff_t)taps[0];
    for (int t = 0; t < taps[1]; t++) sum += as_floats(pixel + 4 * t) * taps[2 + t];
    store_pixel(to + 4 * x, sum);
  }
}

/* Row y of the result, counted from the first that is kept: RGBX, or grey in the first byte of four. Ask for rows in order. */
static const uint8_t *resized_row(struct resizer *r, int y) {
  const int most = most_taps(r, r->down), width = r->across.count;
  const int32_t *const taps = r->down_taps + y * (ptrdiff_t)(2 + most);
  if (r->next < taps[0]) r->next = taps[0];
  for (; r->next < taps[0] + taps[1]; r->next++)
    scale_across(r, r->pixels + r->next * r->row_stride, r->rows + 4 * (ptrdiff_t)width * (r->next % most));
  for (int x = 0; x < width; x++) {
    pixel32 sum = (pixel32){0} + (1 << (WEIGHT_BITS - 1));
    for (int t = 0; t < taps[1]; t++)
      sum += as_floats(r->rows + 4 * ((ptrdiff_t)width * ((taps[0] + t) % most) + x)) * taps[2 + t];
    store_pixel(r->result + 4 * x, sum);
  }
  return r->result;
}
