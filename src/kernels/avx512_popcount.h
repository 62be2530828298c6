// Counting bits with the instructions of VPOPCNTDQ and BITALG. Included by the AVX-512 files that
// have them inside their anonymous namespaces, after avx512_counting.h.

constexpr int kPixels = 6;
// Units after which a byte lane may overflow: two carries a unit, of at most 8 bits.
constexpr int32_t kFlushUnits = 15;
// Units after which a 16-bit total may overflow, a multiple of kFlushUnits.
constexpr int32_t kTotalUnits = 990;

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
