// x86-64 with POPCNT: portable.cc with one instruction to count the bits of a word.
#if defined(__x86_64__)
#include <emmintrin.h>

#include "tables.h"

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("popcnt"))), \
    apply_to = function)
#else
#pragma GCC target("popcnt")
#endif

namespace bnnzoo {
namespace {

#include "blocks.h"
#include "portable_vector.h"

BNNZOO_INLINE uint64_t count_bits(uint64_t word) {
  return static_cast<uint64_t>(__builtin_popcountll(word));
}

#include "epilogue.h"
#include "convolving.h"
#include "float_kernels.h"
#include "int8_kernels.h"
#include "scalar_counting.h"
#include "binary_kernels.h"
#include "kernel_table.h"

}  // namespace

constexpr Kernels popcnt_kernels = kernel_table("popcnt");

}  // namespace bnnzoo

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
