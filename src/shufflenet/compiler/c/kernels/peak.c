/* The most that a core can do: multiply-adds in registers, enough of them side by side to keep every unit busy. After vectors.c. */
enum { SUMS = REGISTERS == 32 ? 24 : 12 };

void multiply_and_add(float *numbers, int count) {
  vec sum[SUMS];
  UNROLL for (int i = 0; i < SUMS; i++) sum[i] = load(numbers + i);
  const vec factor = load(numbers);
  for (int k = 0; k < count; k++)
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = multiply_add(sum[i], factor, factor);
  UNROLL for (int i = 0; i < SUMS; i++) store(numbers + i, sum[i]);
}

int multiply_adds(void) { return SUMS * LANES; }
