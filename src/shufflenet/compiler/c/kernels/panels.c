/* The panel of a convolution: row k holds, for one input channel and one place in the kernel, the numbers that pixels
   [first, first + count) of the output meet there; zero where that is padding. A convolution is a product with it. */
struct window {
  int height, width;              /* of the input */
  int output_width;
  int kernel_height, kernel_width;
  int stride_y, stride_x, top, left, dilation_y, dilation_x;
  int first, count;               /* output pixels, row by row */
};

/* Panel rows [k, end_k); panel rows lie `stride` numbers apart, with room for LANES more after the last pixel. */
KERNEL void pack_panel(const struct window w, const number *input, const int32_t *from, int k, int end_k, number *panel, int stride) {
  const int taps = w.kernel_height * w.kernel_width;
  for (; k < end_k; k++, panel += stride) {
    const number *plane = input + from[k / taps];
    const int offset_y = k % taps / w.kernel_width * w.dilation_y - w.top;
    const int offset_x = k % w.kernel_width * w.dilation_x - w.left;
    /* Output columns [low, high) read inside the plane. */
    const int low = offset_x < 0 ? (-offset_x + w.stride_x - 1) / w.stride_x : 0;
    const int reach = w.width - offset_x <= 0 ? 0 : (w.width - offset_x + w.stride_x - 1) / w.stride_x;
    const int high = reach < w.output_width ? reach : w.output_width;
    int y = w.first / w.output_width, x = w.first % w.output_width;
    for (int done = 0; done < w.count; y++, x = 0) {
      const int run = w.output_width - x < w.count - done ? w.output_width - x : w.count - done;
      const int input_y = y * w.stride_y + offset_y;
      number *to = panel + done - x;
      done += run;
      int i = x;
      if (input_y >= 0 && input_y < w.height) {
        const number *row = plane + (ptrdiff_t)input_y * w.width + offset_x;
        const int end = high < x + run ? high : x + run;
        for (; i < low && i < x + run; i++) to[i] = 0;
        if (w.stride_x == 1)
          for (int j = i; j < end; j += LANES) store(to + j, load(row + j));
        else
          for (int j = i; j < end; j++) to[j] = row[j * w.stride_x];
        i = end > i ? end : i;
      }
      for (; i < x + run; i++) to[i] = 0;
    }
  }
}
