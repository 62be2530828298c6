// Convolutions with a gradient, and dense layers, which are convolutions of one pixel.
#pragma once

#include <memory>
#include <vector>

#include "network.h"

namespace bnnzoo::training {

enum class KernelKind : int32_t {
  real,
  sign,            // -1 and +1
  magnitude_sign,  // times the mean magnitude of the filter
  given,           // the caller writes the quantized kernel, and gets its gradient
  given_signs,     // the same, of one magnitude per filter
};

struct ConvolutionSpec {
  int32_t input, output;
  int64_t kernel_h, kernel_w, stride_h, stride_w, top, left;
  float border;  // what surrounds the input after `function`: -1, 0 or +1
  InputFunction function;
  KernelKind kind;
  float limit;          // of latent weights that have a gradient
  bool scale_gradient;  // magnitude_sign: whether the magnitude is a factor of it
  int64_t weights;      // (kernel_h, kernel_w, c_in, c_out) parameters
  int64_t quantized;    // the same in the state, if given
};

std::unique_ptr<Operation> make_convolution(Network& network, const ConvolutionSpec& spec);

}  // namespace bnnzoo::training
