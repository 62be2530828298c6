// A convolution whose map is pooled while a few rows of it are in the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "program.h"

namespace bnnzoo {

// `conv` and `pool` without input and steps; `input` in bytes of the arena. Its "pixels" are the
// rows of the pooling.
std::unique_ptr<Operation> make_pooled_conv2d(const Kernels& kernels, const Conv2d& conv,
                                              std::vector<StepSpec> conv_steps, int64_t input,
                                              const Pool2d& pool,
                                              std::vector<StepSpec> pool_steps);

}  // namespace bnnzoo
