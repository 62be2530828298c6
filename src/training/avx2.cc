// x86-64 with AVX2 and FMA: Haswell, Zen and later.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>

#include "kernels.h"
#include "../kernels/target.h"

BNNZOO_PUSH_TARGET("avx2,fma")

namespace bnnzoo::training {
namespace {

constexpr int kLanes = 8;
constexpr int kRows = 6;  // 12 sums, 2 vectors of the right matrix, 1 number of the left one

#define BNNZOO_ROOT(x) (Lanes) _mm256_sqrt_ps((__m256)(x))

#include "kernels.inc"

}  // namespace

constexpr Kernels avx2_kernels = kernel_table("avx2");

}  // namespace bnnzoo::training

BNNZOO_POP_TARGET
#endif
