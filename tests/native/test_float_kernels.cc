// conv2d, depthwise_conv2d, pool2d and elementwise: on small integers exactly, on real numbers to
// the bound of rounding.
#include <algorithm>
#include <cmath>

#include "kernel_test.h"

namespace bnnzoo::test {
namespace {

// Sums of K products in float32, in any order and fused or not, differ from the exact sum by at
// most about K * 2^-24 * sum |x * w| (Higham, "Accuracy and Stability", 3.1). Inputs and weights
// here are at most 1, so the bound is K^2 * 2^-24; a wrong or missing product changes a sum by
// about 0.3, far beyond it.
double rounding_bound(int64_t k) { return static_cast<double>(k * k + 4) / 16777216.0; }

struct ConvCase {
  int rows, columns, c_in, c_out, kernel_h, kernel_w, stride, border;
};

constexpr ConvCase kConvCases[] = {
    {3, 17, 3, 64, 7, 7, 2, 0},  {2, 112, 3, 16, 7, 7, 2, 0}, {4, 15, 3, 33, 3, 3, 1, 1},
    {7, 7, 64, 128, 1, 1, 1, 0}, {5, 6, 30, 1, 3, 3, 1, 1},   {1, 1, 512, 1000, 1, 1, 1, 0},
    {1, 1, 1, 1, 1, 1, 1, 0},    {2, 3, 9216, 7, 1, 1, 1, 0}, {3, 29, 1, 17, 5, 1, 1, 0},
    {1, 2, 5, 100, 1, 3, 3, 2},  {6, 13, 8, 48, 3, 3, 2, 1},  {9, 4, 16, 31, 1, 1, 2, 0},
};

View some_numbers(size_t count, bool integers, Random& random) {
  View numbers(count);
  for (size_t i = 0; i < count; ++i) {
    numbers[i] = integers ? static_cast<float>(random.integer(-3, 3)) : random.real();
  }
  return numbers;
}

// Geometry of an input that is just large enough, with `border` floats of slack after each row.
struct Geometry {
  int width, pixel, row;  // width in pixels; floats
  Geometry(const ConvCase& c)
      : width((c.columns - 1) * c.stride + c.kernel_w),
        pixel(c.c_in),
        row(width * c.c_in + c.border) {}
  size_t floats(const ConvCase& c) const {
    return static_cast<size_t>(((c.rows - 1) * c.stride + c.kernel_h) * row);
  }
};

std::vector<double> naive_conv(const ConvCase& c, const View& input, const View& kernel) {
  const Geometry at(c);
  std::vector<double> sums;
  for (int y = 0; y < c.rows; ++y) {
    for (int x = 0; x < c.columns; ++x) {
      for (int o = 0; o < c.c_out; ++o) {
        double sum = 0;
        for (int i = 0; i < c.kernel_h; ++i) {
          for (int j = 0; j < c.kernel_w; ++j) {
            for (int k = 0; k < c.c_in; ++k) {
              const int from = (y * c.stride + i) * at.row + (x * c.stride + j) * at.pixel + k;
              const int w = ((o * c.kernel_h + i) * c.kernel_w + j) * c.c_in + k;
              sum += double{input[static_cast<size_t>(from)]} * kernel[static_cast<size_t>(w)];
            }
          }
        }
        sums.push_back(sum);
      }
    }
  }
  return sums;
}

std::string name(const ConvCase& c) {
  return "c_in=" + std::to_string(c.c_in) + " c_out=" + std::to_string(c.c_out) +
         " columns=" + std::to_string(c.columns);
}

void run_conv(const Kernels& isa, const ConvCase& c, bool integers) {
  Random random(static_cast<uint64_t>(c.c_in + c.c_out));
  const Geometry at(c);
  const int k = c.kernel_h * c.kernel_w * c.c_in;
  const View input = some_numbers(at.floats(c), integers, random);
  const View kernel = some_numbers(static_cast<size_t>(c.c_out * k), integers, random);
  Aligned<float> weights(isa.real_weights_floats(c.c_out, k));
  isa.pack_real_weights(kernel.data(), c.c_out, k, weights.data());
  std::vector<int64_t> offsets;
  for (int i = 0; i < c.kernel_h; ++i) offsets.push_back(i * at.row);

  Chain chain(c.rows, c.columns, c.c_out, isa.expansion, 4);
  chain.store();
  if (integers) chain.affine(true, true).prelu().sign(true, true).store();
  Conv2d op{};
  op.input = input.data();
  op.row = at.row * c.stride;
  op.pixel = at.pixel * c.stride;
  op.offsets = offsets.data();
  op.runs = c.kernel_h;
  op.run_length = c.kernel_w * c.c_in;
  op.weights = weights.data();
  op.extent = {c.rows, c.columns, c.c_out};
  op.epilogue = chain.epilogue();
  run_whole_and_pieces(isa.conv2d, op, chain, blocks(c.c_out), c.rows * c.columns, name(c));
  chain.check(naive_conv(c, input, kernel), name(c), integers ? 0.0 : rounding_bound(k));
}

// Depthwise, c_out = c_in: the kernel is (kernel_h, kernel_w, c).
constexpr ConvCase kDepthwiseCases[] = {
    {3, 5, 64, 64, 3, 3, 1, 0},   {2, 7, 33, 33, 3, 3, 2, 1}, {1, 1, 1, 1, 1, 1, 1, 0},
    {4, 4, 130, 130, 5, 2, 1, 3}, {3, 3, 16, 16, 3, 3, 1, 0},
};

void run_depthwise(const Kernels& isa, const ConvCase& c, bool integers) {
  Random random(static_cast<uint64_t>(c.c_in));
  const Geometry at(c);
  const int taps = c.kernel_h * c.kernel_w, channels = c.c_in;
  const View input = some_numbers(at.floats(c), integers, random);
  const View kernel = some_numbers(static_cast<size_t>(taps * channels), integers, random);
  Aligned<float> weights(static_cast<size_t>(taps * padded(channels)));
  std::vector<int64_t> offsets;
  for (int tap = 0; tap < taps; ++tap) {
    offsets.push_back(tap / c.kernel_w * at.row + tap % c.kernel_w * at.pixel);
    for (int o = 0; o < channels; ++o) {
      weights[tap * padded(channels) + o] = kernel[static_cast<size_t>(tap * channels + o)];
    }
  }
  Chain chain(c.rows, c.columns, channels, isa.expansion, 4);
  chain.store();
  if (integers) chain.sign(true, false);
  const DepthwiseConv2d op{
      input.data(), at.row * c.stride, at.pixel * c.stride,           offsets.data(),
      taps,         weights.data(),    {c.rows, c.columns, channels}, chain.epilogue()};
  run_whole_and_pieces(isa.depthwise_conv2d, op, chain, blocks(channels), c.rows * c.columns,
                       name(c));
  std::vector<double> sums;
  for (int pixel = 0; pixel < c.rows * c.columns; ++pixel) {
    for (int o = 0; o < channels; ++o) {
      double sum = 0;
      for (int tap = 0; tap < taps; ++tap) {
        const int64_t from = pixel / c.columns * op.row + pixel % c.columns * op.pixel +
                             offsets[static_cast<size_t>(tap)] + o;
        sum += double{input[static_cast<size_t>(from)]} *
               kernel[static_cast<size_t>(tap * channels + o)];
      }
      sums.push_back(sum);
    }
  }
  chain.check(sums, name(c), integers ? 0.0 : rounding_bound(taps));
}

// Around every number of vectors that hold the channels of a block.
constexpr int kChannels[] = {1, 3, 4, 5, 8, 9, 15, 17, 24, 32, 40, 63, 70, 96};

struct PoolCase {
  int height, width, channels, pool_h, pool_w, stride_h, stride_w, top, left, rows, columns;
};

constexpr PoolCase kPoolCases[] = {
    {6, 6, 64, 2, 2, 2, 2, 0, 0, 3, 3},  {7, 5, 65, 3, 3, 2, 2, 1, 1, 4, 3},
    {4, 9, 3, 3, 2, 1, 3, 2, 1, 5, 3},   {1, 1, 200, 1, 1, 1, 1, 0, 0, 1, 1},
    {7, 7, 130, 7, 7, 1, 1, 0, 0, 1, 1}, {9, 8, 17, 3, 3, 2, 2, 0, 1, 4, 4},
};

double naive_pool(const PoolCase& c, const View& input, bool maximum, int y, int x, int channel) {
  double greatest = -INFINITY, sum = 0, count = 0;
  for (int i = y * c.stride_h - c.top; i < y * c.stride_h - c.top + c.pool_h; ++i) {
    for (int j = x * c.stride_w - c.left; j < x * c.stride_w - c.left + c.pool_w; ++j) {
      if (i < 0 || j < 0 || i >= c.height || j >= c.width) continue;
      const double v = input[static_cast<size_t>((i * c.width + j) * c.channels + channel)];
      greatest = std::max(greatest, v);
      sum += v;
      count += 1;
    }
  }
  return maximum ? greatest : sum / count;
}

void run_pool(const Kernels& isa, const PoolCase& c, bool maximum) {
  Random random(6);
  const View input =
      some_numbers(static_cast<size_t>(c.height * c.width * c.channels), maximum, random);
  Chain chain(c.rows, c.columns, c.channels, isa.expansion, 4);
  chain.store();
  if (maximum) chain.affine(false, true).sign(false, false);
  const Pool2d op{input.data(),
                  c.width * c.channels,
                  c.channels,
                  {c.height, c.width, c.pool_h, c.pool_w, c.stride_h, c.stride_w, c.top, c.left},
                  maximum,
                  {c.rows, c.columns, c.channels},
                  chain.epilogue()};
  const std::string what = "channels=" + std::to_string(c.channels);
  run_whole_and_pieces(isa.pool2d, op, chain, blocks(c.channels), c.rows * c.columns, what);
  std::vector<double> values;
  for (int i = 0; i < c.rows * c.columns * c.channels; ++i) {
    const int pixel = i / c.channels;
    values.push_back(
        naive_pool(c, input, maximum, pixel / c.columns, pixel % c.columns, i % c.channels));
  }
  chain.check(values, what, maximum ? 0.0 : rounding_bound(c.pool_h * c.pool_w));
}

// Views with gaps: pixels of an input that has more channels than are used.
void run_elementwise(const Kernels& isa, int channels) {
  const int rows = 4, columns = 6, pitch = channels + 5;
  Random random(8);
  const View input =
      some_numbers(static_cast<size_t>((rows * columns - 1) * pitch + channels), true, random);
  Chain chain(rows, columns, channels, isa.expansion, 2);
  chain.arithmetic(StepKind::multiply, true).store().sign(true, true);
  const Elementwise op{
      input.data(), pitch * columns, pitch, {rows, columns, channels}, chain.epilogue()};
  run_whole_and_pieces(isa.elementwise, op, chain, blocks(channels), rows * columns, "pitch");
  std::vector<double> values;
  for (int i = 0; i < rows * columns * channels; ++i) {
    values.push_back(input[static_cast<size_t>(i / channels * pitch + i % channels)]);
  }
  chain.check(values, "pitch");
}

}  // namespace

void test_conv2d(const Kernels& isa) {
  for (const ConvCase& c : kConvCases) {
    for (const bool integers : {true, false}) run_conv(isa, c, integers);
  }
}

void test_depthwise_conv2d(const Kernels& isa) {
  for (const ConvCase& c : kDepthwiseCases) {
    for (const bool integers : {true, false}) run_depthwise(isa, c, integers);
  }
  for (const int channels : kChannels) {
    run_depthwise(isa, {3, 7, channels, channels, 3, 3, 1, 0}, true);
  }
}

void test_pool2d(const Kernels& isa) {
  for (const PoolCase& c : kPoolCases) {
    for (const bool maximum : {true, false}) run_pool(isa, c, maximum);
  }
  for (const int channels : kChannels) {
    for (const bool maximum : {true, false}) {
      run_pool(isa, {5, 7, channels, 3, 2, 2, 1, 1, 1, 3, 7}, maximum);
    }
  }
}

void test_elementwise(const Kernels& isa) {
  for (const int channels : kChannels) run_elementwise(isa, channels);
}

}  // namespace bnnzoo::test
