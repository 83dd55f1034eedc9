/* From a picture to boxes: what detectors of all layouts have. Numbers are torchvision's. */

/* What the network sees: a resized picture lies in its left top corner, channel c as byte · scale[c] + shift[c]. */
struct canvas {
  int height, width;
  float scale[3], shift[3];
};

/* The largest height and width of a picture's shape within others. */
KERNEL void fit_into(int from_height, int from_width, int *height, int *width) {
  const int64_t tall = (int64_t)from_height * *width / from_width, wide = (int64_t)from_width * *height / from_height;
  if (tall < *height) *height = tall < 1 ? 1 : (int)tall;
  if (wide < *width) *width = wide < 1 ? 1 : (int)wide;
}

/* A picture whose short side becomes `shortest`, but its long side `longest` at most. */
KERNEL void scale_sides(int from_height, int from_width, int shortest, int longest, int *height, int *width) {
  const int64_t least = from_height < from_width ? from_height : from_width, most = from_height < from_width ? from_width : from_height;
  const int64_t tall = from_height * (int64_t)shortest / least, tall_at_most = from_height * (int64_t)longest / most;
  const int64_t wide = from_width * (int64_t)shortest / least, wide_at_most = from_width * (int64_t)longest / most;
  *height = (int)(tall < tall_at_most ? tall : tall_at_most), *width = (int)(wide < wide_at_most ? wide : wide_at_most);
  if (*height < 1) *height = 1;
  if (*width < 1) *width = 1;
}

/* e to each of two numbers, by one vector where that has room for both. */
KERNEL void exponentials(float *x, float *y) {
#if LANES > 1
  const wide both = exponential((wide){*x, *y});
  *x = both[0], *y = both[1];
#else
  *x = exponential((wide){*x})[0], *y = exponential((wide){*y})[0];
#endif
}

/* Where a pixel of a side of `to` pixels lies among `from`: the first of two neighbours, and how far it is to the other. */
KERNEL int neighbour(int i, int from, int to, float *share) {
  float at = ((float)i + 0.5f) * ((float)from / (float)to) - 0.5f;
  if (at < 0) at = 0;
  int first = (int)at;
  if (first > from - 1) first = from - 1;
  const float rest = at - (float)first;
  *share = rest < 1 ? rest : 1;
  return first;
}

/* A pixel's red, green and blue, and what follows them. */
typedef float pixel __attribute__((vector_size(16)));
typedef float pixel_anywhere __attribute__((vector_size(16), aligned(4), may_alias));

/* What lies between two rows of bytes, `share` of the way from a to b. */
KERNEL void blend_rows(const uint8_t *restrict a, const uint8_t *restrict b, float share, float *restrict to, int count) {
  for (int i = 0; i < count; i++) to[i] = (float)a[i] + (float)(b[i] - a[i]) * share;
}

KERNEL pixel blend_pixels(const float *left, float share) {
  const pixel x = *(const pixel_anywhere *)left;
  return x + (*(const pixel_anywhere *)(left + 3) - x) * share;
}

/* A row of pixels as they are. */
KERNEL void unpack_pixels(const uint8_t *restrict pixels, int width, const float scale[3], const float shift[3], float *restrict red,
                          float *restrict green, float *restrict blue) {
  for (int x = 0; x < width; x++, pixels += 3) {
    red[x] = (float)pixels[0] * scale[0] + shift[0];
    green[x] = (float)pixels[1] * scale[1] + shift[1];
    blue[x] = (float)pixels[2] * scale[2] + shift[2];
  }
}

/* Bilinear, as torch's interpolate, into the left top of three planes whose rest is 0; `row` has room for a picture's row and two
   pixels more, `columns` for the first neighbour of each column, `shares` for its share. `h` and `w` are the resized picture's. */
ROUTINE void resize_into(const struct canvas *canvas, const uint8_t *pixels, int from_height, int from_width, ptrdiff_t row_stride,
                        int h, int w, float *planes, float *row, int32_t *columns, float *shares) {
  const ptrdiff_t area = (ptrdiff_t)canvas->height * canvas->width;
  const float *const scale = canvas->scale, *const shift = canvas->shift;
  const int count = 3 * from_width, same_size = h == from_height && w == from_width;
  if (h < canvas->height || w < canvas->width) memset(planes, 0, sizeof(float) * 3 * (size_t)area);
  for (int x = 0; x < w; x++) columns[x] = 3 * neighbour(x, from_width, w, shares + x);
  for (int y = 0; y < h; y++) {
    float *const red = planes + (ptrdiff_t)y * canvas->width, *const green = red + area, *const blue = green + area;
    if (same_size) {
      unpack_pixels(pixels + y * row_stride, w, scale, shift, red, green, blue);
      continue;
    }
    float share;
    const int above = neighbour(y, from_height, h, &share);
    const uint8_t *const a = pixels + above * row_stride;
    blend_rows(a, above < from_height - 1 ? a + row_stride : a, share, row, count);
    /* The last pixel is its own right neighbour. */
    for (int c = 0; c < 6; c++) row[count + c] = row[count + c - 3];
    int x = 0;
    for (; x + 4 <= w; x += 4) {
      pixel p[4], rows[3];
      UNROLL for (int i = 0; i < 4; i++) p[i] = blend_pixels(row + columns[x + i], shares[x + i]);
      const pixel first = __builtin_shufflevector(p[0], p[1], 0, 4, 1, 5), last = __builtin_shufflevector(p[2], p[3], 0, 4, 1, 5);
      rows[0] = __builtin_shufflevector(first, last, 0, 1, 4, 5);
      rows[1] = __builtin_shufflevector(first, last, 2, 3, 6, 7);
      rows[2] = __builtin_shufflevector(__builtin_shufflevector(p[0], p[1], 2, 6, 2, 6),
                                        __builtin_shufflevector(p[2], p[3], 2, 6, 2, 6), 0, 1, 4, 5);
      *(pixel_anywhere *)(red + x) = rows[0] * scale[0] + shift[0];
      *(pixel_anywhere *)(green + x) = rows[1] * scale[1] + shift[1];
      *(pixel_anywhere *)(blue + x) = rows[2] * scale[2] + shift[2];
    }
    for (; x < w; x++) {
      const pixel p = blend_pixels(row + columns[x], shares[x]);
      red[x] = p[0] * scale[0] + shift[0];
      green[x] = p[1] * scale[1] + shift[1];
      blue[x] = p[2] * scale[2] + shift[2];
    }
  }
}

/* A key is the bits of a score, which is not negative, above those of an index counted down: ties go by index. */
KERNEL uint64_t key_of(float score, uint32_t index) {
  uint32_t word;
  memcpy(&word, &score, 4);
  return (uint64_t)word << 32 | (0xffffffffu - index);
}

KERNEL float score_of(uint64_t key) {
  const uint32_t word = (uint32_t)(key >> 32);
  float score;
  memcpy(&score, &word, 4);
  return score;
}

KERNEL uint32_t index_of(uint64_t key) { return 0xffffffffu - (uint32_t)key; }

/* Puts keys[i] where it belongs in a heap, whose every key is at least as large as the two below it. */
KERNEL void sink(uint64_t *keys, int count, int i) {
  const uint64_t key = keys[i];
  for (int child = 2 * i + 1; child < count; child = 2 * i + 1) {
    if (child + 1 < count && keys[child + 1] > keys[child]) child++;
    if (keys[child] <= key) break;
    keys[i] = keys[child], i = child;
  }
  keys[i] = key;
}

ROUTINE void make_heap(uint64_t *keys, int count) {
  for (int i = count / 2 - 1; i >= 0; i--) sink(keys, count, i);
}

/* The largest key of a heap, which then has one less. */
ROUTINE uint64_t take_largest(uint64_t *keys, int *count) {
  const uint64_t largest = keys[0];
  keys[0] = keys[--*count];
  sink(keys, *count, 0);
  return largest;
}

KERNEL float cut_off(float x, int most) {
  x = x < 0 ? 0 : x;
  return x > (float)most ? (float)most : x;
}

/* An anchor, or a region, as its middle and sides, moved by offsets: they shift the middle by so many sides, and scale the sides by
   their exponentials. Cut off at the picture's edges. */
KERNEL BOX moved_box(float x, float y, float w, float h, float dx, float dy, float dw, float dh, int height, int width) {
  const float largest = 4.135166556742356f; /* log(1000 / 16) */
  dw = dw > largest ? largest : dw, dh = dh > largest ? largest : dh;
  exponentials(&dw, &dh);
  const float half_width = 0.5f * w * dw, half_height = 0.5f * h * dh;
  x += dx * w, y += dy * h;
  return (BOX){cut_off(x - half_width, width), cut_off(y - half_height, height), cut_off(x + half_width, width),
               cut_off(y + half_height, height), 0, 0};
}

KERNEL int overlap(const BOX *a, const BOX *b, float threshold) {
  const float x1 = a->x1 > b->x1 ? a->x1 : b->x1, y1 = a->y1 > b->y1 ? a->y1 : b->y1;
  const float x2 = a->x2 < b->x2 ? a->x2 : b->x2, y2 = a->y2 < b->y2 ? a->y2 : b->y2;
  const float w = x2 - x1 > 0 ? x2 - x1 : 0, h = y2 - y1 > 0 ? y2 - y1 : 0, common = w * h;
  const float both = (a->x2 - a->x1) * (a->y2 - a->y1) + (b->x2 - b->x1) * (b->y2 - b->y1) - common;
  return common / both > threshold;
}
