/* Time. Adds nothing to the network: only a source that is asked to time its steps has this. */
#include <time.h>

KERNEL int64_t now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Nanoseconds since `start` into *time; what it is now. */
KERNEL int64_t lap(int64_t start, int64_t *time) {
  const int64_t end = now();
  *time = end - start;
  return end;
}
