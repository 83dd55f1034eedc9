/* Vectors: LANES numbers at a time, written with the vector extensions that gcc and clang share. Loads and stores need no
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

/* `wide` are floats; `vec` is what is computed with: those, but where halves.c has arithmetic of its own. */
typedef float wide __attribute__((vector_size(4 * LANES)));
typedef int32_t wide_bits __attribute__((vector_size(4 * LANES)));
typedef float floats_anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#ifdef HALF_ARITHMETIC
typedef _Float16 vec __attribute__((vector_size(2 * LANES)));
typedef int16_t lane;
typedef int16_t bits __attribute__((vector_size(2 * LANES)));
KERNEL vec splat_half(_Float16 x) { /* gcc would make x - (vec){0} of floats */
  vec y;
  UNROLL for (int i = 0; i < LANES; i++) y[i] = x;
  return y;
}
KERNEL vec splat(float x) { return splat_half((_Float16)x); }
#else
typedef wide vec;
typedef int32_t lane;
typedef wide_bits bits;
KERNEL vec splat(float x) { return x - (vec){0}; }
#endif

KERNEL wide load_floats(const float *from) { return *(const floats_anywhere *)from; }
KERNEL void store_floats(float *to, wide x) { *(floats_anywhere *)to = x; }
KERNEL wide splat_wide(float x) { return x - (wide){0}; }
KERNEL vec where(bits condition, vec yes, vec no) { return (vec)((condition & (bits)yes) | (~condition & (bits)no)); }
KERNEL wide where_wide(wide_bits condition, wide yes, wide no) {
  return (wide)((condition & (wide_bits)yes) | (~condition & (wide_bits)no));
}

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

/* The larger one; NaN if either is. */
KERNEL vec larger(vec a, vec b) { return where(a != a, a, where(a > b, a, b)); }
KERNEL wide larger_wide(wide a, wide b) { return where_wide(a != a, a, where_wide(a > b, a, b)); }

/* first, first + 1, first + 2, ... */
KERNEL bits count_from(int first) {
  bits lanes;
  lane numbers[LANES];
  UNROLL for (int i = 0; i < LANES; i++) numbers[i] = (lane)(first + i);
  memcpy(&lanes, numbers, sizeof lanes);
  return lanes;
}

/* Numbers 0, 2, 4, ... and 1, 3, 5, ... of the 2 · LANES in a and b. Of 8 lanes each comes out with its middle pairs swapped,
   for two instructions less; in_order puts that right once the work is done. */
#if LANES == 32
#define EVEN(a, b) \
  __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, \
                          54, 56, 58, 60, 62)
#define ODD(a, b) \
  __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, \
                          55, 57, 59, 61, 63)
#elif LANES == 16
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif LANES == 8 && defined HALF_ARITHMETIC
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
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
#if LANES == 32
#define AFTER(a, b) \
  __builtin_shufflevector(a, b, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, \
                          57, 58, 59, 60, 61, 62)
#elif LANES == 16
#define AFTER(a, b) __builtin_shufflevector(a, b, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
#elif LANES == 8
#define AFTER(a, b) __builtin_shufflevector(a, b, 7, 8, 9, 10, 11, 12, 13, 14)
#elif LANES == 4
#define AFTER(a, b) __builtin_shufflevector(a, b, 3, 4, 5, 6)
#else
#define AFTER(a, b) (a)
#endif

KERNEL vec in_order(vec x) {
#if LANES == 8 && !defined HALF_ARITHMETIC
  return __builtin_shufflevector(x, x, 0, 1, 4, 5, 2, 3, 6, 7);
#else
  return x;
#endif
}

/* The other way: the first and the last LANES numbers of a0, b0, a1, b1, ... */
#if LANES == 32
#define FIRST_HALF(a, b) \
  __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, \
                          14, 46, 15, 47)
#define LAST_HALF(a, b) \
  __builtin_shufflevector(a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, \
                          60, 29, 61, 30, 62, 31, 63)
#elif LANES == 16
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

/* What planes hold, what weights are stored as, and `scalar`, a lane of `vec`: all floats, but where halves.c says otherwise. */
#ifndef HALF_NUMBERS
typedef float number;
KERNEL vec load(const number *from) { return load_floats(from); }
KERNEL void store(number *to, vec x) { store_floats(to, x); }
KERNEL vec spread(number x) { return splat(x); }
KERNEL float from_number(number x) { return x; }
KERNEL number to_number(float x) { return x; }
KERNEL const number *row_of(const float *row, int width, number *buffer) {
  (void)width, (void)buffer;
  return row;
}
KERNEL wide to_wide(vec x) { return x; }
KERNEL vec to_vec(wide x) { return x; }
KERNEL wide load_wide(const number *from) { return load(from); }
KERNEL void store_wide(number *to, wide x) { store(to, x); }
/* The first `count` lanes only. No caller has more than LANES; gcc at -O0, which keeps calls that never happen, warns of those. */
KERNEL void store_first(number *to, vec x, int count) { memcpy(to, &x, sizeof(number) * (size_t)(count < LANES ? count : LANES)); }
#endif
#ifndef HALF_WEIGHTS
typedef float weight;
KERNEL wide load_weights(const weight *from) { return load_floats(from); }
KERNEL float from_weight(weight x) { return x; }
KERNEL const float *factors_of(const weight *weights, int count, float *room) {
  (void)count, (void)room;
  return weights;
}
#endif
#ifndef HALF_ARITHMETIC
typedef float scalar;
KERNEL vec load_scalars(const scalar *from) { return load_floats(from); }
KERNEL void store_scalars(scalar *to, vec x) { store_floats(to, x); }
KERNEL vec spread_scalar(scalar x) { return splat(x); }
#endif
