#include <cmath>

#include "operations.h"

namespace bnnzoo::training {
namespace {

using Doubles = std::vector<double>;
using Floats = std::vector<float>;

class BatchNorm : public Operation {
 public:
  BatchNorm(Network& network, const BatchNormSpec& spec)
      : Operation({spec.input}, spec.output),
        network_(network),
        spec_(spec),
        shape_(network.tensor(spec.input).shape),
        channels_(static_cast<size_t>(shape_.channels)) {}

  bool needs_batch() const override { return true; }
  bool needs_input() const override { return true; }
  bool has_parameters() const override { return true; }

  void reserve(int32_t lanes) override {
    lanes_.resize(static_cast<size_t>(lanes));
    for (Lane& lane : lanes_) {
      lane.mean.assign(channels_, 0);
      lane.squares.assign(channels_, 0);
      lane.block.assign(2 * channels_, 0);
      lane.block_mean.assign(channels_, 0);
    }
    for (Floats* values : {&mean_, &inverse_, &a_, &b_, &p_, &q_, &r_}) values->resize(channels_);
  }

  // Means and sums of squared differences of blocks are combined with Chan's formula: unlike the
  // difference of two large sums it is accurate if the mean is far from 0.
  void collect(const Block& block) override {
    const float* x = network_.value(inputs[0], block);
    const int64_t pixels = block.count * shape_.pixels();
    Lane& lane = lanes_[static_cast<size_t>(block.lane)];
    double *sums = lane.block.data(), *squares = sums + channels_;
    std::fill(lane.block.begin(), lane.block.end(), 0.0);
    network_.kernels.sum(x, pixels, shape_.channels, sums);
    const auto n = static_cast<double>(pixels);
    for (size_t c = 0; c < channels_; ++c) lane.block_mean[c] = static_cast<float>(sums[c] / n);
    network_.kernels.sum_squares(x, lane.block_mean.data(), pixels, shape_.channels, squares);
    for (size_t c = 0; c < channels_; ++c) {
      // About the rounded mean: the difference to the exact one is subtracted.
      const double mean = sums[c] / n, rounding = mean - static_cast<double>(lane.block_mean[c]);
      combine(lane, c, n, mean, squares[c] - n * rounding * rounding);
    }
    lane.n += n;
  }

  void finish_collecting(int64_t, bool training) override {
    const float *gamma = parameter(spec_.gamma), *beta = parameter(spec_.beta);
    float* moving_mean = network_.state.data() + spec_.moving;
    float* moving_variance = moving_mean + channels_;
    Lane all = {0, Doubles(channels_), Doubles(channels_), {}, {}};
    for (Lane& lane : lanes_) {
      if (training && lane.n > 0) {
        for (size_t c = 0; c < channels_; ++c) {
          combine(all, c, lane.n, lane.mean[c], lane.squares[c]);
        }
        all.n += lane.n;
      }
      lane.n = 0;
    }
    for (size_t c = 0; c < channels_; ++c) {
      double mean = static_cast<double>(moving_mean[c]);
      double variance = static_cast<double>(moving_variance[c]);
      if (training) {
        mean = all.mean[c];
        variance = all.squares[c] / all.n;
        moving_mean[c] = moved(moving_mean[c], mean);
        moving_variance[c] = moved(moving_variance[c], variance);
      }
      const double inverse = 1 / std::sqrt(variance + static_cast<double>(spec_.epsilon));
      const double a = inverse * (gamma ? static_cast<double>(gamma[c]) : 1.0);
      mean_[c] = static_cast<float>(mean);
      inverse_[c] = static_cast<float>(inverse);
      a_[c] = static_cast<float>(a);
      b_[c] = static_cast<float>((beta ? static_cast<double>(beta[c]) : 0.0) - a * mean);
    }
  }

  void forward(const Block& block, bool) override {
    network_.kernels.affine(network_.value(inputs[0], block), a_.data(), b_.data(),
                            network_.result(output, block), block.count * shape_.pixels(),
                            shape_.channels);
  }

  void collect_gradients(const Block& block) override {
    Lane& lane = lanes_[static_cast<size_t>(block.lane)];
    if (lane.n == 0) std::fill(lane.block.begin(), lane.block.end(), 0.0);
    const int64_t pixels = block.count * shape_.pixels();
    lane.n += static_cast<double>(pixels);
    network_.kernels.sum_products(
        network_.gradient(output, block), network_.value(inputs[0], block), mean_.data(), pixels,
        shape_.channels, lane.block.data(), lane.block.data() + channels_);
  }

  // With N pixels and xhat = (x - mean) inverse: dbeta = sum g, dgamma = sum g xhat,
  // dx = gamma inverse (g - dbeta / N - xhat dgamma / N) = p g + q x + r.
  void finish_collecting_gradients(int64_t) override {
    const float* gamma = parameter(spec_.gamma);
    double n = 0;
    for (const Lane& lane : lanes_) n += lane.n;
    for (size_t c = 0; c < channels_; ++c) {
      double sum = 0, products = 0;
      for (const Lane& lane : lanes_) {
        if (lane.n == 0) continue;
        sum += lane.block[c];
        products += lane.block[channels_ + c];
      }
      const auto inverse = static_cast<double>(inverse_[c]), mean = static_cast<double>(mean_[c]);
      const double k = inverse * (gamma ? static_cast<double>(gamma[c]) : 1.0);
      const double q = -k * inverse * inverse * products / n;
      if (spec_.gamma >= 0) gradient(spec_.gamma)[c] = static_cast<float>(inverse * products);
      if (spec_.beta >= 0) gradient(spec_.beta)[c] = static_cast<float>(sum);
      p_[c] = static_cast<float>(k);
      q_[c] = static_cast<float>(q);
      r_[c] = static_cast<float>(-k * sum / n - q * mean);
    }
    for (Lane& lane : lanes_) lane.n = 0;
  }

  void backward(const Block& block) override {
    float* dx = network_.gradient(inputs[0], block);
    if (dx == nullptr) return;
    network_.kernels.affine_gradient(
        network_.gradient(output, block), network_.value(inputs[0], block), p_.data(), q_.data(),
        r_.data(), dx, block.count * shape_.pixels(), shape_.channels, adds[0]);
  }

 private:
  struct Lane {
    double n;
    Doubles mean, squares;  // of the blocks so far
    Doubles block;          // sums of one block, or in the backward pass of all
    Floats block_mean;
  };

  static void combine(Lane& lane, size_t c, double n, double mean, double squares) {
    const double all = lane.n + n, difference = mean - (lane.n > 0 ? lane.mean[c] : mean);
    lane.mean[c] = (lane.n > 0 ? lane.mean[c] : mean) + difference * n / all;
    lane.squares[c] =
        (lane.n > 0 ? lane.squares[c] : 0) + squares + difference * difference * lane.n * n / all;
  }

  float moved(float before, double now) const {
    return before * spec_.momentum + static_cast<float>(now) * (1 - spec_.momentum);
  }
  const float* parameter(int64_t offset) const {
    return offset < 0 ? nullptr : network_.parameters.data() + offset;
  }
  float* gradient(int64_t offset) const { return network_.gradients.data() + offset; }

  Network& network_;
  const BatchNormSpec spec_;
  const Shape shape_;
  const size_t channels_;
  std::vector<Lane> lanes_;
  Floats mean_, inverse_, a_, b_, p_, q_, r_;
};

}  // namespace

std::unique_ptr<Operation> make_batch_norm(Network& network, const BatchNormSpec& spec) {
  return std::make_unique<BatchNorm>(network, spec);
}

}  // namespace bnnzoo::training
