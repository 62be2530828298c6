// The table of each instruction set. Each is defined in the file of its name.
#pragma once

#include "kernels.h"

// Compilers since GCC 11 and Clang 11 know AMX, and Linux lets programs ask for it.
#if defined(__x86_64__) && defined(__linux__) && \
    (__has_include(<amxint8intrin.h>) || __has_include(<amxintrin.h>))
#define BNNZOO_AMX
#endif

namespace bnnzoo {

extern const Kernels portable_kernels;

#if defined(__x86_64__)
extern const Kernels popcnt_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels avx512_vnni_kernels;
extern const Kernels avx512_vpopcntdq_kernels;
#if defined(BNNZOO_AMX)
extern const Kernels avx512_amx_kernels;
#endif
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
#endif

}  // namespace bnnzoo
