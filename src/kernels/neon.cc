// aarch64, where NEON is always there.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "tables.h"

namespace bnnzoo {
namespace {

constexpr int kPixels = 4;
constexpr int kBlockBytes = 8;

#include "blocks.inc"

struct Vector {
  static constexpr int lanes = 4;
  static constexpr int tile = 8;  // 16 sums, 2 weights, 8 inputs of 32 registers
  static constexpr int narrow_tile = tile;
  float32x4_t value;
};

struct Integers {
  int32x4_t value;
};

BNNZOO_INLINE Vector load(const float* from) { return {vld1q_f32(from)}; }
BNNZOO_INLINE void store(float* to, Vector v) { vst1q_f32(to, v.value); }

BNNZOO_INLINE Vector load_first(const float* from, int n) {
  if (n >= Vector::lanes) return load(from);
  float lane[4] = {};
  for (int i = 0; i < 4; ++i) {
    if (i < n) lane[i] = from[i];
  }
  return load(lane);
}

BNNZOO_INLINE void store_first(float* to, Vector v, int n) {
  float lane[4];
  store(lane, v);
  for (int i = 0; i < 4; ++i) {
    if (i < n) to[i] = lane[i];
  }
}

BNNZOO_INLINE Vector load_integers(const int32_t* from) { return {vcvtq_f32_s32(vld1q_s32(from))}; }
BNNZOO_INLINE Vector broadcast(float value) { return {vdupq_n_f32(value)}; }
BNNZOO_INLINE Vector add(Vector a, Vector b) { return {vaddq_f32(a.value, b.value)}; }
BNNZOO_INLINE Vector subtract(Vector a, Vector b) { return {vsubq_f32(a.value, b.value)}; }
BNNZOO_INLINE Vector multiply(Vector a, Vector b) { return {vmulq_f32(a.value, b.value)}; }
BNNZOO_INLINE Vector divide(Vector a, Vector b) { return {vdivq_f32(a.value, b.value)}; }
BNNZOO_INLINE Vector minimum(Vector a, Vector b) { return {vminq_f32(a.value, b.value)}; }
BNNZOO_INLINE Vector maximum(Vector a, Vector b) { return {vmaxq_f32(a.value, b.value)}; }

BNNZOO_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
  return {vfmaq_f32(c.value, a.value, b.value)};
}

// A mask of whole lanes, as one bit each.
BNNZOO_INLINE uint64_t lane_bits(uint32x4_t mask) {
  const uint32_t bits[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(mask, vld1q_u32(bits)));
}

BNNZOO_INLINE uint64_t below(Vector a, Vector b) { return lane_bits(vcltq_f32(a.value, b.value)); }

BNNZOO_INLINE Integers round_to_even(Vector v) { return {vcvtnq_s32_f32(v.value)}; }

BNNZOO_INLINE uint64_t bit_of(Integers integers, int index) {
  return lane_bits(vtstq_s32(integers.value, vdupq_n_s32(1 << index)));
}

BNNZOO_INLINE void store_bits(uint8_t* to, uint64_t bits) { store_word(to, bits); }

// Quads of four levels in 8 bits.
constexpr int kLevelBytes = 1;
constexpr int kLevelZero = 0;

struct Sums {
  int32x4_t value;
};

struct Quads {
  int8x16_t value;
};

BNNZOO_INLINE Sums load_sums(const int32_t* from) { return {vld1q_s32(from)}; }
BNNZOO_INLINE Quads load_quads(const int32_t* from) {
  return {vreinterpretq_s8_s32(vld1q_s32(from))};
}

BNNZOO_INLINE Quads broadcast_quad(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return {vreinterpretq_s8_s32(vdupq_n_s32(quad))};
}

// The sum of two products fits into 16 bits: 2 * 127 * 127.
BNNZOO_INLINE Sums add_products(Quads x, Quads w, Sums sum) {
  const int16x8_t low = vmull_s8(vget_low_s8(x.value), vget_low_s8(w.value));
  const int16x8_t high = vmull_high_s8(x.value, w.value);
  return {vpadalq_s16(sum.value, vpaddq_s16(low, high))};
}

BNNZOO_INLINE Vector to_real(Sums sums) { return {vcvtq_f32_s32(sums.value)}; }

BNNZOO_INLINE Integers magnitude(Vector v) {
  return {vandq_s32(vreinterpretq_s32_f32(v.value), vdupq_n_s32(0x7fffffff))};
}

BNNZOO_INLINE Integers larger(Integers a, Integers b) { return {vmaxq_s32(a.value, b.value)}; }

BNNZOO_INLINE void store_integers(uint32_t* to, Integers integers) {
  vst1q_u32(to, vreinterpretq_u32_s32(integers.value));
}

BNNZOO_INLINE void store_first_levels(uint8_t* to, Integers integers, int n) {
  int32_t lane[4];
  vst1q_s32(lane, integers.value);
  for (int i = 0; i < 4; ++i) {
    if (i < n) to[i] = static_cast<uint8_t>(lane[i]);
  }
}

BNNZOO_INLINE void store_levels(uint8_t* to, Integers integers) {
  const int16x4_t half = vmovn_s32(integers.value);
  const int8x8_t levels = vmovn_s16(vcombine_s16(half, half));
  const int32_t quad = vget_lane_s32(vreinterpret_s32_s8(levels), 0);
  __builtin_memcpy(to, &quad, sizeof quad);
}

#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "byte_lanes.inc"

// Units after which a byte lane may overflow: 64 a unit.
constexpr int32_t kFlushUnits = 3;
// Units after which a 16-bit total may overflow, a multiple of kFlushUnits.
constexpr int32_t kTotalUnits = 1020;
// Vectors of bytes in a block.
constexpr int kParts = kBlock / 16;

// Counts of one pixel, 16 bits each.
struct Total {
  uint16x8_t part[2 * kParts];
};

// Adds 8 input channels: a byte lane is an output channel.
template <int pixels>
BNNZOO_INLINE void add_byte(uint8x16_t (&sums)[pixels][kParts], const uint8_t* const* inputs,
                            int64_t offset, const uint8_t* weights) {
  uint8x16_t weight[kParts];
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) weight[i] = vld1q_u8(weights + 16 * i);
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    const uint8x16_t x = vld1q_dup_u8(inputs[p] + offset);
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      sums[p][i] = vaddq_u8(sums[p][i], vcntq_u8(veorq_u8(weight[i], x)));
    }
  }
}

// Counts of one plane over up to kTotalUnits units.
template <int pixels>
BNNZOO_INLINE void count_units(const uint8_t* const* inputs, const int32_t* offsets, int32_t units,
                               const uint8_t* weights, Total (&totals)[pixels]) {
  for (int p = 0; p < pixels; ++p) {
    for (int i = 0; i < 2 * kParts; ++i) totals[p].part[i] = vdupq_n_u16(0);
  }
  for (int32_t unit = 0; unit < units;) {
    const int32_t end = smaller(units, unit + kFlushUnits);
    uint8x16_t sums[pixels][kParts];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) {
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) sums[p][i] = vdupq_n_u8(0);
    }
    for (; unit < end; ++unit) {
      for (int byte = 0; byte < 8; ++byte, weights += kBlock) {
        add_byte(sums, inputs, int64_t{offsets[unit]} + byte, weights);
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) {
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) {
        uint16x8_t* part = totals[p].part + 2 * i;
        part[0] = vaddw_u8(part[0], vget_low_u8(sums[p][i]));
        part[1] = vaddw_high_u8(part[1], sums[p][i]);
      }
    }
  }
}

BNNZOO_INLINE void put_four(int32_t* counts, uint16x4_t total, int32_t plane, bool first) {
  int32x4_t count = vreinterpretq_s32_u32(vmovl_u16(total));
  if (!first) count = vaddq_s32(vld1q_s32(counts), vshlq_s32(count, vdupq_n_s32(plane)));
  vst1q_s32(counts, count);
}

// counts (kBlock): += total * 2^plane, or = where it is the first.
BNNZOO_INLINE void put_total(int32_t* counts, const Total& total, int32_t plane, bool first) {
#pragma GCC unroll 8
  for (int i = 0; i < 2 * kParts; ++i) {
    put_four(counts + 8 * i, vget_low_u16(total.part[i]), plane, first);
    put_four(counts + 8 * i + 4, vget_high_u16(total.part[i]), plane, first);
  }
}

#include "byte_lane_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels neon_kernels = kernel_table("neon");

}  // namespace bnnzoo
#endif
