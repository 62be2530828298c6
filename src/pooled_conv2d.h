// A convolution whose map is pooled while a few rows of it are in the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "program.h"

namespace bnnzoo {

// `conv`, a Conv2d or an Int8Conv2d, and `pool` without operands and epilogue. Its "pixels" are the
// rows of the pooling.
template <class Conv>
std::unique_ptr<Operation> make_pooled_conv2d(const Kernels& kernels, const Conv& conv,
                                              void (*run)(const Conv&, const Range&),
                                              EpilogueSpec conv_epilogue, const Operands& operands,
                                              const Pool2d& pool, EpilogueSpec pool_epilogue);

}  // namespace bnnzoo
