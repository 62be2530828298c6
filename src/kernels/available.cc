// Which instruction sets this CPU and its operating system support.
#include "tables.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(BNNZOO_AMX)
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

#if defined(__x86_64__)
// CPUID describes the CPU, and XGETBV the registers that the system saves for each thread.
// __builtin_cpu_supports needs the compiler's own library: that of zig answered no to everything,
// and clang-cl links none.
struct Cpu {
  unsigned leaf1_ecx = 0, leaf7_ebx = 0, leaf7_ecx = 0, leaf7_edx = 0, saved = 0;

  Cpu() {
    unsigned eax, ebx, edx;
    __get_cpuid(1, &eax, &ebx, &leaf1_ecx, &edx);
    __get_cpuid_count(7, 0, &eax, &leaf7_ebx, &leaf7_ecx, &leaf7_edx);
    if (has(leaf1_ecx, bit_OSXSAVE)) __asm__("xgetbv" : "=a"(saved), "=d"(edx) : "c"(0));
  }

  static bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }
};

constexpr unsigned kSavesAvx = 0x06, kSavesAvx512 = 0xe6;  // bits of XCR0
#endif

#if defined(BNNZOO_AMX)
// Linux saves tiles only for a process that requests them, once for all its threads. It may refuse,
// for example if the signal stack of a thread is too small for them.
bool ask_for_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}
#endif

// Best first.
Available detect() {
#if defined(__x86_64__)
  const Cpu cpu;
  const bool popcnt = cpu.has(cpu.leaf1_ecx, bit_POPCNT);
  const bool avx2 = popcnt && cpu.has(cpu.saved, kSavesAvx) && cpu.has(cpu.leaf1_ecx, bit_FMA) &&
                    cpu.has(cpu.leaf7_ebx, bit_AVX2);
  const bool avx512 =
      avx2 && cpu.has(cpu.saved, kSavesAvx512) &&
      cpu.has(cpu.leaf7_ebx, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ);
  const bool vnni = avx512 && cpu.has(cpu.leaf7_ecx, bit_AVX512VNNI);
  const bool vpopcntdq = vnni && cpu.has(cpu.leaf7_ecx, bit_AVX512VPOPCNTDQ | bit_AVX512BITALG);
#if defined(BNNZOO_AMX)
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  const bool amx = vpopcntdq && cpu.has(cpu.leaf7_edx, kTile | kInt8) && ask_for_tiles();
#endif
  const Candidate candidates[] = {
#if defined(BNNZOO_AMX)
      {&avx512_amx_kernels, amx},
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
