/* Classifies a picture: main PICTURE.ppm prints the five likeliest classes. The picture has the network's size, 8-bit (P6).
   On several threads: cc -O3 -DTHREADS=2 main.c NAME.c -pthread */
#include <stdio.h>
#include <stdlib.h>

#include "NAME.h"
#ifdef THREADS
#include "threads.h"
static struct threads threads;
#else
#define THREADS 1
#endif

static uint8_t pixels[NAME_INPUT_HEIGHT * NAME_INPUT_WIDTH * NAME_INPUT_CHANNELS];
static float output[NAME_OUTPUT_FLOATS];
#ifdef NAME_WEIGHTS_FILE
static _Alignas(64) float weights[NAME_WEIGHTS_BYTES / sizeof(float)];
#define WEIGHTS weights,
#else
#define WEIGHTS
#endif

int main(int count, char **arguments) {
  FILE *const file = count == 2 ? fopen(arguments[1], "rb") : NULL;
  int width, height, most;
  if (!file || fscanf(file, "P6 %d %d %d", &width, &height, &most) != 3 || fgetc(file) == EOF || most != 255 ||
      height != NAME_INPUT_HEIGHT || width != NAME_INPUT_WIDTH || fread(pixels, 1, sizeof pixels, file) != sizeof pixels) {
    fprintf(stderr, "usage: %s PICTURE.ppm (P6, %d wide, %d high)\n", arguments[0], NAME_INPUT_WIDTH, NAME_INPUT_HEIGHT);
    return 2;
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
  void *const arena = malloc(NAME_ARENA_BYTES_FOR(THREADS));
  if (!arena) return 1;
#ifdef SHUFFLENET_THREADS_H
  threads_start(&threads, THREADS);
  NAME_run_rgb8_on(WEIGHTS pixels, NAME_INPUT_CHANNELS * NAME_INPUT_WIDTH, output, arena, threads_for, &threads);
  threads_stop(&threads);
#else
  NAME_run_rgb8(WEIGHTS pixels, NAME_INPUT_CHANNELS * NAME_INPUT_WIDTH, output, arena);
#endif
  free(arena);
  for (int rank = 0; rank < 5 && rank < NAME_OUTPUT_FLOATS; rank++) {
    int best = 0;
    for (int i = 1; i < NAME_OUTPUT_FLOATS; i++)
      if (output[i] > output[best]) best = i;
    printf("%d %g\n", best, (double)output[best]);
    output[best] = -__builtin_inff();
  }
  return 0;
}
