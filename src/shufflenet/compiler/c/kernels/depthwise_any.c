/* A depthwise convolution of any size: for each place in the kernel, the weight times the rows that it meets, some columns at a time. */
enum { COLUMNS = 64 };

KERNEL void depthwise_any(const struct window w, const int output_height, const int activation, int planes,
                          const weight *weights, const weight *bias, const number *input, const int32_t *from,
                          number *output, const int32_t *to, const number *addend, const int32_t *addend_from,
                          float alpha, float beta) {
  for (int plane = 0; plane < planes; plane++)
    for (int y = 0; y < output_height; y++)
      for (int first = 0; first < w.output_width; first += COLUMNS) {
        const int end = first + COLUMNS < w.output_width ? first + COLUMNS : w.output_width;
        const ptrdiff_t place = (ptrdiff_t)y * w.output_width;
        float sum[COLUMNS];
        for (int x = 0; x < COLUMNS; x++) sum[x] = from_weight(bias[plane]);
        for (int tap_y = 0; tap_y < w.kernel_height; tap_y++) {
          const int input_y = y * w.stride_y + tap_y * w.dilation_y - w.top;
          if (input_y < 0 || input_y >= w.height) continue;
          for (int tap_x = 0; tap_x < w.kernel_width; tap_x++) {
            const int offset = tap_x * w.dilation_x - w.left;
            const float share = from_weight(weights[(plane * w.kernel_height + tap_y) * w.kernel_width + tap_x]);
            const number *const in = input + from[plane] + (ptrdiff_t)input_y * w.width + offset;
            int low = offset < 0 ? (-offset + w.stride_x - 1) / w.stride_x : 0;
            int high = w.width - offset <= 0 ? 0 : (w.width - offset + w.stride_x - 1) / w.stride_x;
            low = low > first ? low : first;
            high = high < end ? high : end;
            for (int x = low; x < high; x++) sum[x - first] += share * from_number(in[x * w.stride_x]);
          }
        }
        for (int x = first; x < end; x++) {
          float z = sum[x - first];
          if (addend) z += from_number(addend[addend_from[plane] + place + x]);
          output[to[plane] + place + x] = to_number(activate_one(activation, z, alpha, beta));
        }
      }
}
