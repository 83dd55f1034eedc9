/* The loader's threads (run/threads.py): kernels/threads.h as functions of a library, and pictures dealt to threads. */
#include <stddef.h>

#include "threads.h"

size_t pool_bytes(void) { return sizeof(struct threads); }
int pool_start(struct threads *pool, int workers) { return threads_start(pool, workers); }
void pool_stop(struct threads *pool) { threads_stop(pool); }
void pool_for(void *pool, int count, void (*task)(void *data, int worker, int first, int end), void *data) {
  threads_for(pool, count, task, data);
}

/* Calls of NAME_run, one a picture: arguments move on by so many bytes from picture to picture, the arena from worker to worker. */
struct batch {
  void (*run)(void);
  int arguments; /* with the arena, which is the last */
  char *argument[8];
  ptrdiff_t step[8];
};

static void run_pictures(void *data, int worker, int first, int end) {
  const struct batch *const b = data;
  for (int picture = first; picture < end; picture++) {
    void *p[8];
    for (int i = 0; i < b->arguments; i++)
      p[i] = b->argument[i] + (i + 1 < b->arguments ? picture : worker) * b->step[i];
    switch (b->arguments) {
      case 3: ((void (*)(void *, void *, void *))b->run)(p[0], p[1], p[2]); break;
      case 4: ((void (*)(void *, void *, void *, void *))b->run)(p[0], p[1], p[2], p[3]); break;
      case 5: ((void (*)(void *, void *, void *, void *, void *))b->run)(p[0], p[1], p[2], p[3], p[4]); break;
      case 6: ((void (*)(void *, void *, void *, void *, void *, void *))b->run)(p[0], p[1], p[2], p[3], p[4], p[5]); break;
      case 7:
        ((void (*)(void *, void *, void *, void *, void *, void *, void *))b->run)(p[0], p[1], p[2], p[3], p[4], p[5], p[6]);
        break;
      default:
        ((void (*)(void *, void *, void *, void *, void *, void *, void *, void *))b->run)(
            p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
    }
  }
}

/* Each picture is a part by itself: who is done sooner takes more. */
void pool_deal(struct threads *pool, int count, struct batch *batch) {
  pool->parts = count < 0xffff ? count : 0xffff;
  threads_for(pool, count, run_pictures, batch);
  pool->parts = pool->workers;
}
