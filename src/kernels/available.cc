// Which instruction sets this CPU and its operating system support.
#include "tables.h"

namespace bnnzoo {
namespace {

struct Candidate {
  const Kernels* kernels;
  bool usable;
};

constexpr int kMost = 8;

struct Available {
  const Kernels* kernels[kMost + 1] = {};

  template <int count>
  explicit Available(const Candidate (&candidates)[count]) {
    static_assert(count <= kMost, "the table must hold every instruction set");
    const Kernels** next = kernels;
    for (const Candidate& candidate : candidates) {
      if (candidate.usable) *next++ = candidate.kernels;
    }
  }
};

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
