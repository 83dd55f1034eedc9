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

/* The first `count` numbers; 0 behind them. */
KERNEL vec load_first(const float *from, int count) {
  vec x = {0};
  memcpy(&x, from, sizeof(float) * (size_t)(count < LANES ? count : LANES));
  return x;
}

KERNEL int any(bits condition) {
  int32_t either = 0;
  UNROLL for (int i = 0; i < LANES; i++) either |= condition[i];
  return either != 0;
}

/* LANES neighbours of one anchor of a level, some of which may be objects. */
struct likely {
  int level, anchor, first;
};

/* `count` anchors' logits of all classes, `area` numbers apart → probabilities of the objects' classes, in place; 0 where no class
   can pass the threshold. Nothing is written, and the result is 0, where that is so of all. A NaN among an anchor's logits makes all of
   its scores NaN, which pass no threshold. */
KERNEL int softmax_scores(const struct detector *d, float *logits, int area, int count) {
  const vec background = load_first(logits, count), zero = {0};
  vec best = load_first(logits + area, count);
  for (int c = 2; c < d->classes; c++) best = larger(best, load_first(logits + c * area, count));
  const bits none = best - background <= splat(d->limit);
  if (!any(~none)) return 0;
  const vec most = larger(best, background);
  vec sum = exponential(background - most);
  for (int c = 1; c < d->classes; c++) {
    const vec y = exponential(load_first(logits + c * area, count) - most);
    store_first(logits + c * area, y, count);
    sum += y;
  }
  for (int c = 1; c < d->classes; c++)
    store_first(logits + c * area, where(none, zero, load_first(logits + c * area, count) / sum), count);
  return 1;
}

/* Scores of a level; where some may pass the threshold is added to `likely`, which has `count`. How many it has then. */
static int score_level(const struct detector *d, int number, struct likely *likely, int count) {
  const struct level *const level = d->level + number;
  const int area = level->rows * level->columns;
  for (int anchor = 0; anchor < level->anchors; anchor++) {
    float *const logits = level->logits + (ptrdiff_t)anchor * d->classes * area;
    for (int p = 0; p < area; p += LANES) {
      const int some = p + LANES <= area ? softmax_scores(d, logits + p, area, LANES) : softmax_scores(d, logits + p, area, area - p);
      if (some) likely[count++] = (struct likely){number, anchor, p};
    }
  }
  return count;
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
   room for every anchor, or for every class's candidates if these are more; `kept` for every class's candidates, `likely` for every
   anchor. */
static int find_boxes(const struct detector *d, int height, int width, int from_height, int from_width, struct likely *likely, uint64_t *keys,
                      BOX *kept, BOX *boxes, int max_boxes) {
  const float t = d->score_threshold;
  uint32_t before[BOX_LEVELS_MOST], anchors = 0; /* of each level, how many anchors come before it */
  int places = 0, total = 0;
  for (int i = 0; i < d->levels; i++) {
    const struct level *const level = d->level + i;
    before[i] = anchors, anchors += (uint32_t)(level->rows * level->columns * level->anchors);
    places = score_level(d, i, likely, places);
  }
  for (int class = 1; class < d->classes; class ++) {
    int count = 0;
    for (int place = 0; place < places; place++) {
      const struct likely at = likely[place];
      const struct level *const level = d->level + at.level;
      const int area = level->rows * level->columns, end = at.first + LANES < area ? at.first + LANES : area;
      const float *const scores = level->logits + ((ptrdiff_t)at.anchor * d->classes + class) * area;
      if (!any(load_first(scores + at.first, end - at.first) > splat(t))) continue;
      for (int i = at.first; i < end; i++)
        if (scores[i] > t) keys[count++] = key_of(scores[i], before[at.level] + (uint32_t)(i * level->anchors + at.anchor));
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
