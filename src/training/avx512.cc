// x86-64 with AVX-512 F, BW, VL and DQ: Skylake-X and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>

#include "kernels.h"
#include "../kernels/target.h"

BNNZOO_PUSH_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

namespace bnnzoo::training {
namespace {

constexpr int kLanes = 16;
constexpr int kRows = 16;

#define BNNZOO_ROOT(x) (Lanes) _mm512_maskz_sqrt_ps(0xffff, (__m512)(x))

#include "kernels.inc"

}  // namespace

constexpr Kernels avx512_kernels = kernel_table("avx512");

}  // namespace bnnzoo::training

BNNZOO_POP_TARGET
#endif
