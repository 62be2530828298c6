// Subnormal numbers as zero: products with them take a hundred times as long.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace bnnzoo {

// During its lifetime, its thread treats subnormal inputs and results as zero.
class DenormalsAsZero {
 public:
#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64)
  DenormalsAsZero() : before_(_mm_getcsr()) { _mm_setcsr(_mm_getcsr() | 0x8040); }  // FTZ, DAZ
  ~DenormalsAsZero() { _mm_setcsr(static_cast<unsigned>(before_)); }
#elif defined(__aarch64__)
  DenormalsAsZero() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));  // FZ
  }
  ~DenormalsAsZero() { asm volatile("msr fpcr, %0" : : "r"(before_)); }
#else
  DenormalsAsZero() : before_(0) {}
#endif
  DenormalsAsZero(const DenormalsAsZero&) = delete;
  DenormalsAsZero& operator=(const DenormalsAsZero&) = delete;

 private:
  uint64_t before_;
};

}  // namespace bnnzoo
