// Any CPU, in vectors of four floats.
#include <cstddef>

#include "kernels.h"

namespace bnnzoo::training {
namespace {

constexpr int kLanes = 4;
constexpr int kRows = 2;

#include "kernels.inc"

}  // namespace

constexpr Kernels portable_kernels = kernel_table("portable");

}  // namespace bnnzoo::training
