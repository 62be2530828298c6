// The table of each instruction set. Each is defined in the file of its name.
#pragma once

#include "kernels.h"

namespace bnnzoo {

extern const Kernels portable_kernels;

#if defined(__x86_64__)
extern const Kernels popcnt_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512_vnni_kernels;
extern const Kernels avx512_vpopcntdq_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
#endif

}  // namespace bnnzoo
