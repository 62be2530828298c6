// Sixteen floats. Included by the AVX-512 files inside their anonymous namespaces.

struct Vector {
  static constexpr int lanes = 16;
  static constexpr int tile = 14;  // 28 sums, 2 weights, 1 input of 32 registers
  __m512 value;
};

struct Integers {
  __m512i value;
};

BNNZOO_INLINE __mmask16 first_lanes(int n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

BNNZOO_INLINE Vector load(const float* from) { return {_mm512_loadu_ps(from)}; }

BNNZOO_INLINE Vector load_first(const float* from, int n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), from)};
}

BNNZOO_INLINE Vector load_integers(const int32_t* from) {
  return {_mm512_cvtepi32_ps(_mm512_loadu_si512(from))};
}

BNNZOO_INLINE void store(float* to, Vector v) { _mm512_storeu_ps(to, v.value); }

BNNZOO_INLINE void store_first(float* to, Vector v, int n) {
  _mm512_mask_storeu_ps(to, first_lanes(n), v.value);
}

BNNZOO_INLINE Vector broadcast(float value) { return {_mm512_set1_ps(value)}; }
BNNZOO_INLINE Vector add(Vector a, Vector b) { return {_mm512_add_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector subtract(Vector a, Vector b) { return {_mm512_sub_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector multiply(Vector a, Vector b) { return {_mm512_mul_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector divide(Vector a, Vector b) { return {_mm512_div_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector minimum(Vector a, Vector b) { return {_mm512_min_ps(a.value, b.value)}; }
BNNZOO_INLINE Vector maximum(Vector a, Vector b) { return {_mm512_max_ps(a.value, b.value)}; }

BNNZOO_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
  return {_mm512_fmadd_ps(a.value, b.value, c.value)};
}

BNNZOO_INLINE uint64_t below(Vector a, Vector b) {
  return _mm512_cmp_ps_mask(a.value, b.value, _CMP_LT_OQ);
}

BNNZOO_INLINE Integers round_to_even(Vector v) { return {_mm512_cvtps_epi32(v.value)}; }

BNNZOO_INLINE uint64_t bit_of(Integers integers, int index) {
  return _mm512_test_epi32_mask(integers.value, _mm512_set1_epi32(1 << index));
}

BNNZOO_INLINE Integers magnitude(Vector v) {
  return {_mm512_and_si512(_mm512_castps_si512(v.value), _mm512_set1_epi32(0x7fffffff))};
}

BNNZOO_INLINE Integers larger(Integers a, Integers b) {
  return {_mm512_max_epu32(a.value, b.value)};
}

BNNZOO_INLINE void store_integers(uint32_t* to, Integers integers) {
  _mm512_storeu_si512(to, integers.value);
}

// Sums of products in 8 bits, and what is multiplied: quads of 4 bytes.
struct Sums {
  __m512i value;
};

struct Quads {
  __m512i value;
};

BNNZOO_INLINE Sums load_sums(const int32_t* from) { return {_mm512_load_si512(from)}; }
BNNZOO_INLINE Sums add(Sums a, Sums b) { return {_mm512_add_epi32(a.value, b.value)}; }
BNNZOO_INLINE Quads load_quads(const int32_t* from) { return {_mm512_load_si512(from)}; }

BNNZOO_INLINE Quads broadcast_quad(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return {_mm512_set1_epi32(quad)};
}

// With a mask of all lanes: GCC 12 warns of the undefined source that it gives itself without.
BNNZOO_INLINE Vector to_real(Sums sums) {
  return {_mm512_maskz_cvtepi32_ps(0xffff, sums.value)};
}

// Each byte four times: a broadcast of one byte of channels is then a broadcast of 32 bits, which
// an instruction does while it loads its operand.
constexpr int kExpansion = 4;
constexpr int kBlockBytes = 8 * kExpansion;

BNNZOO_INLINE void store_bits(uint8_t* to, uint64_t bits) {
  const __m256i index = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,  //
                                         4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
  const __m256i words = _mm256_set1_epi64x(static_cast<long long>(bits));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_shuffle_epi8(words, index));
}
