// Four floats in plain C++, which compilers turn into whatever vectors the platform has. Included
// by portable.cc and popcnt.cc inside their anonymous namespaces.

struct Vector {
  static constexpr int lanes = 4;
  static constexpr int tile = 4;
  float lane[lanes];
};

struct Integers {
  uint32_t lane[Vector::lanes];
};

#define BNNZOO_LANES for (int i = 0; i < Vector::lanes; ++i)

BNNZOO_INLINE Vector load(const float* from) {
  Vector v;
  __builtin_memcpy(v.lane, from, sizeof v.lane);
  return v;
}

BNNZOO_INLINE Vector load_first(const float* from, int n) {
  Vector v;
  BNNZOO_LANES v.lane[i] = i < n ? from[i] : 0.0f;
  return v;
}

BNNZOO_INLINE Vector load_integers(const int32_t* from) {
  Vector v;
  BNNZOO_LANES v.lane[i] = static_cast<float>(from[i]);
  return v;
}

BNNZOO_INLINE void store(float* to, const Vector& v) {
  __builtin_memcpy(to, v.lane, sizeof v.lane);
}

BNNZOO_INLINE void store_first(float* to, const Vector& v, int n) {
  BNNZOO_LANES if (i < n) to[i] = v.lane[i];
}

BNNZOO_INLINE Vector broadcast(float value) { return {{value, value, value, value}}; }

#define BNNZOO_LANEWISE(name, expression)                        \
  BNNZOO_INLINE Vector name(Vector a, Vector b) {  \
    Vector v;                                                    \
    BNNZOO_LANES v.lane[i] = expression;                         \
    return v;                                                    \
  }

BNNZOO_LANEWISE(add, a.lane[i] + b.lane[i])
BNNZOO_LANEWISE(subtract, a.lane[i] - b.lane[i])
BNNZOO_LANEWISE(multiply, a.lane[i] * b.lane[i])
BNNZOO_LANEWISE(divide, a.lane[i] / b.lane[i])
BNNZOO_LANEWISE(minimum, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i])
BNNZOO_LANEWISE(maximum, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i])

BNNZOO_INLINE Vector multiply_add(Vector a, Vector b, const Vector& c) {
  return add(multiply(a, b), c);
}

BNNZOO_INLINE uint64_t below(Vector a, Vector b) {
  uint64_t bits = 0;
  BNNZOO_LANES bits |= static_cast<uint64_t>(a.lane[i] < b.lane[i]) << i;
  return bits;
}

// Rounds without a call of the library:
// 1. floats in [2^23, 2^24) are the integers, so v + 2^23 is rounded to an integer, halves to even;
// 2. the lowest 23 bits of such a float are its distance from 2^23.
BNNZOO_INLINE Integers round_to_even(const Vector& v) {
  Integers integers;
  BNNZOO_LANES {
    const float shifted = v.lane[i] + 8388608.0f;
    __builtin_memcpy(&integers.lane[i], &shifted, sizeof shifted);
  }
  return integers;
}

BNNZOO_INLINE uint64_t bit_of(const Integers& integers, int index) {
  uint64_t bits = 0;
  BNNZOO_LANES bits |= static_cast<uint64_t>(integers.lane[i] >> index & 1) << i;
  return bits;
}

constexpr int kBlockBytes = 8;

BNNZOO_INLINE void store_bits(uint8_t* to, uint64_t bits) { store_word(to, bits); }
