// x86-64 with AVX2 and FMA: Haswell, Zen and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"
#include "target.h"

BNNZOO_PUSH_TARGET("avx2,fma,popcnt")

namespace bnnzoo {
namespace {

constexpr int kPixels = 5;
constexpr int kBlockBytes = 8;

#include "blocks.inc"

struct Vector {
  static constexpr int lanes = 8;
  static constexpr int tile = 6;  // 12 sums, 2 weights, 1 input of 16 registers
  __m256 value;
};

struct Integers {
  __m256i value;
};

// All bits of the first n lanes.
BNNZOO_INLINE __m256i first_lanes(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

BNNZOO_INLINE Vector load(const float* from) { return {_mm256_loadu_ps(from)}; }

BNNZOO_INLINE Vector load_first(const float* from, int n) {
  return {_mm256_maskload_ps(from, first_lanes(n))};
}

BNNZOO_INLINE Vector load_integers(const int32_t* from) {
  return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
}

BNNZOO_INLINE void store(float* to, Vector v) { _mm256_storeu_ps(to, v.value); }

BNNZOO_INLINE void store_first(float* to, Vector v, int n) {
  _mm256_maskstore_ps(to, first_lanes(n), v.value);
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
#include "byte_lanes.inc"

// Binary convolution by tables, 64 output channels at a time.
//
// A byte lane is an output channel, and a byte shuffle looks up 32 half bytes at once in a table of
// 16 bytes. So the input is the table: for a half byte x, entry w is the number of bits of x ^ w,
// and the indices are the half bytes of the weights. Two instructions, shuffle and add, count 4
// input channels of 32 output channels; xor and counting by carry-save adders takes three without a
// ternary-logic instruction.

// Per byte of input, two rows: the table of its low half, then of its high half.
struct CountTables {
  alignas(64) uint8_t row[256][2][16];
};

constexpr uint8_t half_byte_bits(int x) {
  return static_cast<uint8_t>((x & 1) + (x >> 1 & 1) + (x >> 2 & 1) + (x >> 3 & 1));
}

constexpr CountTables count_tables() {
  CountTables tables{};
  for (int x = 0; x < 256; ++x) {
    for (int w = 0; w < 16; ++w) {
      tables.row[x][0][w] = half_byte_bits((x & 15) ^ w);
      tables.row[x][1][w] = half_byte_bits((x >> 4) ^ w);
    }
  }
  return tables;
}

constexpr CountTables kTables = count_tables();

// Units after which a byte lane may overflow: 64 a unit.
constexpr int32_t kFlushUnits = 3;
// Units after which a 16-bit total may overflow, a multiple of kFlushUnits.
constexpr int32_t kTotalUnits = 1020;

// Counts of one pixel, a number per byte.
struct Sum {
  __m256i low, high;  // channels 0-31, 32-63
};

// Counts of one pixel, 16 bits each.
struct Total {
  __m256i low_even, low_odd, high_even, high_odd;
};

BNNZOO_INLINE __m256i load_bytes(const uint8_t* from) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}

BNNZOO_INLINE __m256i load_table(const uint8_t* row) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(row)));
}

// Makes the compiler finish a sum here. It would add the two half bytes' results first, which is no
// fewer instructions and more values than there are registers.
BNNZOO_INLINE void finish(__m256i& sum) { asm("" : "+x"(sum)); }

// Adds 4 input channels: the table of each pixel's half byte, looked up by those of the weights.
template <int pixels>
BNNZOO_INLINE void add_half_byte(Sum (&sums)[pixels], const uint8_t* const* rows, __m256i w0,
                                 __m256i w1) {
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    const __m256i table = load_table(rows[p]);
    sums[p].low = _mm256_add_epi8(sums[p].low, _mm256_shuffle_epi8(table, w0));
    sums[p].high = _mm256_add_epi8(sums[p].high, _mm256_shuffle_epi8(table, w1));
    finish(sums[p].low);
    finish(sums[p].high);
  }
}

// Adds 8 input channels, one half byte after the other: so the sums stay in registers.
template <int pixels>
BNNZOO_INLINE void add_byte(Sum (&sums)[pixels], const uint8_t* const* inputs, int64_t offset,
                            const uint8_t* weights) {
  const __m256i mask = _mm256_set1_epi8(15);
  const uint8_t* rows[pixels];
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) rows[p] = kTables.row[inputs[p][offset]][0];
  add_half_byte(sums, rows, _mm256_and_si256(load_bytes(weights), mask),
                _mm256_and_si256(load_bytes(weights + 32), mask));
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) rows[p] += 16;
  add_half_byte(sums, rows, _mm256_and_si256(_mm256_srli_epi16(load_bytes(weights), 4), mask),
                _mm256_and_si256(_mm256_srli_epi16(load_bytes(weights + 32), 4), mask));
}

BNNZOO_INLINE void add_bytes(__m256i& even, __m256i& odd, __m256i bytes) {
  even = _mm256_add_epi16(even, _mm256_and_si256(bytes, _mm256_set1_epi16(255)));
  odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
}

// Counts of one plane over up to kTotalUnits units.
template <int pixels>
BNNZOO_INLINE void count_units(const uint8_t* const* inputs, const int32_t* offsets, int32_t units,
                               const uint8_t* weights, Total (&totals)[pixels]) {
  const __m256i zero = _mm256_setzero_si256();
  for (int p = 0; p < pixels; ++p) totals[p] = {zero, zero, zero, zero};
  for (int32_t unit = 0; unit < units;) {
    const int32_t end = smaller(units, unit + kFlushUnits);
    Sum sums[pixels];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) sums[p] = {zero, zero};
    for (; unit < end; ++unit) {
      for (int byte = 0; byte < 8; ++byte, weights += kBlock) {
        add_byte(sums, inputs, int64_t{offsets[unit]} + byte, weights);
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) {
      add_bytes(totals[p].low_even, totals[p].low_odd, sums[p].low);
      add_bytes(totals[p].high_even, totals[p].high_odd, sums[p].high);
    }
  }
}

BNNZOO_INLINE void put_eighth(int32_t* counts, __m128i total, int32_t plane, bool first) {
  __m256i* to = reinterpret_cast<__m256i*>(counts);
  __m256i count = _mm256_cvtepu16_epi32(total);
  if (!first) {
    count = _mm256_sll_epi32(count, _mm_cvtsi32_si128(plane));
    count = _mm256_add_epi32(count, _mm256_load_si256(to));
  }
  _mm256_store_si256(to, count);
}

// 32 channels. Interleaving even and odd channels within 128-bit halves, as the instruction does,
// gives channels 0-7 and 16-23, then 8-15 and 24-31.
BNNZOO_INLINE void put_half(int32_t* counts, __m256i even, __m256i odd, int32_t plane, bool first) {
  const __m256i a = _mm256_unpacklo_epi16(even, odd), b = _mm256_unpackhi_epi16(even, odd);
  put_eighth(counts, _mm256_castsi256_si128(a), plane, first);
  put_eighth(counts + 8, _mm256_castsi256_si128(b), plane, first);
  put_eighth(counts + 16, _mm256_extracti128_si256(a, 1), plane, first);
  put_eighth(counts + 24, _mm256_extracti128_si256(b, 1), plane, first);
}

// counts (kBlock): += total * 2^plane, or = where it is the first.
BNNZOO_INLINE void put_total(int32_t* counts, const Total& total, int32_t plane, bool first) {
  put_half(counts, total.low_even, total.low_odd, plane, first);
  put_half(counts + 32, total.high_even, total.high_odd, plane, first);
}

#include "byte_lane_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels avx2_kernels = kernel_table("avx2");

}  // namespace bnnzoo

BNNZOO_POP_TARGET
#endif
