// Levels in bytes, for AVX-512 with VNNI, whose products are of bytes without a sign and bytes with
// one: levels are from 1 to 255. Included after avx512_vector.h.

constexpr int kLevelBytes = 1;
constexpr int kLevelZero = 128;

// GCC 12 moves sums between registers and memory around the intrinsic.
BNNZOO_INLINE Sums add_products(Quads x, Quads w, Sums sum) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum.value) : "v"(x.value), "v"(w.value));
  return sum;
}

BNNZOO_INLINE __m512i without_sign(Integers integers) {
  return _mm512_add_epi32(integers.value, _mm512_set1_epi32(kLevelZero));
}

BNNZOO_INLINE void store_levels(uint8_t* to, Integers integers) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(without_sign(integers)));
}

BNNZOO_INLINE void store_first_levels(uint8_t* to, Integers integers, int n) {
  _mm512_mask_cvtepi32_storeu_epi8(to, first_lanes(n), without_sign(integers));
}
