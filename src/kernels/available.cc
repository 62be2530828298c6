// Which instruction sets this CPU and its operating system support.
#include "tables.h"

#if defined(BNNZOO_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bnnzoo {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool usable;
};

constexpr int kMax = 8;

struct Available {
  const Kernels* kernels[kMax + 1] = {};

  template <int count>
  explicit Available(const Candidate (&candidates)[count]) {
    static_assert(count <= kMax, "the table must hold every instruction set");
    const Kernels** next = kernels;
    for (const Candidate& candidate : candidates) {
      if (candidate.usable) *next++ = candidate.kernels;
    }
  }
};

#if defined(BNNZOO_AMX)
// Linux saves tiles for a process that has asked for them, once and for all its threads. It may
// refuse, as where a thread has a signal stack that is too small to hold them.
bool ask_for_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  return (edx & kTile) != 0 && (edx & kInt8) != 0 &&
         syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}
#endif

// Best first. __builtin_cpu_supports says yes only where the system saves the registers too.
Available detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool popcnt = __builtin_cpu_supports("popcnt");
  const bool avx2 = popcnt && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  const bool vpopcntdq = vnni && __builtin_cpu_supports("avx512vpopcntdq") &&
                         __builtin_cpu_supports("avx512bitalg");
  const Candidate candidates[] = {
#if defined(BNNZOO_AMX)
      {&avx512_amx_kernels, vpopcntdq && ask_for_tiles()},
#endif
      {&avx512_vpopcntdq_kernels, vpopcntdq},
      {&avx512_vnni_kernels, vnni},
      {&avx512_kernels, avx512},
      {&avx2_kernels, avx2},
      {&popcnt_kernels, popcnt},
      {&portable_kernels, true},
  };
#elif defined(__aarch64__)
  const Candidate candidates[] = {{&neon_kernels, true}, {&portable_kernels, true}};
#else
  const Candidate candidates[] = {{&portable_kernels, true}};
#endif
  return Available(candidates);
}

}  // namespace

const Kernels* const* available_kernels() {
  static const Available available = detect();
  return available.kernels;
}

}  // namespace bnnzoo
