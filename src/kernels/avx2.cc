// x86-64 with AVX2 and FMA: Haswell, Zen and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"
#include "target.h"

BNNZOO_PUSH_TARGET("avx2,fma,popcnt")

namespace bnnzoo {
namespace {

constexpr int kBlockBytes = 8;

#include "blocks.inc"

struct Vector {
  static constexpr int lanes = 8;
  static constexpr int tile = 6;          // 12 sums, 2 weights, 1 input of 16 registers
  static constexpr int narrow_tile = 12;  // of up to 8 channels: 12 sums, 1 weight, 1 input
  __m256 value;
};

struct Integers {
  __m256i value;
};

// All bits of the first n lanes. Masked instructions are slow on Zen: a store takes about 20
// cycles.
BNNZOO_INLINE __m256i first_lanes(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

BNNZOO_INLINE Vector load(const float* from) { return {_mm256_loadu_ps(from)}; }

BNNZOO_INLINE Vector load_first(const float* from, int n) {
  if (n >= Vector::lanes) return load(from);
  return {_mm256_maskload_ps(from, first_lanes(n))};
}

BNNZOO_INLINE Vector load_integers(const int32_t* from) {
  return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
}

BNNZOO_INLINE void store(float* to, Vector v) { _mm256_storeu_ps(to, v.value); }

BNNZOO_INLINE void store_first(float* to, Vector v, int n) {
  if (n >= Vector::lanes) return store(to, v);
  if (n > 0) _mm256_maskstore_ps(to, first_lanes(n), v.value);
}

BNNZOO_INLINE Vector broadcast(float value) { return {_mm256_set1_ps(value)}; }
BNNZOO_INLINE Vector add(Vector a, Vector b) { return {_mm256_add_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector subtract(Vector a, Vector b) { return {_mm256_sub_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector multiply(Vector a, Vector b) { return {_mm256_mul_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector divide(Vector a, Vector b) { return {_mm256_div_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector minimum(Vector a, Vector b) { return {_mm256_min_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector maximum(Vector a, Vector b) { return {_mm256_max_ps(a.value, b.value)}; }

BNNZOO_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
  return {_mm256_fmadd_ps(a.value, b.value, c.value)};
}

BNNZOO_INLINE uint64_t below(Vector a, Vector b) {
  const __m256 mask = _mm256_cmp_ps(a.value, b.value, _CMP_LT_OQ);
  return static_cast<uint32_t>(_mm256_movemask_ps(mask));
}

BNNZOO_INLINE Integers round_to_even(Vector v) { return {_mm256_cvtps_epi32(v.value)}; }

BNNZOO_INLINE uint64_t bit_of(Integers integers, int index) {
  const __m256i highest = _mm256_sll_epi32(integers.value, _mm_cvtsi32_si128(31 - index));
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(highest)));
}

BNNZOO_INLINE void store_bits(uint8_t* to, uint64_t bits) { store_word(to, bits); }

// Quads of two levels in 16 bits: a product and sum of bytes would saturate.
constexpr int kLevelBytes = 2;
constexpr int kLevelZero = 0;

struct Sums {
  __m256i value;
};

struct Quads {
  __m256i value;
};

BNNZOO_INLINE Sums load_sums(const int32_t* from) {
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(from))};
}

BNNZOO_INLINE Quads load_quads(const int32_t* from) {
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(from))};
}

BNNZOO_INLINE Quads broadcast_quad(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return {_mm256_set1_epi32(quad)};
}

BNNZOO_INLINE Sums add_products(Quads x, Quads w, Sums sum) {
  return {_mm256_add_epi32(sum.value, _mm256_madd_epi16(x.value, w.value))};
}

BNNZOO_INLINE Vector to_real(Sums sums) { return {_mm256_cvtepi32_ps(sums.value)}; }

BNNZOO_INLINE Integers magnitude(Vector v) {
  return {_mm256_and_si256(_mm256_castps_si256(v.value), _mm256_set1_epi32(0x7fffffff))};
}

BNNZOO_INLINE Integers larger(Integers a, Integers b) {
  return {_mm256_max_epu32(a.value, b.value)};
}

BNNZOO_INLINE void store_integers(uint32_t* to, Integers integers) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), integers.value);
}

BNNZOO_INLINE void store_levels(uint8_t* to, Integers integers) {
  const __m128i low = _mm256_castsi256_si128(integers.value);
  const __m128i high = _mm256_extracti128_si256(integers.value, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packs_epi32(low, high));
}

BNNZOO_INLINE void store_first_levels(uint8_t* to, Integers integers, int n) {
  uint8_t levels[Vector::lanes * kLevelBytes];
  store_levels(levels, integers);
  __builtin_memcpy(to, levels, static_cast<size_t>(n * kLevelBytes));
}

#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "avx2_counting.inc"
#include "byte_lanes.inc"
#include "avx2_tables.inc"
#include "byte_lane_counting.inc"
#include "binary_kernels.inc"
#include "avx2_pairs.inc"
#include "kernel_table.inc"

constexpr Kernels avx2_table() {
  Kernels table = kernel_table("avx2");
  table.weights_bytes = any_weights_bytes;
  table.pack_weights = pack_any_weights;
  table.bconv2d = any_bconv2d;
  return table;
}

}  // namespace

constexpr Kernels avx2_kernels = avx2_table();

}  // namespace bnnzoo

BNNZOO_POP_TARGET
#endif
