/* Finds objects in a picture: main PICTURE.ppm FOUND.ppm prints the boxes and draws them. Pictures are 8-bit (P6), of any size. */
#include <stdio.h>
#include <stdlib.h>

#include "NAME.h"

enum { MAX_BOXES = 100 };
#ifdef NAME_WEIGHTS_FILE
static _Alignas(64) float weights[NAME_WEIGHTS_BYTES / sizeof(float)];
#define WEIGHTS weights,
#else
#define WEIGHTS
#endif

static void paint(uint8_t *pixels, int height, int width, int y, int x) {
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  uint8_t *const pixel = pixels + 3 * ((size_t)y * (size_t)width + (size_t)x);
  pixel[0] = 255, pixel[1] = 64, pixel[2] = 0;
}

static void outline(uint8_t *pixels, int height, int width, const NAME_box *box) {
  const int left = (int)box->x1, top = (int)box->y1, right = (int)box->x2, bottom = (int)box->y2;
  for (int x = left; x <= right; x++) paint(pixels, height, width, top, x), paint(pixels, height, width, bottom, x);
  for (int y = top; y <= bottom; y++) paint(pixels, height, width, y, left), paint(pixels, height, width, y, right);
}

int main(int count, char **arguments) {
  FILE *const file = count == 3 ? fopen(arguments[1], "rb") : NULL;
  int width, height, most;
  if (!file || fscanf(file, "P6 %d %d %d", &width, &height, &most) != 3 || fgetc(file) == EOF || most != 255 || width < 1 ||
      height < 1 || width > NAME_MAX_WIDTH) {
    fprintf(stderr, "usage: %s PICTURE.ppm FOUND.ppm (P6, at most %d wide)\n", arguments[0], NAME_MAX_WIDTH);
    return 2;
  }
  const size_t bytes = 3 * (size_t)width * (size_t)height;
  uint8_t *const pixels = malloc(bytes);
  void *const arena = malloc(NAME_DETECT_ARENA_BYTES);
  if (!pixels || !arena || fread(pixels, 1, bytes, file) != bytes) {
    fprintf(stderr, "%s is cut short, or too large for the memory\n", arguments[1]);
    return 1;
  }
  fclose(file);
#ifdef NAME_WEIGHTS_FILE
  FILE *const weights_file = fopen(NAME_WEIGHTS_FILE, "rb");
  if (!weights_file || fread(weights, 1, sizeof weights, weights_file) != sizeof weights) {
    fprintf(stderr, "%s is missing or too short\n", NAME_WEIGHTS_FILE);
    return 1;
  }
  fclose(weights_file);
#endif
  NAME_box boxes[MAX_BOXES];
  const int found = NAME_detect_rgb8(WEIGHTS pixels, height, width, 3 * (ptrdiff_t)width, boxes, MAX_BOXES, arena);
  for (int i = 0; i < found; i++) {
    const NAME_box *const box = &boxes[i];
    printf("%d %.3f %.1f %.1f %.1f %.1f\n", box->label, (double)box->score, (double)box->x1, (double)box->y1, (double)box->x2,
           (double)box->y2);
    if (box->score >= 0.5f) outline(pixels, height, width, box);
  }
  FILE *const drawn = fopen(arguments[2], "wb");
  if (!drawn || fprintf(drawn, "P6\n%d %d\n255\n", width, height) < 0 || fwrite(pixels, 1, bytes, drawn) != bytes || fclose(drawn)) {
    fprintf(stderr, "%s cannot be written\n", arguments[2]);
    return 1;
  }
  free(arena);
  free(pixels);
  return 0;
}
