/* Threads for NAME_run_on, in C or C++, on pthreads: they stay, spin for a moment when there is nothing to do, then sleep.

     struct threads threads;
     threads_start(&threads, 2);                                  // the caller is one of the two
     NAME_run_on(input, output, arena, threads_for, &threads);    // an arena of NAME_ARENA_BYTES_FOR(2) bytes
     threads_stop(&threads);

   In C++ a `shufflenet::Threads threads(2)` stops them by itself; it is given as `&threads`, too. One thread at a time may call
   threads_for with the same `threads`. Link with -pthread. */
#ifndef SHUFFLENET_THREADS_H
#define SHUFFLENET_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <stdint.h>

enum {
  THREADS_MOST = 64,
  THREADS_SPINS = 4000, /* some ten microseconds, or a few times that: longer than any step of a network is left to one thread */
};

struct threads;
struct threads_worker {
  struct threads *threads;
  int number;
  pthread_t thread;
};

struct threads {
  uint64_t work;     /* a round's number, 32 bits; how many parts it has, 16; how many of them are taken, 16 */
  char apart[56];    /* a cache line for each of these two: all threads watch them */
  int32_t done;      /* parts */
  int32_t sleeping;  /* threads */
  char again[56];
  void (*task)(void *data, int worker, int first, int end);
  void *data;
  int32_t count, parts, stops;
  int workers, started; /* with the caller; without */
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  struct threads_worker worker[THREADS_MOST];
};

#define THREADS_FUNCTION static inline __attribute__((unused))

THREADS_FUNCTION void threads_pause(void) {
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#elif defined __aarch64__ || defined __arm__
  __asm__ volatile("yield");
#endif
}

/* Does one part of the round that `work` says, if no other thread was faster: 1. No part is left: 0. */
THREADS_FUNCTION int threads_take(struct threads *t, int worker) {
  uint64_t work = __atomic_load_n(&t->work, __ATOMIC_ACQUIRE);
  const int parts = (int)(work >> 16 & 0xffff), part = (int)(work & 0xffff);
  if (part == parts) return 0;
  void (*const task)(void *, int, int, int) = __atomic_load_n(&t->task, __ATOMIC_RELAXED);
  void *const data = __atomic_load_n(&t->data, __ATOMIC_RELAXED);
  const int64_t count = __atomic_load_n(&t->count, __ATOMIC_RELAXED);
  /* Where it is still the same round, what was just read is this round's. */
  if (!__atomic_compare_exchange_n(&t->work, &work, work + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return 1;
  task(data, worker, (int)(count * part / parts), (int)(count * (part + 1) / parts));
  __atomic_fetch_add(&t->done, 1, __ATOMIC_RELEASE);
  return 1;
}

THREADS_FUNCTION void *threads_work(void *argument) {
  struct threads_worker *const self = (struct threads_worker *)argument;
  struct threads *const t = self->threads;
  for (int spins = 0;; spins++) {
    const uint64_t work = __atomic_load_n(&t->work, __ATOMIC_ACQUIRE);
    if ((work >> 16 & 0xffff) != (work & 0xffff)) {
      threads_take(t, self->number);
      spins = 0;
    } else if (spins < THREADS_SPINS) {
      threads_pause();
    } else {
      pthread_mutex_lock(&t->mutex);
      /* Either the caller sees that this thread sleeps, or this thread sees the caller's work. */
      __atomic_fetch_add(&t->sleeping, 1, __ATOMIC_SEQ_CST);
      while (__atomic_load_n(&t->work, __ATOMIC_SEQ_CST) == work && !t->stops) pthread_cond_wait(&t->wake, &t->mutex);
      __atomic_fetch_sub(&t->sleeping, 1, __ATOMIC_SEQ_CST);
      const int stops = t->stops;
      pthread_mutex_unlock(&t->mutex);
      if (stops) return 0;
      spins = 0;
    }
  }
}

/* parallel_for of NAME_run_on: `threads` is a struct threads *. */
THREADS_FUNCTION void threads_for(void *threads, int count, void (*task)(void *data, int worker, int first, int end), void *data) {
  struct threads *const t = (struct threads *)threads;
  const int parts = count < t->parts ? count : t->parts;
  if (parts <= 1) {
    if (count > 0) task(data, 0, 0, count);
    return;
  }
  __atomic_store_n(&t->task, task, __ATOMIC_RELAXED);
  __atomic_store_n(&t->data, data, __ATOMIC_RELAXED);
  __atomic_store_n(&t->count, count, __ATOMIC_RELAXED);
  __atomic_store_n(&t->done, 1, __ATOMIC_RELAXED);
  /* The first part is the caller's, so that it finds in its cache what it made of the step before. */
  const uint64_t round = (__atomic_load_n(&t->work, __ATOMIC_RELAXED) >> 32) + 1;
  __atomic_store_n(&t->work, round << 32 | (uint64_t)parts << 16 | 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&t->sleeping, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&t->mutex);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
  }
  task(data, 0, 0, (int)((int64_t)count / parts));
  while (threads_take(t, 0)) continue;
  for (int spins = 0; __atomic_load_n(&t->done, __ATOMIC_ACQUIRE) < parts; spins++) {
    if (spins < THREADS_SPINS) threads_pause();
    else sched_yield(); /* a thread that has a part waits for a processor */
  }
}

THREADS_FUNCTION void threads_stop(struct threads *t) {
  pthread_mutex_lock(&t->mutex);
  t->stops = 1;
  pthread_cond_broadcast(&t->wake);
  pthread_mutex_unlock(&t->mutex);
  for (int i = 0; i < t->started; i++) pthread_join(t->worker[i].thread, 0);
  pthread_cond_destroy(&t->wake);
  pthread_mutex_destroy(&t->mutex);
}

/* `workers` with the caller, 1 to THREADS_MOST; fewer where the system gives no more. How many there are. */
THREADS_FUNCTION int threads_start(struct threads *t, int workers) {
  t->work = 0, t->done = 0, t->sleeping = 0, t->stops = 0, t->started = 0;
  pthread_mutex_init(&t->mutex, 0);
  pthread_cond_init(&t->wake, 0);
  while (t->started + 1 < workers && t->started < THREADS_MOST - 1) {
    struct threads_worker *const w = &t->worker[t->started];
    w->threads = t;
    w->number = t->started + 1;
    if (pthread_create(&w->thread, 0, threads_work, w)) break;
    t->started++;
  }
  t->workers = t->parts = t->started + 1;
  return t->workers;
}

#ifdef __cplusplus
namespace shufflenet {
struct Threads : threads {
  explicit Threads(int workers) { threads_start(this, workers); }
  ~Threads() { threads_stop(this); }
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;
};
}  // namespace shufflenet
#endif

#endif
