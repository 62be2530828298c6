// Any CPU, plain C++.
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "tables.h"

// A product that is fused with its sum here and not there would make results depend on the tile.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

namespace bnnzoo {
namespace {

#include "blocks.inc"
#include "portable_vector.inc"

// Counts bits without an instruction for it:
// 1. fields of 2 bits: their two bits b1 b0 become b1 + b0, which is 2 b1 + b0 - b1;
// 2. neighbouring fields are added to fields of 4, then of 8 bits, where they cannot overflow;
// 3. the product with 0x0101... has the sum of all bytes in its highest byte.
BNNZOO_INLINE uint64_t count_bits(uint64_t word) {
  word -= word >> 1 & 0x5555555555555555u;
  word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
  word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return word * 0x0101010101010101u >> 56;
}

#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "scalar_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels portable_kernels = kernel_table("portable");

}  // namespace bnnzoo
