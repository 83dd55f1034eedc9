/* Planes and weights in half precision. HALF_ARITHMETIC: the machine has products and sums of halves, twice as many at a time; it
   may be set from outside, with LANES, to try them where they are made of floats. */
#define HALF_NUMBERS
#define HALF_WEIGHTS
#ifndef LANES
#if defined __AVX512FP16__
#define HALF_ARITHMETIC
#define LANES 32
#elif defined __ARM_FEATURE_FP16_VECTOR_ARITHMETIC
#define HALF_ARITHMETIC
#define LANES 8
#endif
#endif
