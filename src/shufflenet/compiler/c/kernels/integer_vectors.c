/* Vectors of bytes and of 32-bit integers: BYTES pixels of 8 bits at a time, LANES sums. A block of BYTES pixels is four vectors of
   sums: vector j has pixels j, j + 4, j + 8, ... So bytes become sums, and sums bytes, in the pixels' order by simple means on any
   machine. Intrinsics stand where C has no operator: dot products, rounding to the nearest, narrowing that saturates. */
#if defined __SSE2__
#include <immintrin.h>
#elif defined __ARM_NEON
#include <arm_neon.h>
#elif defined __wasm_simd128__
#include <wasm_simd128.h>
#endif

enum { BYTES = 4 * LANES };

typedef uint8_t bytes __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint8_t bytes_anywhere __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef uint8_t quarter __attribute__((vector_size(LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef int32_t ints_anywhere __attribute__((vector_size(4 * LANES), aligned(1), may_alias));

KERNEL words load_bytes(const uint8_t *from) { return (words) * (const bytes_anywhere *)from; }
KERNEL void store_bytes(uint8_t *to, words x) { *(bytes_anywhere *)to = (bytes)x; }
/* The first `count` bytes of one of `most`: in pieces whose sizes are known, since a call would cost every sum its register. */
KERNEL void store_pieces(const int most, uint8_t *to, const uint8_t *from, int count) {
  int done = 0;
  UNROLL for (int size = most / 2; size > 0; size /= 2)
    if (count & size) memcpy(to + done, from + done, (size_t)size), done += size;
}
/* Fewer bytes than a vector has. */
KERNEL void store_some(uint8_t *to, words x, int count) {
  uint8_t own[BYTES];
  store_bytes(own, x);
  store_pieces(BYTES, to, own, count);
}
/* The first `count` bytes, or all. */
KERNEL void store_quarter(uint8_t *to, quarter x, int count) {
  if (count >= LANES) memcpy(to, &x, sizeof x);
  else {
    uint8_t own[LANES];
    memcpy(own, &x, sizeof x);
    store_pieces(LANES, to, own, count);
  }
}
KERNEL ints load_ints(const void *from) { return *(const ints_anywhere *)from; }
KERNEL void store_ints(void *to, ints x) { *(ints_anywhere *)to = x; }
/* A byte a lane. gcc 12 has an instruction for 16 lanes only by way of 16 bits, which for 4 lanes it gets wrong. */
#if LANES == 16
KERNEL words words_of(quarter x) { return __builtin_convertvector(__builtin_convertvector(x, halves), words); }
#else
KERNEL words words_of(quarter x) { return __builtin_convertvector(x, words); }
#endif
KERNEL ints where_int(ints condition, ints yes, ints no) { return (condition & yes) | (~condition & no); }
KERNEL ints splat_int(int32_t x) { return x - (ints){0}; }

/* Sum + a product of the lanes' two 16-bit numbers each. */
#if LANES == 16 && defined __AVX512VNNI__
KERNEL ints dot_pairs(ints sum, ints x, ints w) { return (ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)x, (__m512i)w); }
#elif LANES == 16 && defined __AVX512BW__
KERNEL ints dot_pairs(ints sum, ints x, ints w) { return sum + (ints)_mm512_madd_epi16((__m512i)x, (__m512i)w); }
#elif LANES == 8 && defined __AVX2__
KERNEL ints dot_pairs(ints sum, ints x, ints w) { return sum + (ints)_mm256_madd_epi16((__m256i)x, (__m256i)w); }
#elif LANES == 4 && defined __SSE2__
KERNEL ints dot_pairs(ints sum, ints x, ints w) { return sum + (ints)_mm_madd_epi16((__m128i)x, (__m128i)w); }
#elif LANES == 4 && defined __wasm_simd128__
KERNEL ints dot_pairs(ints sum, ints x, ints w) { return sum + (ints)wasm_i32x4_dot_i16x8((v128_t)x, (v128_t)w); }
#else
KERNEL ints dot_pairs(ints sum, ints x, ints w) { return sum + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16); }
#endif

/* DEPTH: how many input channels one dot product takes, and how they lie in a 32-bit lane: four bytes, two of 16 bits, or one.
   OFFSET: what is taken from an activation before it is multiplied, where the unit wants signed bytes. */
#if LANES == 16 && defined __AVX512VNNI__
#define DEPTH 4
#define OFFSET 0
KERNEL ints dot(ints sum, ints x, ints w) { return (ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w); }
#elif LANES == 8 && (defined __AVXVNNI__ || defined __AVX512VNNI__ && defined __AVX512VL__)
#define DEPTH 4
#define OFFSET 0
KERNEL ints dot(ints sum, ints x, ints w) {
#if defined __AVX512VNNI__ && defined __AVX512VL__
  return (ints)_mm256_dpbusd_epi32((__m256i)sum, (__m256i)x, (__m256i)w);
#else
  return (ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)w);
#endif
}
#elif LANES == 4 && defined __ARM_FEATURE_DOTPROD
#define DEPTH 4
#define OFFSET 128
KERNEL ints dot(ints sum, ints x, ints w) { return (ints)vdotq_s32((int32x4_t)sum, (int8x16_t)x, (int8x16_t)w); }
#elif LANES == 16 && defined __AVX512BW__ || LANES == 8 && defined __AVX2__ || LANES == 4 && (defined __SSE2__ || defined __wasm_simd128__)
#define DEPTH 2
#define OFFSET 0
KERNEL ints dot(ints sum, ints x, ints w) { return dot_pairs(sum, x, w); }
#else
#define DEPTH 1
#define OFFSET 0
KERNEL ints dot(ints sum, ints x, ints w) { return sum + x * w; }
#endif

/* Numbers of up to eight rows, 32 bits each. AArch64 multiplies by any lane of a register, so they are loaded together there; other
   machines read each as they need it. */
#if LANES == 4 && defined __aarch64__
struct of_rows {
  ints lanes[2];
};
KERNEL struct of_rows load_of_rows(const int rows, const void *from) {
  struct of_rows x = {{{0}, {0}}};
  memcpy(&x, from, 4 * (size_t)rows);
  return x;
}
KERNEL ints of_row(struct of_rows x, const int row) {
  const int32x4_t lanes = (int32x4_t)x.lanes[row / 4];
  switch (row % 4) {
  case 0: return (ints)vdupq_laneq_s32(lanes, 0);
  case 1: return (ints)vdupq_laneq_s32(lanes, 1);
  case 2: return (ints)vdupq_laneq_s32(lanes, 2);
  default: return (ints)vdupq_laneq_s32(lanes, 3);
  }
}
KERNEL vec floats_of_row(struct of_rows x, const int row) { return (vec)of_row(x, row); }
KERNEL struct of_rows plus_offset(struct of_rows x, struct of_rows sums) {
  UNROLL for (int i = 0; i < 2; i++) x.lanes[i] += OFFSET * sums.lanes[i];
  return x;
}
#else
struct of_rows {
  const void *numbers;
};
KERNEL struct of_rows load_of_rows(const int rows, const void *from) { return (void)rows, (struct of_rows){from}; }
KERNEL int32_t number_of_row(struct of_rows x, const int row) { return ((const int32_t *)x.numbers)[row]; }
KERNEL ints of_row(struct of_rows x, const int row) { return splat_int(number_of_row(x, row)); }
KERNEL vec floats_of_row(struct of_rows x, const int row) { return splat(((const float *)x.numbers)[row]); }
KERNEL struct of_rows plus_offset(struct of_rows x, struct of_rows sums) { return (void)sums, x; } /* OFFSET is 0 */
#endif

/* Four bytes in a line of each lane, of which a kernel needs three, as DEPTH wants them: in parts, and `widen_triples` makes the weights. */
enum { PARTS = DEPTH == 4 ? 1 : DEPTH == 2 ? 2 : 3 };
KERNEL ints part_of(words x, const int part) {
  return DEPTH == 4 ? (ints)x : DEPTH == 2 ? (ints)(x >> 8 * part & 0x00FF00FFu) : (ints)(x >> 8 * part & 255);
}

/* `count` times four weights, the last of which is 0 → [PARTS]. */
KERNEL void widen_triples(const int8_t *weights, int count, int32_t *to) {
  for (int i = 0; i < count; i++, weights += 4, to += PARTS) {
#if DEPTH == 4
    memcpy(to, weights, 4);
#elif DEPTH == 2
    to[0] = (int32_t)((uint32_t)(uint16_t)weights[0] | (uint32_t)weights[2] << 16);
    to[1] = (uint16_t)weights[1];
#else
    UNROLL for (int part = 0; part < PARTS; part++) to[part] = weights[part];
#endif
  }
}

/* Sum + three bytes of each lane, from `first` on, 0 or 1, times their weights. */
KERNEL ints dot_triple(ints sum, words x, const int first, const int32_t *weights) {
  if (DEPTH == 4) return dot(sum, (ints)x, (ints)((words)splat_int(weights[0]) << 8 * first));
  if (DEPTH == 2) {
    sum = dot(sum, part_of(x, first), splat_int(weights[0]));
    return dot(sum, part_of(x, 1 - first), (ints)((words)splat_int(weights[1]) << 16 * first));
  }
  UNROLL for (int part = 0; part < 3; part++) sum = dot(sum, part_of(x, first + part), splat_int(weights[part]));
  return sum;
}

/* To the nearest integer, halves to the even one. No number here is beyond 32 bits. */
KERNEL ints to_nearest(vec x) {
#if LANES == 16 && defined __AVX512F__
  return (ints)_mm512_cvtps_epi32((__m512)x);
#elif LANES == 8 && defined __AVX__
  return (ints)_mm256_cvtps_epi32((__m256)x);
#elif LANES == 4 && defined __SSE2__
  return (ints)_mm_cvtps_epi32((__m128)x);
#elif LANES == 4 && defined __aarch64__
  return (ints)vcvtnq_s32_f32((float32x4_t)x);
#elif LANES == 4 && defined __wasm_simd128__
  return (ints)wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest((v128_t)x));
#else
  ints y;
  int32_t nearest[LANES];
  UNROLL for (int i = 0; i < LANES; i++) {
    const int32_t whole = (int32_t)x[i];
    const float rest = x[i] - (float)whole;
    nearest[i] = whole + (rest > 0.5f || (rest == 0.5f && whole & 1)) - (rest < -0.5f || (rest == -0.5f && whole & 1));
  }
  memcpy(&y, nearest, sizeof y);
  return y;
#endif
}
KERNEL vec within(vec x, float most) { return where(x > splat(most), splat(most), where(x < splat(-most), splat(-most), x)); }
KERNEL vec to_float(ints x) { return __builtin_convertvector(x, vec); }


/* Four vectors of integers plus `zero`, within bytes low and high, as bytes in the pixels' order: vector j has pixels j, j + 4, ..., or,
   `in_line`, those that come after all of vector j - 1's. */
KERNEL words to_bytes(const ints y[4], int zero, int low, int high, const int in_line) {
#if LANES == 16 && defined __AVX512BW__
  const __m512i zeros = _mm512_set1_epi16((short)zero);
  const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32((__m512i)y[0], (__m512i)y[1]), zeros);
  const __m512i last = _mm512_adds_epi16(_mm512_packs_epi32((__m512i)y[2], (__m512i)y[3]), zeros);
  __m512i all = _mm512_packus_epi16(first, last);
  if (in_line) all = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), all);
  else all = _mm512_shuffle_epi8(all, _mm512_set4_epi32(0x0F0B0703, 0x0E0A0602, 0x0D090501, 0x0C080400));
  return (words)_mm512_min_epu8(_mm512_max_epu8(all, _mm512_set1_epi8((char)low)), _mm512_set1_epi8((char)high));
#elif LANES == 8 && defined __AVX2__
  const __m256i zeros = _mm256_set1_epi16((short)zero);
  const __m256i first = _mm256_adds_epi16(_mm256_packs_epi32((__m256i)y[0], (__m256i)y[1]), zeros);
  const __m256i last = _mm256_adds_epi16(_mm256_packs_epi32((__m256i)y[2], (__m256i)y[3]), zeros);
  __m256i all = _mm256_packus_epi16(first, last);
  if (in_line) all = _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  else all = _mm256_shuffle_epi8(all, _mm256_broadcastsi128_si256(_mm_set_epi32(0x0F0B0703, 0x0E0A0602, 0x0D090501, 0x0C080400)));
  return (words)_mm256_min_epu8(_mm256_max_epu8(all, _mm256_set1_epi8((char)low)), _mm256_set1_epi8((char)high));
#elif LANES == 4 && defined __SSSE3__
  const __m128i zeros = _mm_set1_epi16((short)zero);
  const __m128i first = _mm_adds_epi16(_mm_packs_epi32((__m128i)y[0], (__m128i)y[1]), zeros);
  const __m128i last = _mm_adds_epi16(_mm_packs_epi32((__m128i)y[2], (__m128i)y[3]), zeros);
  __m128i all = _mm_packus_epi16(first, last);
  if (!in_line) all = _mm_shuffle_epi8(all, _mm_set_epi32(0x0F0B0703, 0x0E0A0602, 0x0D090501, 0x0C080400));
  return (words)_mm_min_epu8(_mm_max_epu8(all, _mm_set1_epi8((char)low)), _mm_set1_epi8((char)high));
#elif LANES == 4 && defined __aarch64__
  const int16x8_t zeros = vdupq_n_s16((int16_t)zero);
  const int16x8_t first = vqaddq_s16(vqmovn_high_s32(vqmovn_s32((int32x4_t)y[0]), (int32x4_t)y[1]), zeros);
  const int16x8_t last = vqaddq_s16(vqmovn_high_s32(vqmovn_s32((int32x4_t)y[2]), (int32x4_t)y[3]), zeros);
  static const uint8_t places[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  uint8x16_t all = vqmovun_high_s16(vqmovun_s16(first), last);
  if (!in_line) all = vqtbl1q_u8(all, vld1q_u8(places));
  return (words)vminq_u8(vmaxq_u8(all, vdupq_n_u8((uint8_t)low)), vdupq_n_u8((uint8_t)high));
#elif LANES == 4 && defined __wasm_simd128__
  const v128_t zeros = wasm_i16x8_splat((int16_t)zero);
  const v128_t first = wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4((v128_t)y[0], (v128_t)y[1]), zeros);
  const v128_t last = wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4((v128_t)y[2], (v128_t)y[3]), zeros);
  v128_t all = wasm_u8x16_narrow_i16x8(first, last);
  if (!in_line) all = wasm_i8x16_shuffle(all, all, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return (words)wasm_u8x16_min(wasm_u8x16_max(all, wasm_u8x16_splat((uint8_t)low)), wasm_u8x16_splat((uint8_t)high));
#else
  words all = {0};
  UNROLL for (int j = 0; j < 4; j++) {
    const ints least = splat_int(low - zero), most = splat_int(high - zero);
    const ints above = where_int(y[j] > least, y[j], least);
    const words codes = (words)(where_int(above < most, above, most) + zero);
    if (in_line) {
      const quarter some = __builtin_convertvector(codes, quarter);
      memcpy((uint8_t *)&all + j * LANES, &some, sizeof some);
    } else all |= codes << 8 * j;
  }
  return all;
#endif
}

/* Sum + c · a byte of each lane, c being the row's: the addend's pixels j, j + 4, ... of a block. */
KERNEL void add_scaled(ints sum[4], words addend, struct of_rows factors, const int row) {
#if DEPTH != 1 && OFFSET == 0
  const int32_t c = number_of_row(factors, row);
  const words even = addend & 0x00FF00FFu, odd = (addend >> 8) & 0x00FF00FFu;
  const ints low = splat_int(c & 0xFFFF), high = splat_int((int32_t)((uint32_t)c << 16));
  sum[0] = dot_pairs(sum[0], (ints)even, low), sum[1] = dot_pairs(sum[1], (ints)odd, low);
  sum[2] = dot_pairs(sum[2], (ints)even, high), sum[3] = dot_pairs(sum[3], (ints)odd, high);
#else
  UNROLL for (int j = 0; j < 4; j++) sum[j] += (ints)((addend >> 8 * j) & 255) * of_row(factors, row);
#endif
}
