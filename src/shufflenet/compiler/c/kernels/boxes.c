/* From a picture to boxes: the picture's resizing before the network, and an SSD's post-processing behind it, as torchvision does them.
   Sizes are the detector's, which are known; memory is the caller's. */
enum { BOX_LEVELS_MOST = 8 };

struct level {
  int rows, columns, anchors, stride;
  const float *sizes;   /* width, height of each anchor, in pixels of the resized picture */
  float *logits, *offsets; /* what the network wrote: anchors · classes planes, and anchors · 4 */
};

struct detector {
  int height, width, padded_height, padded_width, letterbox, classes, levels; /* the background is class 0 */
  float scale[3], shift[3], score_threshold, nms_threshold;
  float limit; /* no class passes the threshold whose logit is not so far above the background's */
  int candidates, most; /* of a class into non-maximum suppression, and boxes in the end */
  struct level level[BOX_LEVELS_MOST];
};

KERNEL float exponential_one(float x) { return exponential(splat(x))[0]; }

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

/* Bilinear, as torch's interpolate, into the left top of three planes whose rest is 0; `row` has room for a picture's row, `columns`
   for the first neighbour of each column, `shares` for its share. `height` and `width` become the resized picture's. */
static void resize_into(const struct detector *d, const uint8_t *pixels, int from_height, int from_width, ptrdiff_t row_stride,
                        int *height, int *width, float *planes, float *row, int32_t *columns, float *shares) {
  int h = d->height, w = d->width;
  if (d->letterbox) {
    const int64_t tall = (int64_t)from_height * d->width / from_width, wide = (int64_t)from_width * d->height / from_height;
    if (tall < h) h = tall < 1 ? 1 : (int)tall;
    if (wide < w) w = wide < 1 ? 1 : (int)wide;
  }
  *height = h, *width = w;
  const ptrdiff_t area = (ptrdiff_t)d->padded_height * d->padded_width;
  if (h < d->padded_height || w < d->padded_width) memset(planes, 0, sizeof(float) * 3 * (size_t)area);
  for (int x = 0; x < w; x++) columns[x] = 3 * neighbour(x, from_width, w, shares + x);
  const int last = 3 * (from_width - 1);
  for (int y = 0; y < h; y++) {
    float share;
    const int above = neighbour(y, from_height, h, &share);
    const uint8_t *const a = pixels + above * row_stride, *const b = above < from_height - 1 ? a + row_stride : a;
    for (int i = 0; i < last + 3; i++) row[i] = (float)a[i] * (1 - share) + (float)b[i] * share;
    for (int c = 0; c < 3; c++) {
      float *const to = planes + c * area + (ptrdiff_t)y * d->padded_width;
      const float *const from = row + c;
      for (int x = 0; x < w; x++) {
        const int left = columns[x], right = left < last ? left + 3 : left;
        to[x] = (from[left] * (1 - shares[x]) + from[right] * shares[x]) * d->scale[c] + d->shift[c];
      }
    }
  }
}

/* The largest first. A key is the bits of a score, which is not negative, above those of an index counted down: ties go by index. */
static void sort_down(uint64_t *keys, int count) {
  for (int end = count, root = count / 2; end > 1;) {
    if (root > 0) {
      root--;
    } else {
      const uint64_t least = keys[0];
      keys[0] = keys[--end], keys[end] = least;
    }
    for (int i = root;;) {
      int child = 2 * i + 1;
      if (child >= end) break;
      if (child + 1 < end && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= keys[i]) break;
      const uint64_t other = keys[i];
      keys[i] = keys[child], keys[child] = other, i = child;
    }
  }
}

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

/* Logits → probabilities, in place; 0 where no class can pass the threshold. A NaN among an anchor's logits makes all of its scores NaN, which pass no threshold. */
static void softmax_scores(const struct detector *d, const struct level *level) {
  const int area = level->rows * level->columns;
  for (int anchor = 0; anchor < level->anchors; anchor++) {
    float *const logits = level->logits + (ptrdiff_t)anchor * d->classes * area;
    for (int p = 0; p < area; p++) {
      const float background = logits[p];
      float best = logits[p + area];
      for (int c = 2; c < d->classes; c++) best = logits[p + c * area] > best ? logits[p + c * area] : best;
      if (best - background <= d->limit) {
        for (int c = 1; c < d->classes; c++) logits[p + c * area] = 0;
        continue;
      }
      const float most = best > background ? best : background;
      float sum = 0;
      for (int c = 0; c < d->classes; c++) sum += logits[p + c * area] = exponential_one(logits[p + c * area] - most);
      for (int c = 0; c < d->classes; c++) logits[p + c * area] /= sum;
    }
  }
}

KERNEL float within(float x, int most) {
  x = x < 0 ? 0 : x;
  return x > (float)most ? (float)most : x;
}

/* The box of anchor number `index`, counted by level, row, column and anchor; offsets are weighted 10, 10, 5, 5. */
static BOX decode_box(const struct detector *d, uint32_t index, int height, int width) {
  const struct level *level = d->level;
  for (; index >= (uint32_t)(level->rows * level->columns * level->anchors); level++)
    index -= (uint32_t)(level->rows * level->columns * level->anchors);
  const int anchor = (int)index % level->anchors, p = (int)index / level->anchors, area = level->rows * level->columns;
  const float *const offsets = level->offsets + (ptrdiff_t)anchor * 4 * area + p;
  const float w = level->sizes[2 * anchor], h = level->sizes[2 * anchor + 1], largest = 4.135166556742356f; /* log(1000 / 16) */
  const float x = ((float)(p % level->columns) + 0.5f) * (float)level->stride + offsets[0] / 10 * w;
  const float y = ((float)(p / level->columns) + 0.5f) * (float)level->stride + offsets[area] / 10 * h;
  const float dw = offsets[2 * area] / 5, dh = offsets[3 * area] / 5;
  const float half_width = 0.5f * w * exponential_one(dw > largest ? largest : dw);
  const float half_height = 0.5f * h * exponential_one(dh > largest ? largest : dh);
  return (BOX){within(x - half_width, width), within(y - half_height, height), within(x + half_width, width),
               within(y + half_height, height), 0, 0};
}

KERNEL int overlap(const BOX *a, const BOX *b, float threshold) {
  const float x1 = a->x1 > b->x1 ? a->x1 : b->x1, y1 = a->y1 > b->y1 ? a->y1 : b->y1;
  const float x2 = a->x2 < b->x2 ? a->x2 : b->x2, y2 = a->y2 < b->y2 ? a->y2 : b->y2;
  const float w = x2 - x1 > 0 ? x2 - x1 : 0, h = y2 - y1 > 0 ? y2 - y1 : 0, common = w * h;
  const float both = (a->x2 - a->x1) * (a->y2 - a->y1) + (b->x2 - b->x1) * (b->y2 - b->y1) - common;
  return common / both > threshold;
}

/* Boxes of a picture of from_height × from_width that was resized to height × width, the surest first; how many there are. `keys` has
   room for every anchor, or for every class's candidates if these are more; `kept` for every class's candidates. */
static int find_boxes(const struct detector *d, int height, int width, int from_height, int from_width, uint64_t *keys, BOX *kept,
                      BOX *boxes, int max_boxes) {
  const float t = d->score_threshold;
  for (int i = 0; i < d->levels; i++) softmax_scores(d, d->level + i);
  int total = 0;
  for (int class = 1; class < d->classes; class ++) {
    int count = 0;
    uint32_t first = 0;
    for (int i = 0; i < d->levels; i++) {
      const struct level *const level = d->level + i;
      const int area = level->rows * level->columns;
      for (int anchor = 0; anchor < level->anchors; anchor++) {
        const float *const scores = level->logits + ((ptrdiff_t)anchor * d->classes + class) * area;
        for (int p = 0; p < area; p++)
          if (scores[p] > t) keys[count++] = key_of(scores[p], first + (uint32_t)(p * level->anchors + anchor));
      }
      first += (uint32_t)(area * level->anchors);
    }
    sort_down(keys, count);
    if (count > d->candidates) count = d->candidates;
    const int begin = total;
    for (int i = 0; i < count; i++) {
      BOX box = decode_box(d, 0xffffffffu - (uint32_t)keys[i], height, width);
      box.score = score_of(keys[i]), box.label = class;
      int alone = 1;
      for (int j = begin; j < total && alone; j++) alone = !overlap(&kept[j], &box, d->nms_threshold);
      if (alone) kept[total++] = box;
    }
  }
  for (int i = 0; i < total; i++) keys[i] = key_of(kept[i].score, (uint32_t)i);
  sort_down(keys, total);
  if (total > d->most) total = d->most;
  if (total > max_boxes) total = max_boxes;
  const float across = (float)from_width / (float)width, down = (float)from_height / (float)height;
  for (int i = 0; i < total; i++) {
    BOX box = kept[0xffffffffu - (uint32_t)keys[i]];
    box.x1 *= across, box.x2 *= across, box.y1 *= down, box.y2 *= down;
    boxes[i] = box;
  }
  return total;
}
