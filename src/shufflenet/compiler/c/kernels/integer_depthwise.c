/* The depthwise 3×3, padding 1, on planes of bytes. A plane's rows are copied between borders of its zero point; there, the pixels that a
   sum needs of one row are four bytes in a line, the last of which has weight 0. Vector j of a block has pixels j, j + 4, ..., so its
   lanes are what an ordinary load from j bytes further finds, and the whole plane is one long row. */
struct integer_depthwise {
  int first, rows;            /* rows of the output */
  const uint8_t *input;
  uint8_t *output;
  uint8_t *padded;            /* room for stride · (rows - 1) + 3 rows of width + 2 bytes, and 2 · BYTES more */
  uint8_t *made;              /* room for rows of width + 2 bytes, and 2 · BYTES more */
  int input_zero, zero, low, high;
};

/* Sum + the dot product of each lane's four bytes with those of w, which are signed. */
KERNEL ints dot_bytes(ints sum, words x, const int8_t w[4]) {
#if DEPTH == 4
  int32_t quad;
  memcpy(&quad, w, sizeof quad);
  return dot(sum, (ints)(x ^ 0x01010101u * OFFSET), splat_int(quad));
#else
  const int32_t even = (int32_t)((uint32_t)(uint16_t)w[0] | (uint32_t)w[2] << 16);
  const int32_t odd = (int32_t)((uint32_t)(uint16_t)w[1] | (uint32_t)w[3] << 16);
  return dot_pairs(dot_pairs(sum, (ints)(x & 0x00FF00FFu), splat_int(even)), (ints)(x >> 8 & 0x00FF00FFu), splat_int(odd));
#endif
}

/* `weights` are three rows of four; `bias` has the input's zero point in it, for bytes as they are. */
KERNEL void integer_depthwise(const int stride, const int height, const int width, const struct integer_depthwise d, const int8_t *weights,
                              int32_t bias, float scale) {
  const int pitch = width + 2, above = stride * d.first - 1, needed = stride * (d.rows - 1) + 3;
  const int output_width = (width - 1) / stride + 1;
  for (int y = 0; y < needed; y++) {
    uint8_t *const to = d.padded + (ptrdiff_t)y * pitch;
    if (above + y < 0 || above + y >= height) memset(to, d.input_zero, (size_t)pitch);
    else {
      memcpy(to + 1, d.input + (ptrdiff_t)(above + y) * width, (size_t)width);
      to[0] = to[pitch - 1] = (uint8_t)d.input_zero;
    }
  }
  int32_t offset = 0;
  for (int i = 0; i < 12; i++) offset += weights[i];
  const ints start = splat_int(bias + OFFSET * offset);
  for (int y = 0; y < d.rows; y += stride == 1 ? d.rows : 1) {
    const uint8_t *const from = d.padded + (ptrdiff_t)stride * y * pitch;
    uint8_t *const made = d.made + (ptrdiff_t)y * pitch;
    const int count = stride == 1 ? d.rows * pitch : width;
    for (int q = 0; q < count; q += BYTES) {
      ints z[4];
      UNROLL for (int j = 0; j < 4; j++) {
        z[j] = (ints){0};
        if (j % stride == 0) {
          ints sum = start;
          UNROLL for (int r = 0; r < 3; r++) sum = dot_bytes(sum, load_bytes(from + q + r * pitch + j), weights + 4 * r);
          z[j] = to_nearest(to_float(sum) * scale);
        }
      }
      const words all = to_bytes(z, d.zero, d.low, d.high);
      if (stride == 1) store_bytes(made + q, all);
      else { /* bytes 0 and 2 of each lane */
        const halves some = __builtin_convertvector((all & 0xFF) | (all >> 8 & 0xFF00), halves);
        memcpy(made + q / 2, &some, sizeof some);
      }
    }
  }
  for (int y = 0; y < d.rows; y++)
    memcpy(d.output + (ptrdiff_t)(d.first + y) * output_width, d.made + (ptrdiff_t)y * pitch, (size_t)output_width);
}
