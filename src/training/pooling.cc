#include <algorithm>

#include "operations.h"

namespace bnnzoo::training {
namespace {

// Several equal maxima: the first one, in the order of the rows, gets the gradient, as in
// TensorFlow.
class Pool : public Operation {
 public:
  Pool(Network& network, const PoolSpec& spec)
      : Operation({spec.input}, spec.output),
        network_(network),
        spec_(spec),
        in_(network.tensor(spec.input).shape),
        out_(network.tensor(spec.output).shape) {}

  bool needs_input() const override { return spec_.maximum; }

  void forward(const Block& block, bool) override {
    const float* x = network_.value(inputs[0], block);
    float* y = network_.result(output, block);
    for_each_window(block.count, [&](const Window& window, int64_t to) {
      float* __restrict out = y + to;
      const float* __restrict first = x + window.first;
      std::copy(first, first + in_.channels, out);
      for_each_pixel(window, [&](int64_t from, bool is_first) {
        const float* __restrict in = x + from;
        if (is_first) return;
        if (spec_.maximum) {
          for (int64_t c = 0; c < in_.channels; ++c) out[c] = in[c] > out[c] ? in[c] : out[c];
        } else {
          for (int64_t c = 0; c < in_.channels; ++c) out[c] += in[c];
        }
      });
      const float factor = 1.0f / static_cast<float>(window.rows * window.columns);
      for (int64_t c = 0; !spec_.maximum && c < in_.channels; ++c) out[c] *= factor;
    });
  }

  void backward(const Block& block) override {
    const float* x = network_.value(inputs[0], block);
    const float* dy = network_.gradient(output, block);
    float* dx = network_.gradient(inputs[0], block);
    if (!adds[0]) std::fill(dx, dx + block.count * in_.floats(), 0.0f);
    for_each_window(block.count, [&](const Window& window, int64_t from) {
      const float* __restrict g = dy + from;
      if (spec_.maximum) {
        spread_to_maxima(window, x, g, dx);
        return;
      }
      const float factor = 1.0f / static_cast<float>(window.rows * window.columns);
      for_each_pixel(window, [&](int64_t to, bool) {
        float* __restrict out = dx + to;
        for (int64_t c = 0; c < in_.channels; ++c) out[c] += factor * g[c];
      });
    });
  }

 private:
  struct Window {
    int64_t first;  // number of the first pixel inside the image
    int64_t rows, columns;
  };

  // Some channels at a time: their maxima, and what of their gradients is not given yet.
  void spread_to_maxima(const Window& window, const float* x, const float* g, float* dx) const {
    constexpr int64_t kChannels = 64;
    for (int64_t begin = 0; begin < in_.channels; begin += kChannels) {
      const int64_t count = std::min(kChannels, in_.channels - begin);
      float largest[kChannels], left[kChannels];
      std::copy(x + window.first + begin, x + window.first + begin + count, largest);
      std::copy(g + begin, g + begin + count, left);
      for_each_pixel(window, [&](int64_t from, bool) {
        const float* __restrict in = x + from + begin;
        for (int64_t c = 0; c < count; ++c) largest[c] = in[c] > largest[c] ? in[c] : largest[c];
      });
      for_each_pixel(window, [&](int64_t at, bool) {
        const float* __restrict in = x + at + begin;
        float* __restrict out = dx + at + begin;
        for (int64_t c = 0; c < count; ++c) {
          const float given = in[c] == largest[c] ? left[c] : 0.0f;
          out[c] += given;
          left[c] -= given;
        }
      });
    }
  }

  template <class Body>
  void for_each_pixel(const Window& window, const Body& body) const {
    for (int64_t y = 0; y < window.rows; ++y) {
      for (int64_t x = 0; x < window.columns; ++x) {
        body(window.first + (y * in_.columns + x) * in_.channels, y + x == 0);
      }
    }
  }

  template <class Body>
  void for_each_window(int64_t images, const Body& body) const {
    for (int64_t i = 0; i < images * out_.pixels(); ++i) {
      const int64_t y = i % out_.pixels() / out_.columns, x = i % out_.columns;
      const int64_t top = std::max<int64_t>(y * spec_.stride_h - spec_.top, 0);
      const int64_t left = std::max<int64_t>(x * spec_.stride_w - spec_.left, 0);
      const int64_t bottom = std::min(y * spec_.stride_h - spec_.top + spec_.pool_h, in_.rows);
      const int64_t right = std::min(x * spec_.stride_w - spec_.left + spec_.pool_w, in_.columns);
      const int64_t first =
          i / out_.pixels() * in_.floats() + (top * in_.columns + left) * in_.channels;
      body(Window{first, bottom - top, right - left}, i * out_.channels);
    }
  }

  Network& network_;
  const PoolSpec spec_;
  const Shape in_, out_;
};

}  // namespace

std::unique_ptr<Operation> make_pool(Network& network, const PoolSpec& spec) {
  return std::make_unique<Pool>(network, spec);
}

}  // namespace bnnzoo::training
