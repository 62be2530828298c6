// Counting bits by carry-save adders, without an instruction that counts. Included by the AVX-512
// files that have none inside their anonymous namespaces, after avx512_counting.h.

constexpr int kPixels = 4;
// Units after which a byte lane of carries of weight 16 may overflow: 8 for each two units.
constexpr int32_t kFlushUnits = 62;
// Units after which a 16-bit total may overflow, a multiple of kFlushUnits.
constexpr int32_t kTotalUnits = 992;

template <int pixels>
struct Counters {
  __m512i ones[pixels], twos[pixels], fours[pixels], eights[pixels];
  __m512i sixteens[pixels];  // numbers, per byte
};

// Adds a unit; carries of weight 8.
template <int pixels>
BNNZOO_INLINE void add_unit(Counters<pixels>& counters, const uint8_t* const* inputs,
                            int64_t offset, const uint8_t* weights, __m512i (&carries)[pixels]) {
  __m512i a[pixels], b[pixels];
  add_half_unit(counters.ones, counters.twos, inputs, offset, weights, 0, a);
  add_half_unit(counters.ones, counters.twos, inputs, offset, weights, 4, b);
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) carries[p] = add_carries(counters.fours[p], a[p], b[p]);
}

// Bits set per byte, by a table of the counts of all half bytes times 2^shift.
BNNZOO_INLINE __m512i count_bits(__m512i v, int shift) {
  const __m128i counts = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m512i table = _mm512_broadcast_i32x4(_mm_slli_epi16(counts, shift));
  const __m512i mask = _mm512_set1_epi8(15);
  const __m512i low = _mm512_and_si512(v, mask);
  const __m512i high = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
  return _mm512_add_epi8(_mm512_shuffle_epi8(table, low), _mm512_shuffle_epi8(table, high));
}

template <int pixels>
BNNZOO_INLINE void add_eights(Counters<pixels>& counters, const __m512i (&a)[pixels],
                              const __m512i (&b)[pixels]) {
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    const __m512i carry = add_carries(counters.eights[p], a[p], b[p]);
    counters.sixteens[p] = _mm512_add_epi8(counters.sixteens[p], count_bits(carry, 0));
  }
}

// ones + 2 twos + 4 fours + 8 eights: at most 8 * 15, which fits into a byte.
template <int pixels>
BNNZOO_INLINE __m512i bits_of(const Counters<pixels>& counters, int p) {
  const __m512i ones = count_bits(counters.ones[p], 0), twos = count_bits(counters.twos[p], 1);
  const __m512i fours = count_bits(counters.fours[p], 2);
  const __m512i eights = count_bits(counters.eights[p], 3);
  return _mm512_add_epi8(_mm512_add_epi8(ones, twos), _mm512_add_epi8(fours, eights));
}

template <int pixels>
BNNZOO_INLINE void count_units(const uint8_t* const* inputs, const int32_t* offsets, int32_t units,
                               const uint8_t* weights, Total (&totals)[pixels]) {
  const __m512i zero = _mm512_setzero_si512();
  Counters<pixels> counters;
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    counters.ones[p] = counters.twos[p] = counters.fours[p] = counters.eights[p] = zero;
    totals[p] = {zero, zero};
  }
  for (int32_t unit = 0; unit < units;) {
    const int32_t end = smaller(units, unit + kFlushUnits);
    __m512i a[pixels], b[pixels];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) counters.sixteens[p] = zero;
    for (; unit + 1 < end; unit += 2, weights += 16 * kBlock) {
      add_unit(counters, inputs, offsets[unit], weights, a);
      add_unit(counters, inputs, offsets[unit + 1], weights + 8 * kBlock, b);
      add_eights(counters, a, b);
    }
    if (unit < end) {
      add_unit(counters, inputs, offsets[unit++], weights, a);
#pragma GCC unroll 8
      for (int p = 0; p < pixels; ++p) b[p] = zero;
      add_eights(counters, a, b);
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) add_bytes(totals[p], counters.sixteens[p]);
  }
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    totals[p] = shifted(totals[p], 4);
    add_bytes(totals[p], bits_of(counters, p));
  }
}
