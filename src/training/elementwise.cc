#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "operations.h"

namespace bnnzoo::training {
namespace {

class Slopes : public Operation {
 public:
  Slopes(Network& network, const SlopesSpec& spec)
      : Operation({spec.input}, spec.output),
        network_(network),
        spec_(spec),
        shape_(network.tensor(spec.input).shape),
        zeros_(static_cast<size_t>(shape_.channels), 0.0f),
        ones_(static_cast<size_t>(shape_.channels), 1.0f) {}

  bool needs_input() const override { return true; }
  bool has_parameters() const override { return true; }

  void reserve(int32_t lanes) override {
    sums_.assign(static_cast<size_t>(lanes),
                 std::vector<double>(4 * static_cast<size_t>(shape_.channels)));
  }

  void forward(const Block& block, bool) override {
    network_.kernels.slopes(network_.value(inputs[0], block), parameter(spec_.shift, zeros_),
                            parameter(spec_.positive, ones_), parameter(spec_.negative, ones_),
                            parameter(spec_.offset, zeros_), network_.result(output, block),
                            block.count * shape_.pixels(), shape_.channels);
  }

  void backward(const Block& block) override {
    double* sums = sums_[static_cast<size_t>(block.lane)].data();
    double* const totals[] = {sums, sums + shape_.channels, sums + 2 * shape_.channels,
                              sums + 3 * shape_.channels};
    const float* x = network_.value(inputs[0], block);
    float* dx = network_.gradient(inputs[0], block);
    // Without a gradient to compute, that of the output is overwritten, which nothing reads again.
    float* to = dx != nullptr ? dx : network_.gradient(output, block);
    network_.kernels.slopes_gradient(
        network_.gradient(output, block), x, parameter(spec_.shift, zeros_),
        parameter(spec_.positive, ones_), parameter(spec_.negative, ones_), to,
        block.count * shape_.pixels(), shape_.channels, dx != nullptr && adds[0], totals);
  }

  void finish_gradients(int64_t) override {
    const std::array<int64_t, 4> offsets = {spec_.shift, spec_.positive, spec_.negative,
                                            spec_.offset};
    const auto channels = static_cast<size_t>(shape_.channels);
    for (size_t i = 0; i < 4 * channels; ++i) {
      double total = 0;
      for (auto& sums : sums_) {
        total += sums[i];
        sums[i] = 0;
      }
      const int64_t offset = offsets[i / channels];
      if (offset >= 0) {
        network_.gradients[static_cast<size_t>(offset) + i % channels] = static_cast<float>(total);
      }
    }
  }

 private:
  const float* parameter(int64_t offset, const std::vector<float>& otherwise) const {
    return offset < 0 ? otherwise.data() : network_.parameters.data() + offset;
  }

  Network& network_;
  const SlopesSpec spec_;
  const Shape shape_;
  const std::vector<float> zeros_, ones_;
  std::vector<std::vector<double>> sums_;  // per lane: of dx, positive, negative, offset
};

class Function : public Operation {
 public:
  Function(Network& network, int32_t input, int32_t output, const InputFunction& function)
      : Operation({input}, output),
        network_(network),
        function_(function),
        floats_(network.tensor(input).shape.floats()) {}

  bool needs_input() const override { return true; }

  void forward(const Block& block, bool) override {
    network_.kernels.apply(function_, network_.value(inputs[0], block),
                           network_.result(output, block), block.count * floats_);
  }

  void backward(const Block& block) override {
    network_.kernels.differentiate(
        function_, network_.value(inputs[0], block), network_.gradient(output, block),
        network_.gradient(inputs[0], block), block.count * floats_, adds[0]);
  }

 private:
  Network& network_;
  const InputFunction function_;
  const int64_t floats_;
};

// With z = (x - center) / scale, s = sign(z) and f = max(2 - 2 |z|, 0): dy/dx = f,
// dy/dscale = s + center - f z, dy/dcenter = scale - f.
class AdaptiveSign : public Operation {
 public:
  AdaptiveSign(Network& network, int32_t input, int32_t output, int64_t scale, int64_t center)
      : Operation({input}, output),
        network_(network),
        scale_(scale),
        center_(center),
        floats_(network.tensor(input).shape.floats()) {}

  bool needs_input() const override { return true; }
  bool has_parameters() const override { return true; }
  void reserve(int32_t lanes) override { sums_.assign(static_cast<size_t>(lanes), {0, 0}); }

  void forward(const Block& block, bool) override {
    const float *x = network_.value(inputs[0], block), scale = network_.parameters[at(scale_)],
                center = network_.parameters[at(center_)];
    const float high = scale * (1 + center), low = scale * (-1 + center);
    const bool positive = scale > 0;
    float* y = network_.result(output, block);
    for (int64_t i = 0; i < block.count * floats_; ++i) {
      const float z = positive ? x[i] - center : center - x[i];
      y[i] = z < 0 ? low : high;
    }
  }

  void backward(const Block& block) override {
    const float *x = network_.value(inputs[0], block), *dy = network_.gradient(output, block);
    float* dx = network_.gradient(inputs[0], block);
    const float scale = network_.parameters[at(scale_)], center = network_.parameters[at(center_)];
    auto& sums = sums_[at(block.lane)];
    for (int64_t first = 0; first < block.count * floats_; first += kFloats) {
      const int64_t end = std::min(first + kFloats, block.count * floats_);
      float scales = 0, centers = 0;
      for (int64_t i = first; i < end; ++i) {
        const float z = (x[i] - center) / scale, f = std::max(2 - 2 * std::fabs(z), 0.0f);
        scales += dy[i] * ((z < 0 ? -1.0f : 1.0f) + center - f * z);
        centers += dy[i] * (scale - f);
        if (dx != nullptr) dx[i] = (adds[0] ? dx[i] : 0.0f) + dy[i] * f;
      }
      sums[0] += static_cast<double>(scales);
      sums[1] += static_cast<double>(centers);
    }
  }

  void finish_gradients(int64_t) override {
    std::array<double, 2> total = {};
    for (auto& sums : sums_) {
      total[0] += sums[0];
      total[1] += sums[1];
      sums = {0, 0};
    }
    network_.gradients[at(scale_)] = static_cast<float>(total[0]);
    network_.gradients[at(center_)] = static_cast<float>(total[1]);
  }

 private:
  static constexpr int64_t kFloats = 256;  // added in float before they are added in double
  static size_t at(int64_t index) { return static_cast<size_t>(index); }

  Network& network_;
  const int64_t scale_, center_, floats_;
  std::vector<std::array<double, 2>> sums_;  // per lane: of the scale, of the center
};

class Add : public Operation {
 public:
  Add(Network& network, std::vector<int32_t> inputs, int32_t output)
      : Operation(std::move(inputs), output),
        network_(network),
        floats_(network.tensor(output).shape.floats()) {}

  bool passes_gradient() const override { return true; }

  void forward(const Block& block, bool) override {
    const int64_t n = block.count * floats_;
    float* y = network_.result(output, block);
    network_.kernels.add(network_.value(inputs[0], block), network_.value(inputs[1], block), y, n);
    for (size_t i = 2; i < inputs.size(); ++i) {
      network_.kernels.accumulate(network_.value(inputs[i], block), y, n, true);
    }
  }

  void backward(const Block& block) override {
    for (size_t i = 0; i < inputs.size(); ++i) {
      float* dx = network_.gradient(inputs[i], block);
      if (dx == nullptr || shares[i]) continue;
      network_.kernels.accumulate(network_.gradient(output, block), dx, block.count * floats_,
                                  adds[i]);
    }
  }

 private:
  Network& network_;
  const int64_t floats_;
};

// Copies channels between maps of the same size.
void copy_channels(const Kernels& kernels, const float* from, int64_t from_channels, float* to,
                   int64_t to_channels, int64_t count, int64_t pixels, bool add) {
  for (int64_t p = 0; p < pixels; ++p, from += from_channels, to += to_channels) {
    kernels.accumulate(from, to, count, add);
  }
}

class Concatenate : public Operation {
 public:
  Concatenate(Network& network, std::vector<int32_t> inputs, int32_t output)
      : Operation(std::move(inputs), output),
        network_(network),
        shape_(network.tensor(output).shape) {}

  void forward(const Block& block, bool) override {
    float* y = network_.result(output, block);
    for (const int32_t input : inputs) {
      const int64_t channels = network_.tensor(input).shape.channels;
      copy_channels(network_.kernels, network_.value(input, block), channels, y, shape_.channels,
                    channels, block.count * shape_.pixels(), false);
      y += channels;
    }
  }

  void backward(const Block& block) override {
    const float* dy = network_.gradient(output, block);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int64_t channels = network_.tensor(inputs[i]).shape.channels;
      float* dx = network_.gradient(inputs[i], block);
      if (dx != nullptr) {
        copy_channels(network_.kernels, dy, shape_.channels, dx, channels, channels,
                      block.count * shape_.pixels(), adds[i]);
      }
      dy += channels;
    }
  }

 private:
  Network& network_;
  const Shape shape_;
};

class Pad : public Operation {
 public:
  Pad(Network& network, const PadSpec& spec)
      : Operation({spec.input}, spec.output),
        network_(network),
        spec_(spec),
        in_(network.tensor(spec.input).shape),
        out_(network.tensor(spec.output).shape) {}

  void forward(const Block& block, bool) override {
    float* y = network_.result(output, block);
    std::fill(y, y + block.count * out_.floats(), 0.0f);
    const float* x = network_.value(inputs[0], block);
    for_each_row(block.count, [&](int64_t from, int64_t to) {
      copy_channels(network_.kernels, x + from, in_.channels, y + to, out_.channels, in_.channels,
                    in_.columns, false);
    });
  }

  void backward(const Block& block) override {
    const float* dy = network_.gradient(output, block);
    float* dx = network_.gradient(inputs[0], block);
    for_each_row(block.count, [&](int64_t to, int64_t from) {
      copy_channels(network_.kernels, dy + from, out_.channels, dx + to, in_.channels, in_.channels,
                    in_.columns, adds[0]);
    });
  }

 private:
  // Calls body(first number of a row of the input, of the same row in the output).
  template <class Body>
  void for_each_row(int64_t images, const Body& body) const {
    for (int64_t row = 0; row < images * in_.rows; ++row) {
      const int64_t image = row / in_.rows, y = row % in_.rows + spec_.top;
      body(
          row * in_.columns * in_.channels,
          image * out_.floats() + (y * out_.columns + spec_.left) * out_.channels + spec_.channels);
    }
  }

  Network& network_;
  const PadSpec spec_;
  const Shape in_, out_;
};

}  // namespace

std::unique_ptr<Operation> make_slopes(Network& network, const SlopesSpec& spec) {
  return std::make_unique<Slopes>(network, spec);
}

std::unique_ptr<Operation> make_function(Network& network, int32_t input, int32_t output,
                                         const InputFunction& function) {
  return std::make_unique<Function>(network, input, output, function);
}

std::unique_ptr<Operation> make_adaptive_sign(Network& network, int32_t input, int32_t output,
                                              int64_t scale, int64_t center) {
  return std::make_unique<AdaptiveSign>(network, input, output, scale, center);
}

std::unique_ptr<Operation> make_add(Network& network, std::vector<int32_t> inputs, int32_t output) {
  return std::make_unique<Add>(network, std::move(inputs), output);
}

std::unique_ptr<Operation> make_concatenate(Network& network, std::vector<int32_t> inputs,
                                            int32_t output) {
  return std::make_unique<Concatenate>(network, std::move(inputs), output);
}

std::unique_ptr<Operation> make_pad(Network& network, const PadSpec& spec) {
  return std::make_unique<Pad>(network, spec);
}

}  // namespace bnnzoo::training
