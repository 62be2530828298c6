// Levels in 16 bits, for AVX-512 without VNNI: a product and sum of bytes would saturate. Included
// after avx512_vector.h.

constexpr int kLevelBytes = 2;
constexpr int kLevelZero = 0;

BNNZOO_INLINE Sums add_products(Quads x, Quads w, Sums sum) {
  return {_mm512_add_epi32(sum.value, _mm512_madd_epi16(x.value, w.value))};
}

BNNZOO_INLINE void store_levels(uint8_t* to, Integers integers) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(integers.value));
}

BNNZOO_INLINE void store_first_levels(uint8_t* to, Integers integers, int n) {
  _mm512_mask_cvtepi32_storeu_epi16(to, first_lanes(n), integers.value);
}
