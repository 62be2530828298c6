// Four floats as a vector of GCC and Clang, which becomes whatever vectors the platform has; of an
// array, GCC keeps some in memory. Included by portable.cc and popcnt.cc inside their anonymous
// namespaces.

typedef float Lanes __attribute__((vector_size(16)));

struct Vector {
  static constexpr int lanes = 4;
  static constexpr int tile = 4;
  Lanes lane;
};

struct Integers {
  uint32_t lane[Vector::lanes];  // of a number below 0, its two's complement
};

#define BNNZOO_LANES for (int i = 0; i < Vector::lanes; ++i)

BNNZOO_INLINE Vector load(const float* from) {
  Vector v;
  __builtin_memcpy(&v.lane, from, sizeof v.lane);
  return v;
}

BNNZOO_INLINE Vector load_first(const float* from, int n) {
  if (n >= Vector::lanes) return load(from);
  if (n == 3) return {Lanes{from[0], from[1], from[2], 0.0f}};
  if (n == 2) return {Lanes{from[0], from[1], 0.0f, 0.0f}};
  return {Lanes{n == 1 ? from[0] : 0.0f, 0.0f, 0.0f, 0.0f}};
}

BNNZOO_INLINE Vector load_integers(const int32_t* from) {
  Vector v;
  BNNZOO_LANES v.lane[i] = static_cast<float>(from[i]);
  return v;
}

BNNZOO_INLINE void store(float* to, const Vector& v) {
  __builtin_memcpy(to, &v.lane, sizeof v.lane);
}

BNNZOO_INLINE void store_first(float* to, const Vector& v, int n) {
  BNNZOO_LANES if (i < n) to[i] = v.lane[i];
}

BNNZOO_INLINE Vector broadcast(float value) { return {Lanes{value, value, value, value}}; }

#define BNNZOO_LANEWISE(name, expression) \
  BNNZOO_INLINE Vector name(Vector a, Vector b) { return {expression}; }

BNNZOO_LANEWISE(add, a.lane + b.lane)
BNNZOO_LANEWISE(subtract, a.lane - b.lane)
BNNZOO_LANEWISE(multiply, a.lane * b.lane)
BNNZOO_LANEWISE(divide, a.lane / b.lane)
BNNZOO_LANEWISE(minimum, a.lane < b.lane ? a.lane : b.lane)
BNNZOO_LANEWISE(maximum, a.lane > b.lane ? a.lane : b.lane)

BNNZOO_INLINE Vector multiply_add(Vector a, Vector b, const Vector& c) {
  return add(multiply(a, b), c);
}

BNNZOO_INLINE uint64_t below(Vector a, Vector b) {
  uint64_t bits = 0;
  BNNZOO_LANES bits |= static_cast<uint64_t>(a.lane[i] < b.lane[i]) << i;
  return bits;
}

// Rounds without a call of the library:
// 1. floats in [2^23, 2^24) are the integers, so v + 1.5 * 2^23 is rounded to an integer, halves to
//    even;
// 2. the bits of two such floats are as far from each other as the integers.
BNNZOO_INLINE Integers round_to_even(const Vector& v) {
  Integers integers;
  BNNZOO_LANES {
    const float shifted = v.lane[i] + 12582912.0f;
    __builtin_memcpy(&integers.lane[i], &shifted, sizeof shifted);
    integers.lane[i] -= 0x4b400000u;
  }
  return integers;
}

BNNZOO_INLINE uint64_t bit_of(const Integers& integers, int index) {
  uint64_t bits = 0;
  BNNZOO_LANES bits |= static_cast<uint64_t>(integers.lane[i] >> index & 1) << i;
  return bits;
}

// Quads of two levels in 16 bits, products in 32: what int8_kernels.h asks for.
constexpr int kLevelBytes = 2;
constexpr int kLevelZero = 0;

struct Sums {
  int32_t lane[Vector::lanes];
};

struct Quads {
  int16_t lane[Vector::lanes][2];
};

BNNZOO_INLINE Sums load_sums(const int32_t* from) {
  Sums sums;
  __builtin_memcpy(sums.lane, from, sizeof sums.lane);
  return sums;
}

BNNZOO_INLINE Quads load_quads(const int32_t* from) {
  Quads quads;
  __builtin_memcpy(quads.lane, from, sizeof quads.lane);
  return quads;
}

BNNZOO_INLINE Quads broadcast_quad(const uint8_t* from) {
  Quads quads;
  BNNZOO_LANES __builtin_memcpy(quads.lane[i], from, sizeof quads.lane[i]);
  return quads;
}

#if defined(__SSE2__)
// Compilers do not find the one instruction for this, which every x86-64 has.
BNNZOO_INLINE Sums add_products(const Quads& x, const Quads& w, Sums sum) {
  __m128i total, left, right;
  __builtin_memcpy(&total, sum.lane, sizeof total);
  __builtin_memcpy(&left, x.lane, sizeof left);
  __builtin_memcpy(&right, w.lane, sizeof right);
  total = _mm_add_epi32(total, _mm_madd_epi16(left, right));
  __builtin_memcpy(sum.lane, &total, sizeof total);
  return sum;
}
#else
BNNZOO_INLINE Sums add_products(const Quads& x, const Quads& w, Sums sum) {
  BNNZOO_LANES sum.lane[i] += x.lane[i][0] * w.lane[i][0] + x.lane[i][1] * w.lane[i][1];
  return sum;
}
#endif

BNNZOO_INLINE Vector to_real(const Sums& sums) { return load_integers(sums.lane); }

BNNZOO_INLINE Integers magnitude(const Vector& v) {
  Integers bits;
  __builtin_memcpy(bits.lane, &v.lane, sizeof bits.lane);
  BNNZOO_LANES bits.lane[i] &= 0x7fffffffu;
  return bits;
}

BNNZOO_INLINE Integers larger(Integers a, const Integers& b) {
  BNNZOO_LANES a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}

BNNZOO_INLINE void store_integers(uint32_t* to, const Integers& integers) {
  __builtin_memcpy(to, integers.lane, sizeof integers.lane);
}

BNNZOO_INLINE void store_first_levels(uint8_t* to, const Integers& integers, int n) {
  BNNZOO_LANES {
    const auto level = static_cast<int16_t>(integers.lane[i]);
    if (i < n) __builtin_memcpy(to + 2 * i, &level, sizeof level);
  }
}

BNNZOO_INLINE void store_levels(uint8_t* to, const Integers& integers) {
  store_first_levels(to, integers, Vector::lanes);
}

constexpr int kBlockBytes = 8;

BNNZOO_INLINE void store_bits(uint8_t* to, uint64_t bits) { store_word(to, bits); }
