/* Half precision: numbers of 16 bits, IEEE 754's binary16, rounded to the nearest, ties to even. Weights are stored so, with
   HALF_NUMBERS planes too. Arithmetic is in floats, but where HALF_ARITHMETIC says that the machine has it in halves. */
#if defined __F16C__ || defined __AVX512F__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#ifdef HALF_ARITHMETIC
typedef _Float16 half;
#else
typedef uint16_t half;
#endif
typedef half halves __attribute__((vector_size(2 * LANES)));
typedef half halves_anywhere __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

#if defined HALF_ARITHMETIC
KERNEL wide widen(halves x) { return __builtin_convertvector(x, wide); }
KERNEL halves narrow(wide x) { return __builtin_convertvector(x, halves); }
#elif LANES == 16 && defined __AVX512F__
KERNEL wide widen(halves x) { return (wide)_mm512_cvtph_ps((__m256i)x); }
KERNEL halves narrow(wide x) { return (halves)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT); }
#elif LANES == 8 && defined __F16C__
KERNEL wide widen(halves x) { return (wide)_mm256_cvtph_ps((__m128i)x); }
KERNEL halves narrow(wide x) { return (halves)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT); }
#elif LANES == 4 && defined __aarch64__
KERNEL wide widen(halves x) { return (wide)vcvt_f32_f16((float16x4_t)x); }
KERNEL halves narrow(wide x) { return (halves)vcvt_f16_f32((float32x4_t)x); }
#else
/* By bits: a float has 3 bits more of an exponent, 112 more of its bias, and 13 bits more behind the point. */
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
KERNEL words either(words condition, words yes, words no) { return (condition & yes) | (~condition & no); }
KERNEL wide widen(halves x) {
  const words all = __builtin_convertvector(x, words), size = (all & 0x7fff) << 13;
  const words scaled = (words)((wide)size * 0x1p112f); /* of small numbers, which have no leading 1, too */
  return (wide)((all & 0x8000) << 16 | scaled | ((words)(size >= 0x0f800000) & 0x7f800000));
}
KERNEL halves narrow(wide x) {
  const words size = (words)x & 0x7fffffff, sign = (words)x >> 16 & 0x8000;
  const words usual = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
  const words small = (words)((wide)size + 0.5f) - 0x3f000000; /* the sum rounds where a half ends */
  const words finite = either((words)(size < 0x38800000), small, usual);
  const words not_nan = either((words)(size >= 0x477ff000), 0x7c00 - (words){0}, finite);
  return __builtin_convertvector(either((words)(size > 0x7f800000), 0x7e00 - (words){0}, not_nan) | sign, halves);
}
#endif

typedef half weight;
KERNEL wide load_weights(const weight *from) { return widen(*(const halves_anywhere *)from); }

/* `count` weights as products multiply by them: in `room`, which has a vector more, where those are not halves. */
#ifdef HALF_ARITHMETIC
KERNEL float from_weight(weight x) { return (float)x; }
typedef half scalar;
KERNEL const scalar *factors_of(const weight *weights, int count, scalar *room) {
  (void)count, (void)room;
  return weights;
}
KERNEL vec load_scalars(const scalar *from) { return *(const halves_anywhere *)from; }
KERNEL void store_scalars(scalar *to, vec x) { *(halves_anywhere *)to = x; }
KERNEL vec spread_scalar(scalar x) { return splat_half(x); }
#else
KERNEL float from_weight(weight x) { return widen(x - (halves){0})[0]; }
KERNEL const scalar *factors_of(const weight *weights, int count, scalar *room) {
  for (int i = 0; i < count; i += LANES) store_floats(room + i, load_weights(weights + i));
  return room;
}
#endif

#ifdef HALF_NUMBERS
typedef half number;
#ifdef HALF_ARITHMETIC
KERNEL vec load(const number *from) { return *(const halves_anywhere *)from; }
KERNEL void store(number *to, vec x) { *(halves_anywhere *)to = x; }
KERNEL vec spread(number x) { return splat_half(x); }
KERNEL float from_number(number x) { return (float)x; }
KERNEL number to_number(float x) { return (number)x; }
KERNEL wide to_wide(vec x) { return widen(x); }
KERNEL vec to_vec(wide x) { return narrow(x); }
#else
KERNEL vec load(const number *from) { return widen(*(const halves_anywhere *)from); }
KERNEL void store(number *to, vec x) { *(halves_anywhere *)to = narrow(x); }
KERNEL vec spread(number x) { return widen(x - (halves){0}); }
KERNEL float from_number(number x) { return spread(x)[0]; }
KERNEL number to_number(float x) { return narrow(splat_wide(x))[0]; }
KERNEL wide to_wide(vec x) { return x; }
KERNEL vec to_vec(wide x) { return x; }
#endif
KERNEL wide load_wide(const number *from) { return to_wide(load(from)); }
KERNEL void store_wide(number *to, wide x) { store(to, to_vec(x)); }
KERNEL void store_first(number *to, vec x, int count) {
  number numbers[LANES];
  store(numbers, x);
  memcpy(to, numbers, sizeof(number) * (size_t)(count < LANES ? count : LANES));
}

/* Rows and planes from the caller's floats, and to them. */
KERNEL const number *row_of(const float *row, int width, number *buffer) {
  int i = 0;
  for (; i + LANES <= width; i += LANES) store_wide(buffer + i, load_floats(row + i));
  for (; i < width; i++) buffer[i] = to_number(row[i]);
  return buffer;
}
KERNEL void narrow_planes(const int size, int count, const float *input, const int32_t *from, number *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) row_of(input + from[plane], size, output + to[plane]);
}
KERNEL void widen_planes(const int size, int count, const number *input, const int32_t *from, float *output, const int32_t *to) {
  for (int plane = 0; plane < count; plane++) {
    int i = 0;
    for (; i + LANES <= size; i += LANES) store_floats(output + to[plane] + i, load_wide(input + from[plane] + i));
    for (; i < size; i++) output[to[plane] + i] = from_number(input[from[plane] + i]);
  }
}
#endif
