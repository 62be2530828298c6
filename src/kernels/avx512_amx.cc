// x86-64 with the AVX-512 of avx512_vpopcntdq.cc, and AMX for int8: Sapphire Rapids and later.
#include "tables.h"
#include "target.h"

#if defined(BNNZOO_AMX)
#include <immintrin.h>

BNNZOO_PUSH_TARGET(
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,"
    "avx512bitalg,amx-tile,amx-int8,avx2,fma")

namespace bnnzoo {
namespace {

#include "blocks.inc"
#include "avx512_vector.inc"
#include "avx512_vnni.inc"
#include "epilogue.inc"
#include "convolving.inc"
#include "float_kernels.inc"
#include "int8_kernels.inc"
#include "amx_int8.inc"
#include "byte_lanes.inc"
#include "avx512_counting.inc"
#include "avx512_popcount.inc"
#include "byte_lane_counting.inc"
#include "binary_kernels.inc"
#include "kernel_table.inc"

}  // namespace

constexpr Kernels avx512_amx_kernels = kernel_table("avx512_amx", amx_int8_conv2d);

}  // namespace bnnzoo

BNNZOO_POP_TARGET
#endif
