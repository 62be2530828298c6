// x86-64 with AVX-512 F, BW, VL, DQ and VNNI: Cascade Lake and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
// GCC 12 takes the undefined source of unmasked intrinsics for a mistake (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace bnnzoo {
namespace {

#include "blocks.h"
#include "avx512_vector.h"
#include "avx512_vnni.h"
#include "epilogue.h"
#include "convolving.h"
#include "float_kernels.h"
#include "int8_kernels.h"
#include "byte_lanes.h"
#include "avx512_counting.h"
#include "avx512_carry_save.h"
#include "byte_lane_counting.h"
#include "binary_kernels.h"
#include "kernel_table.h"

}  // namespace

constexpr Kernels avx512_vnni_kernels = kernel_table("avx512_vnni");

}  // namespace bnnzoo

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
