// bconv2d and bmax_pool2d, integers exactly.
#include "kernel_test.h"

namespace bnnzoo::test {
namespace {

struct ConvCase {
  int rows, columns, c_in, c_out, kernel_h, kernel_w, stride, dilation, planes, classes;
};

// Tails of every kind: channels around blocks, one pixel, one channel; K beyond 8-bit, 16-bit
// counters; planes; classes of pixels.
constexpr ConvCase kConvCases[] = {
    {3, 5, 64, 64, 3, 3, 1, 1, 1, 1},    {4, 4, 64, 64, 1, 1, 1, 1, 1, 1},
    {1, 1, 64, 64, 1, 1, 1, 1, 1, 1},    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {3, 7, 65, 63, 3, 3, 2, 1, 1, 3},    {5, 3, 100, 130, 3, 3, 1, 2, 1, 3},
    {2, 9, 128, 65, 5, 5, 1, 1, 1, 2},   {3, 3, 16, 16, 3, 3, 1, 1, 1, 3},
    {3, 3, 32, 48, 3, 3, 2, 1, 1, 1},    {7, 7, 512, 64, 3, 3, 1, 1, 1, 3},
    {1, 1, 9216, 70, 1, 1, 1, 1, 1, 1},  {1, 2, 66000, 5, 1, 1, 1, 1, 1, 1},
    {1, 1, 8128, 64, 3, 3, 1, 1, 1, 1},  {3, 4, 96, 64, 3, 3, 1, 1, 2, 1},
    {2, 2, 70, 20, 3, 3, 1, 1, 8, 2},    {1, 3, 40000, 3, 1, 1, 1, 1, 3, 1},
    {1, 13, 192, 64, 2, 3, 1, 1, 1, 1},  {2, 3, 960, 64, 1, 1, 1, 1, 1, 1},
    {2, 3, 1024, 64, 1, 1, 1, 1, 1, 1},  {2, 3, 1984, 64, 1, 1, 1, 1, 1, 1},
    {1, 1, 65536, 64, 1, 1, 1, 1, 1, 1}, {1, 1, 65472, 64, 1, 1, 1, 1, 1, 1},
    {2, 4, 65532, 3, 1, 1, 1, 1, 1, 1},  {2, 4, 65536, 3, 1, 1, 1, 1, 1, 1},
    {3, 6, 20, 40, 2, 2, 1, 1, 3, 2},    {4, 5, 5, 32, 3, 2, 1, 1, 1, 1},
};

// fill: -1 random bits, else all inputs are this bit and all weights the other: counts reach K.
struct ConvData {
  std::vector<std::vector<bool>> planes;  // (h, w, c_in) each
  std::vector<bool> kernel;               // (c_out, kernel_h, kernel_w, c_in)
};

std::vector<bool> random_bits(size_t count, int fill, Random& random) {
  std::vector<bool> bits(count);
  for (size_t i = 0; i < count; ++i) bits[i] = fill < 0 ? random.integer(0, 1) == 1 : fill == 1;
  return bits;
}

int input_size(int outputs, int stride, int kernel, int dilation) {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

std::vector<double> naive_counts(const ConvCase& c, const ConvData& data) {
  const int width = input_size(c.columns, c.stride, c.kernel_w, c.dilation);
  std::vector<double> counts;
  for (int y = 0; y < c.rows; ++y) {
    for (int x = 0; x < c.columns; ++x) {
      for (int o = 0; o < c.c_out; ++o) {
        int64_t count = 0;
        for (int p = 0; p < c.planes; ++p) {
          for (int i = 0; i < c.kernel_h; ++i) {
            for (int j = 0; j < c.kernel_w; ++j) {
              const int row = y * c.stride + i * c.dilation, column = x * c.stride + j * c.dilation;
              const size_t from = static_cast<size_t>(row * width + column) * c.c_in;
              const size_t tap = static_cast<size_t>((o * c.kernel_h + i) * c.kernel_w + j);
              for (size_t k = 0; k < static_cast<size_t>(c.c_in); ++k) {
                const bool differ = data.planes[p][from + k] != data.kernel[tap * c.c_in + k];
                count += static_cast<int64_t>(differ) << p;
              }
            }
          }
        }
        counts.push_back(static_cast<double>(count));
      }
    }
  }
  return counts;
}

std::vector<uint64_t> kernel_words(const ConvCase& c, const ConvData& data) {
  const int taps = c.kernel_h * c.kernel_w;
  std::vector<uint64_t> words(static_cast<size_t>(c.c_out * taps * blocks(c.c_in)));
  for (size_t i = 0; i < data.kernel.size(); ++i) {
    const size_t tap = i / c.c_in, k = i % c.c_in;
    if (data.kernel[i]) words[tap * blocks(c.c_in) + k / 64] |= uint64_t{1} << k % 64;
  }
  return words;
}

// The planes of the input, one after the other.
std::vector<uint8_t> input_bytes(const ConvCase& c, const ConvData& data, int expansion) {
  const int height = input_size(c.rows, c.stride, c.kernel_h, c.dilation);
  const int width = input_size(c.columns, c.stride, c.kernel_w, c.dilation);
  std::vector<uint8_t> bytes;
  for (const std::vector<bool>& plane : data.planes) {
    Bits bits(height, width, c.c_in, 0, expansion);
    for (size_t i = 0; i < plane.size(); ++i) {
      const int pixel = static_cast<int>(i / c.c_in);
      bits.set(pixel / width, pixel % width, static_cast<int>(i % c.c_in), plane[i]);
    }
    bytes.insert(bytes.end(), bits.pixel(0, 0), bits.pixel(0, 0) + bits.row_bytes() * height);
  }
  return bytes;
}

struct Classes {
  std::vector<int32_t> rows, columns;
};

Classes some_classes(const ConvCase& c, Random& random) {
  Classes classes;
  for (int y = 0; y < c.rows; ++y) classes.rows.push_back(random.integer(0, c.classes - 1));
  for (int x = 0; x < c.columns; ++x) classes.columns.push_back(random.integer(0, c.classes - 1));
  return classes;
}

void run_conv(const Kernels& isa, const ConvCase& c, int fill) {
  Random random(static_cast<uint64_t>(c.c_in * 31 + c.c_out));
  const int height = input_size(c.rows, c.stride, c.kernel_h, c.dilation);
  const int width = input_size(c.columns, c.stride, c.kernel_w, c.dilation);
  ConvData data;
  for (int p = 0; p < c.planes; ++p) {
    data.planes.push_back(random_bits(static_cast<size_t>(height * width * c.c_in), fill, random));
  }
  const auto k_all = static_cast<size_t>(c.c_out * c.kernel_h * c.kernel_w * c.c_in);
  data.kernel = random_bits(k_all, fill < 0 ? fill : 1 - fill, random);

  const std::vector<uint8_t> input = input_bytes(c, data, isa.expansion);
  Bconv2d op{};
  op.pixel = int64_t{blocks(c.c_in)} * 8 * isa.expansion * c.stride;
  op.row = int64_t{blocks(c.c_in)} * 8 * isa.expansion * width * c.stride;
  op.plane = static_cast<int64_t>(input.size()) / c.planes;
  op.input = input.data();
  op.planes = c.planes;
  op.c_in = c.c_in;
  op.units = c.kernel_h * c.kernel_w * blocks(c.c_in);
  std::vector<int32_t> offsets;
  for (int tap = 0; tap < c.kernel_h * c.kernel_w; ++tap) {
    const int row = tap / c.kernel_w * c.dilation, column = tap % c.kernel_w * c.dilation;
    for (int u = 0; u < blocks(c.c_in); ++u) {
      offsets.push_back(((row * width + column) * blocks(c.c_in) + u) * 8 * isa.expansion);
    }
  }
  op.offsets = offsets.data();
  op.extent = {c.rows, c.columns, c.c_out};
  Aligned<uint8_t> weights(isa.weights_bytes(op));
  isa.pack_weights(op, kernel_words(c, data).data(), weights.data());
  op.weights = weights.data();

  const Classes classes = some_classes(c, random);
  Aligned<float> scale(static_cast<size_t>(padded(c.c_out)));
  Aligned<float> bias(static_cast<size_t>(c.classes * c.classes * padded(c.c_out)));
  for (int i = 0; i < c.c_out; ++i) scale[i] = random.integer(0, 1) == 0 ? -2.0f : 1.0f;
  for (int i = 0; i < c.classes * c.classes * padded(c.c_out); ++i) {
    bias[i] = i % padded(c.c_out) < c.c_out ? static_cast<float>(random.integer(-90, 90)) : 0.0f;
  }
  op.scale = scale.data();
  op.bias = bias.data();
  op.row_class = c.classes > 1 ? classes.rows.data() : nullptr;
  op.column_class = classes.columns.data();
  op.column_classes = c.classes;

  Chain chain(c.rows, c.columns, c.c_out, isa.expansion, 9);
  chain.store().arithmetic(StepKind::add, false).sign(true, false).store();
  op.epilogue = chain.epilogue();
  const std::string what = "c_in=" + std::to_string(c.c_in) + " c_out=" + std::to_string(c.c_out) +
                           " kernel=" + std::to_string(c.kernel_h) + "x" +
                           std::to_string(c.kernel_w) + " planes=" + std::to_string(c.planes);
  run_whole_and_pieces(isa.bconv2d, op, chain, blocks(c.c_out), c.rows * c.columns, what);

  std::vector<double> values = naive_counts(c, data);
  for (size_t i = 0; i < values.size(); ++i) {
    const int o = static_cast<int>(i) % c.c_out, pixel = static_cast<int>(i) / c.c_out;
    const int y = pixel / c.columns, x = pixel % c.columns;
    const int of_class = c.classes > 1 ? classes.rows[y] * c.classes + classes.columns[x] : 0;
    values[i] = values[i] * scale[o] + bias[of_class * padded(c.c_out) + o];
  }
  chain.check(values, what);
}

struct PoolCase {
  int height, width, channels, pool_h, pool_w, stride_h, stride_w, top, left, rows, columns;
};

constexpr PoolCase kPoolCases[] = {
    {6, 6, 64, 2, 2, 2, 2, 0, 0, 3, 3},  {7, 5, 65, 3, 3, 2, 2, 1, 1, 4, 3},
    {4, 9, 3, 3, 2, 1, 3, 2, 1, 5, 3},   {1, 1, 200, 1, 1, 1, 1, 0, 0, 1, 1},
    {8, 8, 128, 3, 3, 2, 2, 0, 0, 4, 4},
};

bool naive_pool(const PoolCase& c, Bits& input, bool of_ones, int y, int x, int channel) {
  bool all = true, any = false;
  for (int i = y * c.stride_h - c.top; i < y * c.stride_h - c.top + c.pool_h; ++i) {
    for (int j = x * c.stride_w - c.left; j < x * c.stride_w - c.left + c.pool_w; ++j) {
      if (i < 0 || j < 0 || i >= c.height || j >= c.width) continue;
      all = all && input.get(i, j, channel, 0);
      any = any || input.get(i, j, channel, 0);
    }
  }
  return of_ones ? all : any;
}

void run_pool(const Kernels& isa, const PoolCase& c) {
  Random random(3);
  Bits input(c.height, c.width, c.channels, 1, isa.expansion);
  Bits output(c.rows, c.columns, c.channels, 1, isa.expansion);
  Bits mask(1, 1, c.channels, 0, isa.expansion);
  for (int channel = 0; channel < c.channels; ++channel) {
    mask.set(0, 0, channel, random.integer(0, 2) > 0);
    for (int pixel = 0; pixel < c.height * c.width; ++pixel) {
      input.set(pixel / c.width, pixel % c.width, channel, random.integer(0, 2) > 0);
    }
  }
  BMaxPool2d op{input.pixel(0, 0),
                output.pixel(0, 0),
                mask.pixel(0, 0),
                input.row_bytes(),
                input.pixel_bytes(),
                output.row_bytes(),
                output.pixel_bytes(),
                static_cast<int32_t>(input.pixel_bytes()),
                {c.height, c.width, c.pool_h, c.pool_w, c.stride_h, c.stride_w, c.top, c.left},
                {c.rows, c.columns, c.channels}};
  const int64_t pixels = c.rows * c.columns;
  isa.bmax_pool2d(op, {0, 1, 0, pixels / 2});
  isa.bmax_pool2d(op, {0, 1, pixels / 2, pixels});
  for (int pixel = 0; pixel < pixels; ++pixel) {
    const int y = pixel / c.columns, x = pixel % c.columns;
    expect(output.well_formed(y, x), "copies or unused bits");
    for (int channel = 0; channel < c.channels; ++channel) {
      const bool expected = naive_pool(c, input, mask.get(0, 0, channel, 0), y, x, channel);
      expect(output.get(y, x, channel, 0) == expected, "channel " + std::to_string(channel));
    }
  }
}

}  // namespace

void test_bconv2d(const Kernels& isa) {
  for (const ConvCase& c : kConvCases) {
    for (const int fill : {-1, 0, 1}) run_conv(isa, c, fill);
  }
}

void test_bmax_pool2d(const Kernels& isa) {
  for (const PoolCase& c : kPoolCases) run_pool(isa, c);
}

}  // namespace bnnzoo::test
