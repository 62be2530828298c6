// x86-64 with AVX-512 F, BW, VL and DQ: Skylake-X and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"
#include "target.h"

BNNZOO_PUSH_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

namespace bnnzoo {
namespace {

#include "blocks.inc"
#include "avx512_vector.inc"
#include "avx512_words.inc"
#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "byte_lanes.inc"
#include "avx512_counting.inc"
#include "avx512_carry_save.inc"
#include "byte_lane_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels avx512_kernels = kernel_table("avx512");

}  // namespace bnnzoo

BNNZOO_POP_TARGET
#endif
