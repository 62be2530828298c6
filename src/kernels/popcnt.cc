// x86-64 with POPCNT: portable.cc with one instruction to count the bits of a word.
#if defined(__x86_64__)
#include <emmintrin.h>

#include "tables.h"
#include "target.h"

BNNZOO_PUSH_TARGET("popcnt")

namespace bnnzoo {
namespace {

#include "blocks.inc"
#include "portable_vector.inc"

BNNZOO_INLINE uint64_t count_bits(uint64_t word) {
  return static_cast<uint64_t>(__builtin_popcountll(word));
}

#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "scalar_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels popcnt_kernels = kernel_table("popcnt");

}  // namespace bnnzoo

BNNZOO_POP_TARGET
#endif
