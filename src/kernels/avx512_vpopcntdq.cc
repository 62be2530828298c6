// x86-64 with AVX-512 F, BW, VL, DQ, VNNI, VPOPCNTDQ and BITALG: Ice Lake, Zen 4 and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,"  \
                          "avx512bitalg,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,avx512bitalg,avx2,\
fma")
// GCC 12 takes the undefined source of unmasked intrinsics for a mistake (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace bnnzoo {
namespace {

constexpr int kPixels = 6;
// Units after which a byte lane may overflow: two carries a unit, of at most 8 bits.
constexpr int32_t kFlushUnits = 15;
// Units after which a 16-bit total may overflow, a multiple of kFlushUnits.
constexpr int32_t kTotalUnits = 990;

#include "blocks.h"
#include "avx512_vector.h"
#include "avx512_vnni.h"
#include "epilogue.h"
#include "convolving.h"
#include "float_kernels.h"
#include "int8_kernels.h"
#include "byte_lanes.h"
#include "avx512_counting.h"

// With an instruction that counts, ones and twos are enough: counting a carry of weight 4 takes as
// many instructions as adding it to the fours, and no registers.
template <int pixels>
BNNZOO_INLINE void count_units(const uint8_t* const* inputs, const int32_t* offsets, int32_t units,
                               const uint8_t* weights, Total (&totals)[pixels]) {
  const __m512i zero = _mm512_setzero_si512();
  __m512i ones[pixels], twos[pixels], fours[pixels];  // fours: numbers, per byte
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    ones[p] = twos[p] = zero;
    totals[p] = {zero, zero};
  }
  for (int32_t unit = 0; unit < units;) {
    const int32_t end = smaller(units, unit + kFlushUnits);
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) fours[p] = zero;
    for (; unit < end; ++unit, weights += 8 * kBlock) {
#pragma GCC unroll 2
      for (int first = 0; first < 8; first += 4) {
        __m512i carries[pixels];
        add_half_unit(ones, twos, inputs, offsets[unit], weights, first, carries);
#pragma GCC unroll 8
        for (int p = 0; p < pixels; ++p) {
          fours[p] = _mm512_add_epi8(fours[p], _mm512_popcnt_epi8(carries[p]));
        }
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) add_bytes(totals[p], fours[p]);
  }
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    const __m512i two = _mm512_popcnt_epi8(twos[p]);
    const __m512i rest = _mm512_add_epi8(_mm512_popcnt_epi8(ones[p]), _mm512_add_epi8(two, two));
    totals[p] = shifted(totals[p], 2);
    add_bytes(totals[p], rest);
  }
}

#include "byte_lane_counting.h"
#include "binary_kernels.h"

}  // namespace

const Kernels avx512_vpopcntdq_kernels = {
    "avx512_vpopcntdq",
    kExpansion,
    kBlock,
    kLevelBytes,
    weights_bytes,
    pack_weights,
    real_weights_floats,
    pack_real_weights,
    int8_weights_bytes,
    pack_int8_weights,
    bconv2d,
    conv2d,
    magnitudes,
    levels,
    int8_conv2d,
    depthwise_conv2d,
    pool2d,
    elementwise,
    bmax_pool2d,
};

}  // namespace bnnzoo

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
