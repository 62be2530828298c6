// Any CPU, in vectors of four floats.
#include <cstddef>

#include "kernels.h"

namespace bnnzoo::training {
namespace {

constexpr int kLanes = 4;
constexpr int kRows = 2;

typedef float Four __attribute__((vector_size(16)));

inline Four root(Four x) {
  for (int i = 0; i < 4; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}
#define BNNZOO_ROOT(x) root(x)

#include "kernels.inc"

}  // namespace

constexpr Kernels portable_kernels = kernel_table("portable");

}  // namespace bnnzoo::training
