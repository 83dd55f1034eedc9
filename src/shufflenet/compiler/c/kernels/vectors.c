/* Vectors: LANES floats at a time, written with the vector extensions that gcc and clang share. Loads and stores need no
   alignment. LANES and REGISTERS may be set from outside, to try a width that the machine does not have. */
#ifndef LANES
#if defined __AVX512F__
#define LANES 16
#elif defined __AVX__
#define LANES 8
#elif defined __SSE2__ || defined __ARM_NEON || defined __wasm_simd128__ || defined __riscv_vector
#define LANES 4
#else
#define LANES 1
#endif
#endif
#ifndef REGISTERS
#if defined __AVX512F__ || defined __aarch64__ || defined __riscv_vector
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#endif

#if defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
/* KERNEL: constant arguments make the code; it is always inlined. ROUTINE: one copy, which layers share. */
#define KERNEL static inline __attribute__((always_inline, unused))
#define ROUTINE static __attribute__((noinline, unused))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));
typedef float floats_anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

KERNEL vec load(const float *from) { return *(const floats_anywhere *)from; }
KERNEL void store(float *to, vec x) { *(floats_anywhere *)to = x; }
KERNEL vec splat(float x) { return x - (vec){0}; }
KERNEL vec where(bits condition, vec yes, vec no) { return (vec)((condition & (bits)yes) | (~condition & (bits)no)); }

/* a · b + c, in one instruction where there is one. */
#if defined __wasm_relaxed_simd__ && LANES == 4
#pragma STDC FP_CONTRACT OFF /* LLVM 21 would take a + b · c for this, with the operands in that order */
KERNEL vec multiply_add(vec a, vec b, vec c) { return __builtin_wasm_relaxed_madd_f32x4(a, b, c); }
#else
KERNEL vec multiply_add(vec a, vec b, vec c) { return a * b + c; }
#endif

/* WebAssembly's loads take a constant offset from a pointer, if LLVM does not make a pointer of its own for each: it must not know
   how this one moves. */
#if defined __wasm__
#define OPAQUE(POINTER) __asm__("" : "+r"(POINTER))
#else
#define OPAQUE(POINTER) (void)0
#endif

/* The first `count` lanes only. No caller has more than LANES; gcc at -O0, which keeps calls that never happen, warns of those. */
KERNEL void store_first(float *to, vec x, int count) { memcpy(to, &x, sizeof(float) * (size_t)(count < LANES ? count : LANES)); }

/* The larger one; NaN if either is. */
KERNEL vec larger(vec a, vec b) { return where(a != a, a, where(a > b, a, b)); }

/* first, first + 1, first + 2, ... */
KERNEL bits count_from(int first) {
  bits lanes;
  int32_t numbers[LANES];
  UNROLL for (int i = 0; i < LANES; i++) numbers[i] = first + i;
  memcpy(&lanes, numbers, sizeof lanes);
  return lanes;
}

/* Numbers 0, 2, 4, ... and 1, 3, 5, ... of the 2 · LANES in a and b. Of 8 lanes each comes out with its middle pairs swapped,
   for two instructions less; in_order puts that right once the work is done. */
#if LANES == 16
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif LANES == 8
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15)
#elif LANES == 4
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#else
#define EVEN(a, b) (a)
#define ODD(a, b) (b)
#endif
/* The last lane of a, then all but the last of b. */
#if LANES == 16
#define AFTER(a, b) __builtin_shufflevector(a, b, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
#elif LANES == 8
#define AFTER(a, b) __builtin_shufflevector(a, b, 7, 8, 9, 10, 11, 12, 13, 14)
#elif LANES == 4
#define AFTER(a, b) __builtin_shufflevector(a, b, 3, 4, 5, 6)
#else
#define AFTER(a, b) (a)
#endif

KERNEL vec in_order(vec x) {
#if LANES == 8
  return __builtin_shufflevector(x, x, 0, 1, 4, 5, 2, 3, 6, 7);
#else
  return x;
#endif
}

/* The other way: the first and the last LANES numbers of a0, b0, a1, b1, ... */
#if LANES == 16
#define FIRST_HALF(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define LAST_HALF(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define FIRST_HALF(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define LAST_HALF(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif LANES == 4
#define FIRST_HALF(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define LAST_HALF(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define FIRST_HALF(a, b) (a)
#define LAST_HALF(a, b) (b)
#endif

/* The first multiple of 64 bytes: vectors that straddle cache lines cost twice. */
KERNEL float *aligned(void *arena) { return (float *)(((uintptr_t)arena + 63) & ~(uintptr_t)63); }
