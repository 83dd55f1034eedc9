/* Faster R-CNN between its two networks and behind them: proposals, RoIAlign over several maps, and boxes of regions. Sizes are the
   detector's, which are known; memory is the caller's. */
enum {
  LEVELS_MOST = 8,
  POOL_MOST = 16,
  SIDE_BY_SIDE = 16, /* regions that RoIAlign writes together: a cache line of each feature */
  AT_ONCE = 64       /* boxes that a new one is compared with before its fate is looked at */
};

struct level {            /* of the first network: where regions are proposed */
  int rows, columns, anchors, down, across; /* pixels of the resized picture from each row and column to the next */
  const float *sizes;     /* width, height of each anchor */
  const float *logits, *offsets;
};

struct map {              /* of the first network: what regions are cut out of */
  int rows, columns;
  float scale, area;      /* of a pixel; regions of at least so many pixels of the resized picture belong to this map */
  const float *planes;
  float *channels_last;   /* the same, `depth` numbers a pixel */
};

struct detector {
  int levels, maps, channels, depth, pool, classes; /* the background is class 0 */
  int candidates, proposals, most; /* of a level into non-maximum suppression, regions that come out, and boxes in the end */
  int regions;                     /* that the second network takes at once */
  float proposal_nms_threshold, nms_threshold, score_threshold;
  struct level level[LEVELS_MOST];
  struct map map[LEVELS_MOST];
};

/* Boxes that stay, each field a row of `room` numbers, a multiple of AT_ONCE: x1, y1, x2, y2, area, label. */
struct kept {
  int count, room;
  float *numbers;
};

KERNEL float *numbers_of(const struct kept *kept, int field) { return kept->numbers + (ptrdiff_t)field * kept->room; }

static struct kept none_yet(float *numbers, int room) {
  memset(numbers, 0, sizeof(float) * 6 * (size_t)room);
  return (struct kept){0, room, numbers};
}

/* Keeps a box, unless it overlaps with one of its label by more than the threshold; whether it did. Labels are above 0. */
static int keep(struct kept *kept, const BOX *box, float threshold) {
  float *const x1 = numbers_of(kept, 0), *const y1 = numbers_of(kept, 1), *const x2 = numbers_of(kept, 2), *const y2 = numbers_of(kept, 3);
  float *const areas = numbers_of(kept, 4), *const labels = numbers_of(kept, 5);
  const float area = (box->x2 - box->x1) * (box->y2 - box->y1), label = (float)box->label;
  const float left = box->x1, top = box->y1, right = box->x2, bottom = box->y2;
  for (int first = 0; first < kept->count; first += AT_ONCE) {
    int hits = 0;
    for (int i = first; i < first + AT_ONCE; i++) {
      float w = (x2[i] < right ? x2[i] : right) - (x1[i] > left ? x1[i] : left);
      float h = (y2[i] < bottom ? y2[i] : bottom) - (y1[i] > top ? y1[i] : top);
      w = w > 0 ? w : 0, h = h > 0 ? h : 0;
      const float common = w * h;
      hits |= (common / (areas[i] + area - common) > threshold) & (labels[i] == label);
    }
    if (hits) return 0;
  }
  const int i = kept->count++;
  x1[i] = left, y1[i] = top, x2[i] = right, y2[i] = bottom, areas[i] = area, labels[i] = label;
  return 1;
}

KERNEL int is_large(const BOX *box, float least) { return box->x2 - box->x1 >= least && box->y2 - box->y1 >= least; }

/* Like key_of for numbers of any sign: what is larger has the larger key. */
KERNEL uint64_t logit_key(float logit, uint32_t index) {
  uint32_t word;
  logit += 0.0f; /* -0 is 0 */
  memcpy(&word, &logit, 4);
  word ^= word >> 31 ? 0xffffffffu : 0x80000000u;
  return (uint64_t)word << 32 | (0xffffffffu - index);
}

/* A level's anchors, the most likely ones on top of a heap. */
struct heap {
  uint64_t *keys;
  int count, left; /* anchors in it, and how many of them may be candidates */
};

static struct heap anchors_of(const struct level *level, int candidates, uint64_t *keys) {
  struct heap heap = {keys, 0, candidates};
  const int area = level->rows * level->columns;
  for (int anchor = 0; anchor < level->anchors; anchor++)
    for (int p = 0; p < area; p++) {
      const float logit = level->logits[anchor * area + p];
      if (logit == logit)
        keys[heap.count++] = logit_key(logit, (uint32_t)(p * level->anchors + anchor));
      else
        heap.left--; /* torchvision finds a NaN among the largest, and drops it later */
    }
  make_heap(keys, heap.count);
  return heap;
}

KERNEL float probability(const struct level *level, const struct heap *heap) {
  const int index = (int)index_of(heap->keys[0]);
  return activate_one(SIGMOID, level->logits[index % level->anchors * level->rows * level->columns + index / level->anchors], 0, 0);
}

KERNEL BOX proposal(const struct level *level, uint32_t index, int height, int width) {
  const int anchor = (int)index % level->anchors, p = (int)index / level->anchors, area = level->rows * level->columns;
  const float *const offsets = level->offsets + (ptrdiff_t)anchor * 4 * area + p;
  const float x = (float)(p % level->columns * level->across), y = (float)(p / level->columns * level->down);
  return moved_box(x, y, level->sizes[2 * anchor], level->sizes[2 * anchor + 1], offsets[0], offsets[area], offsets[2 * area],
                   offsets[3 * area], height, width);
}

/* Regions that may hold an object, the most likely first. `keys` has room for every anchor. */
static void propose(const struct detector *d, int height, int width, uint64_t *keys, struct kept *regions) {
  struct heap heaps[LEVELS_MOST];
  float likely[LEVELS_MOST];
  for (int i = 0; i < d->levels; i++) {
    heaps[i] = anchors_of(d->level + i, d->candidates, keys);
    keys += d->level[i].rows * d->level[i].columns * d->level[i].anchors;
    if (heaps[i].count) likely[i] = probability(d->level + i, heaps + i);
  }
  while (regions->count < d->proposals) {
    int best = -1;
    for (int i = 0; i < d->levels; i++)
      if (heaps[i].count > 0 && heaps[i].left > 0 && (best < 0 || likely[i] > likely[best])) best = i;
    if (best < 0) return;
    struct heap *const heap = heaps + best;
    BOX box = proposal(d->level + best, index_of(take_largest(heap->keys, &heap->count)), height, width);
    heap->left--;
    if (heap->count) likely[best] = probability(d->level + best, heap);
    box.label = best + 1;
    if (is_large(&box, 1e-3f)) keep(regions, &box, d->proposal_nms_threshold);
  }
}

static void put_channels_last(const struct detector *d) {
  for (int i = 0; i < d->maps; i++) {
    const struct map *const map = d->map + i;
    const int area = map->rows * map->columns;
    for (int p = 0; p < area; p++) {
      float *const to = map->channels_last + (ptrdiff_t)p * d->depth;
      for (int c = 0; c < d->depth; c++) to[c] = c < d->channels ? map->planes[(ptrdiff_t)c * area + p] : 0;
    }
  }
}

/* Where RoIAlign looks along one side of a map: between two neighbours, or beyond the map, where all is 0. */
struct sample {
  int low, high, within;
  float share;
};

static void sample_side(float from, float to, float scale, int size, int pool, struct sample *samples) {
  const float start = from * scale, length = to * scale - start, bin = (length > 1 ? length : 1) / (float)pool;
  for (int i = 0; i < 2 * pool; i++) {
    float at = start + (float)(i / 2) * bin + ((float)(i % 2) + 0.5f) * bin / 2;
    struct sample *const s = samples + i;
    s->within = at >= -1 && at <= (float)size;
    if (!s->within) continue;
    at = at > 0 ? at : 0;
    const int low = (int)at < size - 1 ? (int)at : size - 1;
    s->low = low, s->high = low < size - 1 ? low + 1 : low;
    s->share = low < size - 1 ? at - (float)low : 0;
  }
}

/* A region's map, and where its bins' samples lie there. */
struct region {
  const struct map *map;
  struct sample down[2 * POOL_MOST], across[2 * POOL_MOST];
};

static void look_up(const struct detector *d, const struct kept *regions, int i, struct region *region) {
  const struct map *map = d->map;
  while (map < d->map + d->maps - 1 && numbers_of(regions, 4)[i] >= map[1].area) map++;
  region->map = map;
  sample_side(numbers_of(regions, 0)[i], numbers_of(regions, 2)[i], map->scale, map->columns, d->pool, region->across);
  sample_side(numbers_of(regions, 1)[i], numbers_of(regions, 3)[i], map->scale, map->rows, d->pool, region->down);
}

/* The mean of a bin's four samples, each of four pixels: `depth` numbers. */
static void align_bin(const struct detector *d, const struct region *region, int bin, float *means) {
  const struct sample *const down = region->down + bin / d->pool * 2, *const across = region->across + bin % d->pool * 2;
  const float *pixels[16];
  float shares[16];
  int count = 0;
  for (int i = 0; i < 4; i++) {
    const struct sample *const y = down + i / 2, *const x = across + i % 2;
    if (!y->within || !x->within) continue;
    for (int corner = 0; corner < 4; corner++, count++) {
      const int row = corner < 2 ? y->low : y->high, column = corner % 2 ? x->high : x->low;
      pixels[count] = region->map->channels_last + ((ptrdiff_t)row * region->map->columns + column) * d->depth;
      shares[count] = 0.25f * (corner < 2 ? 1 - y->share : y->share) * (corner % 2 ? x->share : 1 - x->share);
    }
  }
  for (int c = 0; c < d->depth; c += LANES) {
    vec sum = {0};
    for (int i = 0; i < count; i++) sum = multiply_add(splat(shares[i]), load(pixels[i] + c), sum);
    store(means + c, sum);
  }
}

/* Regions from number `first` on → planes of the second network's input, a pixel a region: bin by bin, channel by channel. `means` has
   room for SIDE_BY_SIDE · depth. */
static void align_regions(const struct detector *d, const struct kept *regions, int first, float *means, float *planes) {
  struct region region[SIDE_BY_SIDE];
  for (int i = 0; i < d->regions; i += SIDE_BY_SIDE) {
    const int left = regions->count - first - i, count = left < SIDE_BY_SIDE ? left : SIDE_BY_SIDE;
    for (int r = 0; r < count; r++) look_up(d, regions, first + i + r, region + r);
    for (int r = count < 0 ? 0 : count; r < SIDE_BY_SIDE; r++) memset(means + r * d->depth, 0, sizeof(float) * (size_t)d->depth);
    for (int bin = 0; bin < d->pool * d->pool; bin++) {
      for (int r = 0; r < count; r++) align_bin(d, region + r, bin, means + r * d->depth);
      for (int c = 0; c < d->channels; c++) {
        float *const to = planes + (ptrdiff_t)(bin * d->channels + c) * d->regions + i;
        for (int r = 0; r < SIDE_BY_SIDE; r++) to[r] = means[r * d->depth + c];
      }
    }
  }
}

/* Logits → probabilities, in place: planes of classes, a pixel a region. */
static void softmax_regions(const struct detector *d, float *logits) {
  for (int p = 0; p < d->regions; p += LANES) {
    vec most = load(logits + p), sum = {0};
    for (int c = 1; c < d->classes; c++) most = larger(most, load(logits + c * d->regions + p));
    for (int c = 0; c < d->classes; c++) {
      float *const logit = logits + c * d->regions + p;
      const vec e = exponential(load(logit) - most);
      store(logit, e);
      sum += e;
    }
    for (int c = 0; c < d->classes; c++) store(logits + c * d->regions + p, load(logits + c * d->regions + p) / sum);
  }
}

/* A region as the second network moves it for a class; offsets are weighted 10, 10, 5, 5. */
KERNEL BOX box_of(const struct detector *d, const struct kept *regions, int i, int class, const float *offsets, int height, int width) {
  const float x1 = numbers_of(regions, 0)[i], y1 = numbers_of(regions, 1)[i];
  const float w = numbers_of(regions, 2)[i] - x1, h = numbers_of(regions, 3)[i] - y1;
  const int n = d->regions;
  const float *const o = offsets + (ptrdiff_t)(i / n * d->classes + class) * 4 * n + i % n;
  return moved_box(x1 + 0.5f * w, y1 + 0.5f * h, w, h, o[0] / 10, o[n] / 10, o[2 * n] / 5, o[3 * n] / 5, height, width);
}

/* Boxes of a picture of from_height × from_width that was resized to height × width, the surest first; how many there are. `logits` and
   `offsets` are what the second network made, run by run. `keys` has room for every class of every region. */
static int find_objects(const struct detector *d, const struct kept *regions, float *logits, const float *offsets, int height, int width,
                        int from_height, int from_width, uint64_t *keys, struct kept *kept, BOX *boxes, int max_boxes) {
  const int objects = d->classes - 1;
  int count = 0, found = 0;
  for (int first = 0; first < regions->count; first += d->regions) {
    float *const scores = logits + (ptrdiff_t)first * d->classes;
    softmax_regions(d, scores);
    for (int class = 1; class < d->classes; class++)
      for (int i = 0; i < d->regions && first + i < regions->count; i++) {
        const float score = scores[class * d->regions + i];
        if (score > d->score_threshold) keys[count++] = key_of(score, (uint32_t)((first + i) * objects + class - 1));
      }
  }
  make_heap(keys, count);
  const float across = (float)from_width / (float)width, down = (float)from_height / (float)height;
  while (count > 0 && found < d->most && found < max_boxes) {
    const uint64_t key = take_largest(keys, &count);
    const int i = (int)index_of(key) / objects, class = (int)index_of(key) % objects + 1;
    BOX box = box_of(d, regions, i, class, offsets, height, width);
    box.score = score_of(key), box.label = class;
    if (!is_large(&box, 1e-2f) || !keep(kept, &box, d->nms_threshold)) continue;
    box.x1 *= across, box.x2 *= across, box.y1 *= down, box.y2 *= down;
    boxes[found++] = box;
  }
  return found;
}
