/* A depthwise convolution of any size: for each place in the kernel, the weight times the rows that it meets. */
KERNEL void depthwise_any(const struct window w, const int output_height, const int activation, int planes,
                          const float *weights, const float *bias, const float *input, const int32_t *from,
                          float *output, const int32_t *to, const float *addend, const int32_t *addend_from,
                          float alpha, float beta) {
  for (int plane = 0; plane < planes; plane++)
    for (int y = 0; y < output_height; y++) {
      float *const row = output + to[plane] + (ptrdiff_t)y * w.output_width;
      for (int x = 0; x < w.output_width; x++) row[x] = bias[plane];
      for (int tap_y = 0; tap_y < w.kernel_height; tap_y++) {
        const int input_y = y * w.stride_y + tap_y * w.dilation_y - w.top;
        if (input_y < 0 || input_y >= w.height) continue;
        for (int tap_x = 0; tap_x < w.kernel_width; tap_x++) {
          const int offset = tap_x * w.dilation_x - w.left;
          const float weight = weights[(plane * w.kernel_height + tap_y) * w.kernel_width + tap_x];
          const float *const in = input + from[plane] + (ptrdiff_t)input_y * w.width + offset;
          int low = offset < 0 ? (-offset + w.stride_x - 1) / w.stride_x : 0;
          int high = w.width - offset <= 0 ? 0 : (w.width - offset + w.stride_x - 1) / w.stride_x;
          high = high < w.output_width ? high : w.output_width;
          for (int x = low; x < high; x++) row[x] += weight * in[x * w.stride_x];
        }
      }
      for (int x = 0; x < w.output_width; x++) {
        float z = row[x];
        if (addend) z += addend[addend_from[plane] + y * w.output_width + x];
        row[x] = activate_one(activation, z, alpha, beta);
      }
    }
}
