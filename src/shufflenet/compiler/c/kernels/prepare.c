/* From a picture of any size to NAME_run's input: its short side becomes SHORT_SIDE (0: it is scaled straight to the input's size), the
   centre is kept, and a channel is byte · scale + shift. */
static struct resizer NAME_resizer(int height, int width) {
  struct resizer r = {.cubic = CUBIC, .antialias = ANTIALIAS, .grey = GREY};
  int down = ROWS, across = COLUMNS;
  if (SHORT_SIDE) {
    down = height <= width ? SHORT_SIDE : (int)((double)SHORT_SIDE * height / width);
    across = height <= width ? (int)((double)SHORT_SIDE * width / height) : SHORT_SIDE;
  }
  /* Halves are rounded to the even number, as Python does. */
  const int top = (down - ROWS) / 2, left = (across - COLUMNS) / 2;
  r.down = (struct side){height, down, top + ((down - ROWS) & top & 1), ROWS};
  r.across = (struct side){width, across, left + ((across - COLUMNS) & left & 1), COLUMNS};
  return r;
}

size_t NAME_prepare_bytes(int height, int width) {
  const struct resizer r = NAME_resizer(height, width);
  return resize_bytes(&r);
}

void NAME_prepare(const uint8_t *pixels, ptrdiff_t row_stride, int bytes, int height, int width, float *input, void *scratch) {
  static const float scale[] = {SCALES}, shift[] = {SHIFTS};
  static const uint8_t order[] = {ORDER};
  struct resizer r = NAME_resizer(height, width);
  r.pixels = pixels, r.row_stride = row_stride, r.bytes = bytes;
  resize_begin(&r, scratch);
  for (int y = 0; y < ROWS; y++) {
    const uint8_t *const row = resized_row(&r, y);
    for (int c = 0; c < (int)sizeof order; c++, input += ROWS * COLUMNS)
      for (int x = 0; x < COLUMNS; x++) input[x] = (float)row[4 * x + order[c]] * scale[c] + shift[c];
    input -= (ptrdiff_t)sizeof order * ROWS * COLUMNS - COLUMNS;
  }
}
