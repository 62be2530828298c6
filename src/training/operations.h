// The operations of a network other than convolutions.
#pragma once

#include <memory>
#include <vector>

#include "network.h"

namespace bnnzoo::training {

// y = gamma (x - mean) / sqrt(variance + epsilon) + beta, over the batch and all pixels; in
// inference with the moving means and variances, which follow those of the batches.
// gamma and beta are offsets of (channels) parameters, or -1; moving: of (2, channels) in the
// state.
struct BatchNormSpec {
  int32_t input, output;
  float epsilon, momentum;
  int64_t gamma, beta, moving;
};
std::unique_ptr<Operation> make_batch_norm(Network& network, const BatchNormSpec& spec);

// z = x + shift, y = (z >= 0 ? positive z : negative z) + offset, for each channel. Offsets of
// (channels) parameters; -1 leaves a shift at 0 and a slope at 1.
struct SlopesSpec {
  int32_t input, output;
  int64_t shift, positive, negative, offset;
};
std::unique_ptr<Operation> make_slopes(Network& network, const SlopesSpec& spec);

// y = f(x).
std::unique_ptr<Operation> make_function(Network& network, int32_t input, int32_t output,
                                         const InputFunction& function);

// y = scale (sign((x - center) / scale) + center); offsets of one parameter each.
std::unique_ptr<Operation> make_adaptive_sign(Network& network, int32_t input, int32_t output,
                                              int64_t scale, int64_t center);

std::unique_ptr<Operation> make_add(Network& network, std::vector<int32_t> inputs, int32_t output);
std::unique_ptr<Operation> make_concatenate(Network& network, std::vector<int32_t> inputs,
                                            int32_t output);

// Adds zeros around the map, and channels of zeros on both sides.
struct PadSpec {
  int32_t input, output;
  int64_t top, left, channels;
};
std::unique_ptr<Operation> make_pad(Network& network, const PadSpec& spec);

// Maximum, or mean, of the part of each window that is inside the image.
struct PoolSpec {
  int32_t input, output;
  int64_t pool_h, pool_w, stride_h, stride_w, top, left;
  bool maximum;
};
std::unique_ptr<Operation> make_pool(Network& network, const PoolSpec& spec);

}  // namespace bnnzoo::training
