/* An SSD's post-processing behind its network. Sizes are the detector's, which are known; memory is the caller's. */
enum { BOX_LEVELS_MOST = 8 };

struct level {
  int rows, columns, anchors, stride;
  const float *sizes;      /* width, height of each anchor, in pixels of the resized picture */
  float *logits, *offsets; /* what the network wrote: anchors · classes planes, and anchors · 4 */
};

struct detector {
  int classes, levels; /* the background is class 0 */
  float score_threshold, nms_threshold;
  float limit;          /* no class passes the threshold whose logit is not so far above the background's */
  int candidates, most; /* of a class into non-maximum suppression, and boxes in the end */
  struct level level[BOX_LEVELS_MOST];
};

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

/* The box of anchor number `index`, counted by level, row, column and anchor; offsets are weighted 10, 10, 5, 5. */
static BOX decode_box(const struct detector *d, uint32_t index, int height, int width) {
  const struct level *level = d->level;
  for (; index >= (uint32_t)(level->rows * level->columns * level->anchors); level++)
    index -= (uint32_t)(level->rows * level->columns * level->anchors);
  const int anchor = (int)index % level->anchors, p = (int)index / level->anchors, area = level->rows * level->columns;
  const float *const offsets = level->offsets + (ptrdiff_t)anchor * 4 * area + p;
  const float w = level->sizes[2 * anchor], h = level->sizes[2 * anchor + 1];
  const float x = ((float)(p % level->columns) + 0.5f) * (float)level->stride, y = ((float)(p / level->columns) + 0.5f) * (float)level->stride;
  return moved_box(x, y, w, h, offsets[0] / 10, offsets[area] / 10, offsets[2 * area] / 5, offsets[3 * area] / 5, height, width);
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
    make_heap(keys, count);
    const int begin = total;
    for (int i = 0; i < d->candidates && count > 0; i++) {
      const uint64_t key = take_largest(keys, &count);
      BOX box = decode_box(d, index_of(key), height, width);
      box.score = score_of(key), box.label = class;
      int alone = 1;
      for (int j = begin; j < total && alone; j++) alone = !overlap(&kept[j], &box, d->nms_threshold);
      if (alone) kept[total++] = box;
    }
  }
  for (int i = 0; i < total; i++) keys[i] = key_of(kept[i].score, (uint32_t)i);
  make_heap(keys, total);
  const float across = (float)from_width / (float)width, down = (float)from_height / (float)height;
  int found = 0;
  for (; found < d->most && found < max_boxes && total > 0; found++) {
    BOX box = kept[index_of(take_largest(keys, &total))];
    box.x1 *= across, box.x2 *= across, box.y1 *= down, box.y2 *= down;
    boxes[found] = box;
  }
  return found;
}
