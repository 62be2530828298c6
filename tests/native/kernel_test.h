// What the tests of kernels share: buffers that end where they say, random numbers, the plain
// restatement of a chain of steps, and how a test reports.
//
// Numbers are small dyadic fractions wherever a test compares exactly: then every product, sum and
// fused product is exact in float32, in any order.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace bnnzoo::test {

void fail(const std::string& what);

inline void expect(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 1) {}

  // From `least` to `greatest`.
  int integer(int least, int greatest) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const auto high = static_cast<uint32_t>(state_ >> 33);
    return least + static_cast<int>(high % static_cast<uint32_t>(greatest - least + 1));
  }
  float real() { return static_cast<float>(integer(-1000000, 1000000)) / 1e6f; }

 private:
  uint64_t state_;
};

// Floats that start at an odd address and end with the allocation, so that a sanitizer sees the
// first read or write outside.
class View {
 public:
  explicit View(size_t floats, float value = 0.0f) : floats_(floats + 1, value) {}
  float* data() { return floats_.data() + 1; }
  const float* data() const { return floats_.data() + 1; }
  float& operator[](size_t i) { return floats_[i + 1]; }
  float operator[](size_t i) const { return floats_[i + 1]; }
  size_t size() const { return floats_.size() - 1; }

 private:
  std::vector<float> floats_;
};

// A parameter or packed weights: 64-byte aligned, zeros, ends with the allocation.
template <typename T>
class Aligned {
 public:
  explicit Aligned(size_t count) {
    void* memory = ::operator new(count * sizeof(T), kAlignment);
    std::memset(memory, 0, count * sizeof(T));
    values_.reset(static_cast<T*>(memory));
  }
  T* data() { return values_.get(); }
  T& operator[](size_t i) { return values_.get()[i]; }

 private:
  static constexpr std::align_val_t kAlignment{64};

  struct Free {
    void operator()(T* memory) const { ::operator delete(memory, kAlignment); }
  };
  std::unique_ptr<T[], Free> values_;
};

inline int padded(int channels) { return (channels + kBlock - 1) / kBlock * kBlock; }
inline int blocks(int channels) { return padded(channels) / kBlock; }

// A bits image with a border of zero bits: (h + 2 * border, w + 2 * border, blocks, 8 * expansion).
class Bits {
 public:
  Bits(int h, int w, int c, int border, int expansion);
  void set(int y, int x, int channel, bool bit);
  bool get(int y, int x, int channel, int copy) const;
  // Whether the pixel's unused bits, and nothing but `get`, are 0 and all copies agree.
  bool well_formed(int y, int x) const;
  uint8_t* pixel(int y, int x) { return bytes_.data() + index(y, x); }
  int64_t row_bytes() const { return pixel_bytes() * (w_ + 2 * border_); }
  int64_t pixel_bytes() const { return int64_t{blocks(c_)} * 8 * expansion_; }

 private:
  size_t index(int y, int x) const {
    return static_cast<size_t>((y + border_) * row_bytes() + (x + border_) * pixel_bytes());
  }
  int w_, c_, border_, expansion_;
  std::vector<uint8_t> bytes_;
};

// A chain of steps over (rows, columns, channels) with all that it reads and writes, and what it
// must write, computed from the definition in kernels.h one number at a time.
class Chain {
 public:
  Chain(int rows, int columns, int channels, int expansion, uint64_t seed)
      : rows_(rows), columns_(columns), channels_(channels), expansion_(expansion), random_(seed) {}

  Chain& affine(bool scale, bool bias);
  Chain& clip(float low, float high);
  Chain& prelu();
  Chain& arithmetic(StepKind kind, bool broadcast_pixels);
  Chain& store();
  Chain& sign(bool threshold, bool direction);
  Chain& quantize(int bits);

  Epilogue epilogue() const { return {steps_.data(), static_cast<int32_t>(steps_.size())}; }

  // `values` (rows, columns, channels) at the start of the chain; compares all views. A view may
  // differ from its expectation by `tolerance`.
  void check(std::vector<double> values, const std::string& what, double tolerance = 0.0);
  // Everything that was written, to compare two runs.
  std::vector<uint8_t> written() const;
  void clear();

 private:
  struct Storage;
  Storage& append(StepKind kind);
  Aligned<float> parameter(int numerators, float denominator);

  int rows_, columns_, channels_, expansion_;
  Random random_;
  std::vector<Step> steps_;
  std::vector<std::shared_ptr<Storage>> storage_;
};

// Calls a kernel over every block and pixel: at once, then in odd pieces; both must write the same.
template <typename Op>
void run_whole_and_pieces(void (*kernel)(const Op&, const Range&), const Op& op, Chain& chain,
                          int block_count, int64_t pixels, const std::string& what) {
  for (int block = 0; block < block_count; ++block) {
    for (int64_t begin = 0, size = 1; begin < pixels; begin += size, size = size % 7 + 2) {
      const int64_t end = begin + size < pixels ? begin + size : pixels;
      kernel(op, {block, block + 1, begin, end});
    }
  }
  const std::vector<uint8_t> pieces = chain.written();
  chain.clear();
  kernel(op, {0, block_count, 0, pixels});
  expect(chain.written() == pieces, what + ": pieces differ from the whole");
}

void test_steps(const Kernels& isa);
void test_bconv2d(const Kernels& isa);
void test_bmax_pool2d(const Kernels& isa);
void test_conv2d(const Kernels& isa);
void test_int8_conv2d(const Kernels& isa);
void test_depthwise_conv2d(const Kernels& isa);
void test_pool2d(const Kernels& isa);
void test_elementwise(const Kernels& isa);

}  // namespace bnnzoo::test
