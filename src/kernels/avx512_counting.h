// Binary convolution by carry-save counters, 64 output channels at a time. Included by the AVX-512
// files inside their anonymous namespaces, which add count_units.
//
// A byte lane is an output channel, and its 8 bits are 8 input channels. A counter is a binary
// number of which every bit is a vector: ones, twos, fours, ... Adding two vectors to the bit of
// weight n gives the new bit of weight n and one carry of weight 2n (a full adder), so that of many
// vectors only few, of great weight, have their bits counted.
//
// A full adder takes two ternary-logic instructions, sum and majority. Where its inputs are
// differences of inputs and weights, a = x0 ^ w0 and b = x1 ^ w1, three suffice for the differences
// too:
//   1. half = ones ^ x0 ^ w0 = ones ^ a, sum = half ^ x1 ^ w1 = ones ^ a ^ b;
//   2. where half is 0, ones and a agree, and the majority of (ones, a, b) is ones;
//   3. where half is 1, they do not, and the majority is b = sum ^ half = not sum.
// The compiler does not find these, so they are written as intrinsics.

constexpr int kXor3 = 0x96, kMajority = 0xe8, kNotSecondElseThird = 0x3a;

// Counts per channel, 16 bits each.
struct Total {
  __m512i low, high;  // channels 0-31, 32-63
};

// Two vectors of weights, 8 input channels each.
struct Pair {
  __m512i first, second;
};

BNNZOO_INLINE Pair load_pair(const uint8_t* weights) {
  return {_mm512_load_si512(weights), _mm512_load_si512(weights + kBlock)};
}

// Adds 16 input channels to the ones; returns the carry.
BNNZOO_INLINE __m512i add_inputs(__m512i& ones, const uint8_t* input, const Pair& weights) {
  int32_t x0, x1;
  __builtin_memcpy(&x0, input, sizeof x0);
  __builtin_memcpy(&x1, input + kExpansion, sizeof x1);
  const __m512i first = _mm512_set1_epi32(x0), second = _mm512_set1_epi32(x1);
  const __m512i half = _mm512_ternarylogic_epi32(ones, weights.first, first, kXor3);
  const __m512i sum = _mm512_ternarylogic_epi32(half, weights.second, second, kXor3);
  const __m512i carry = _mm512_ternarylogic_epi32(half, sum, ones, kNotSecondElseThird);
  ones = sum;
  return carry;
}

// Adds a and b to one bit of a counter; returns the carry.
BNNZOO_INLINE __m512i add_carries(__m512i& bit, __m512i a, __m512i b) {
  const __m512i carry = _mm512_ternarylogic_epi32(bit, a, b, kMajority);
  bit = _mm512_ternarylogic_epi32(bit, a, b, kXor3);
  return carry;
}

// Adds half a unit, 32 input channels, to the ones and twos of every pixel; carries of weight 4.
// `first` is the first byte of the unit, 0 or 4. All pixels take turns at each pair of weights, so
// that it is loaded once.
template <int pixels>
BNNZOO_INLINE void add_half_unit(__m512i (&ones)[pixels], __m512i (&twos)[pixels],
                                 const uint8_t* const* inputs, int64_t offset,
                                 const uint8_t* weights, int first, __m512i (&carries)[pixels]) {
  __m512i a[pixels];
  const Pair pair = load_pair(weights + first * kBlock);
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    a[p] = add_inputs(ones[p], inputs[p] + offset + first * kExpansion, pair);
  }
  const Pair next = load_pair(weights + (first + 2) * kBlock);
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    const uint8_t* input = inputs[p] + offset + (first + 2) * kExpansion;
    carries[p] = add_carries(twos[p], a[p], add_inputs(ones[p], input, next));
  }
}

BNNZOO_INLINE void add_bytes(Total& total, __m512i bytes) {
  const __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes));
  const __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(bytes, 1));
  total.low = _mm512_add_epi16(total.low, low);
  total.high = _mm512_add_epi16(total.high, high);
}

BNNZOO_INLINE Total shifted(const Total& total, int bits) {
  return {_mm512_slli_epi16(total.low, bits), _mm512_slli_epi16(total.high, bits)};
}

BNNZOO_INLINE void put_quarter(int32_t* counts, __m256i total, int32_t plane, bool first) {
  __m512i count = _mm512_cvtepu16_epi32(total);
  if (!first) {
    count = _mm512_sll_epi32(count, _mm_cvtsi32_si128(plane));
    count = _mm512_add_epi32(count, _mm512_load_si512(counts));
  }
  _mm512_store_si512(counts, count);
}

// counts (kBlock): += total * 2^plane, or = where it is the first.
BNNZOO_INLINE void put_total(int32_t* counts, const Total& total, int32_t plane, bool first) {
  put_quarter(counts, _mm512_castsi512_si256(total.low), plane, first);
  put_quarter(counts + 16, _mm512_extracti64x4_epi64(total.low, 1), plane, first);
  put_quarter(counts + 32, _mm512_castsi512_si256(total.high), plane, first);
  put_quarter(counts + 48, _mm512_extracti64x4_epi64(total.high, 1), plane, first);
}
