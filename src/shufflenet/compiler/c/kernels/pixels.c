/* A row of 8-bit RGB pixels as the network's float channels: number = byte · scale + shift of the channel. */
KERNEL void unpack_row(const uint8_t *pixels, int width, int channel, float scale, float shift, number *row) {
  for (int x = 0; x < width; x++) row[x] = to_number((float)pixels[PIXEL_BYTES * x + channel] * scale + shift);
}
