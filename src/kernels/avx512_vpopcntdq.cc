// x86-64 with AVX-512 F, BW, VL, DQ, VNNI, VPOPCNTDQ and BITALG: Ice Lake, Zen 4 and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"
#include "target.h"

BNNZOO_PUSH_TARGET(
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,"
    "avx512bitalg,avx2,fma")

namespace bnnzoo {
namespace {

#include "blocks.inc"
#include "avx512_vector.inc"
#include "avx512_vnni.inc"
#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "byte_lanes.inc"
#include "avx512_counting.inc"
#include "avx512_popcount.inc"
#include "byte_lane_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels avx512_vpopcntdq_kernels = kernel_table("avx512_vpopcntdq");

}  // namespace bnnzoo

BNNZOO_POP_TARGET
#endif
