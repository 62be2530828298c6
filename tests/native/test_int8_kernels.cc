// magnitudes, levels and int8_conv2d: from real numbers to sums, all of them exactly.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernel_test.h"

namespace bnnzoo::test {
namespace {

struct Int8Case {
  int height, width, c_in, c_out, kernel_h, kernel_w, stride, border, gap;
};

// `gap`: floats between pixels, so that rows are no stretches.
constexpr Int8Case kCases[] = {
    {9, 37, 3, 64, 7, 7, 2, 3, 0},   {5, 33, 3, 16, 3, 3, 2, 1, 0},
    {4, 15, 3, 33, 3, 3, 1, 1, 2},   {7, 7, 64, 128, 1, 1, 1, 0, 0},
    {5, 6, 30, 1, 3, 3, 1, 1, 1},    {1, 1, 512, 1000, 1, 1, 1, 0, 0},
    {1, 1, 1, 1, 1, 1, 1, 0, 0},     {2, 3, 9217, 7, 1, 1, 1, 0, 0},
    {40, 29, 1, 17, 5, 1, 1, 2, 0},  {1, 2, 5, 100, 1, 3, 3, 2, 3},
    {6, 13, 8, 48, 3, 3, 2, 1, 0},   {17, 9, 130, 31, 1, 1, 2, 0, 0},
    {3, 35, 130, 90, 3, 3, 1, 1, 0}, {2, 40, 64, 100, 1, 1, 1, 0, 0},
    {2, 99, 128, 20, 1, 1, 3, 0, 0},
};

std::string name(const Int8Case& c) {
  return "c_in=" + std::to_string(c.c_in) + " c_out=" + std::to_string(c.c_out) +
         " width=" + std::to_string(c.width);
}

// One map, taken through all three kernels.
struct Int8Run {
  const Int8Case c;
  const Kernels& isa;
  const int pixel, row, padded_h, padded_w, rows, columns;
  View input;
  std::vector<int8_t> kernel;
  Aligned<uint32_t> largest{kMagnitudeParts};
  std::vector<uint8_t> levels;

  Int8Run(const Kernels& kernels, const Int8Case& conv, Random& random)
      : c(conv),
        isa(kernels),
        pixel(c.c_in + c.gap),
        row(c.width * pixel),
        padded_h(c.height + 2 * c.border),
        padded_w(c.width + 2 * c.border),
        rows((padded_h - c.kernel_h) / c.stride + 1),
        columns((padded_w - c.kernel_w) / c.stride + 1),
        input(static_cast<size_t>(c.height * row - c.gap)) {
    for (size_t i = 0; i < input.size(); ++i) input[i] = random.real();
    const int k = c.kernel_h * c.kernel_w * c.c_in;
    for (int i = 0; i < c.c_out * k; ++i) {
      kernel.push_back(static_cast<int8_t>(random.integer(-127, 127)));
    }
    const int quad_bytes = 4;  // what the last quad of the last run has beyond it
    levels.assign(static_cast<size_t>(padded_h * padded_w * c.c_in * isa.level_bytes + quad_bytes),
                  77);
  }

  // Of what must be there, none of the gaps.
  std::vector<float> numbers() const {
    std::vector<float> found;
    for (int y = 0; y < c.height; ++y) {
      for (int x = 0; x < c.width; ++x) {
        for (int k = 0; k < c.c_in; ++k) {
          found.push_back(input[static_cast<size_t>(y * row + x * pixel + k)]);
        }
      }
    }
    return found;
  }

  void quantize() {
    for (int part = 0; part < kMagnitudeParts; part += 5) {
      isa.magnitudes({input.data(), row, pixel, {c.height, c.width, c.c_in}, largest.data()},
                     {0, 1, part, std::min(part + 5, kMagnitudeParts)});
    }
    for (int y = 0; y < padded_h; y += 2) {
      isa.levels({input.data(),
                  row,
                  pixel,
                  {c.height, c.width, c.c_in},
                  c.border,
                  c.border,
                  padded_h,
                  padded_w,
                  largest.data(),
                  levels.data()},
                 {0, 1, y, std::min(y + 2, padded_h)});
    }
    expect(std::all_of(levels.end() - 4, levels.end(), [](uint8_t b) { return b == 77; }),
           name(c) + ": levels beyond the map");
  }

  void convolve(Chain& chain) {
    Aligned<uint8_t> weights(isa.int8_weights_bytes(c.c_out, c.kernel_h, c.kernel_w * c.c_in));
    isa.pack_int8_weights(kernel.data(), c.c_out, c.kernel_h, c.kernel_w * c.c_in, weights.data());
    Aligned<float> scale(static_cast<size_t>(padded(c.c_out)));
    for (int o = 0; o < c.c_out; ++o) scale[o] = scale_of(o);
    std::vector<int64_t> offsets;
    const int64_t level_row = int64_t{padded_w} * c.c_in * isa.level_bytes;
    for (int i = 0; i < c.kernel_h; ++i) offsets.push_back(i * level_row);
    Int8Conv2d op{};
    op.input = levels.data();
    op.row = level_row * c.stride;
    op.pixel = int64_t{c.c_in} * isa.level_bytes * c.stride;
    op.offsets = offsets.data();
    op.runs = c.kernel_h;
    op.run_length = (c.kernel_w * c.c_in * isa.level_bytes + 3) / 4;
    op.weights = weights.data();
    op.extent = {rows, columns, c.c_out};
    op.scale = scale.data();
    op.largest = largest.data();
    op.epilogue = chain.epilogue();
    run_whole_and_pieces(isa.int8_conv2d, op, chain, blocks(c.c_out), rows * columns, name(c));
  }

  static float scale_of(int channel) { return channel % 3 == 0 ? 0.5f : -0.25f; }
};

// By the words of kernels.h, one number at a time. std::nearbyint rounds halves to even.
std::vector<double> naive(const Int8Run& run) {
  const Int8Case& c = run.c;
  float m = 0;
  const std::vector<float> numbers = run.numbers();
  for (float x : numbers) m = std::max(m, std::fabs(x));
  const float scale = m < kMinMagnitude ? 0.0f : 127.0f / m;
  std::vector<double> sums;
  for (int pixel = 0; pixel < run.rows * run.columns; ++pixel) {
    for (int o = 0; o < c.c_out; ++o) {
      int64_t sum = 0;
      size_t w = static_cast<size_t>(o * c.kernel_h * c.kernel_w * c.c_in);
      for (int i = 0; i < c.kernel_h; ++i) {
        for (int j = 0; j < c.kernel_w; ++j) {
          const int y = pixel / run.columns * c.stride + i - c.border;
          const int x = pixel % run.columns * c.stride + j - c.border;
          const bool inside = y >= 0 && y < c.height && x >= 0 && x < c.width;
          for (int k = 0; k < c.c_in; ++k, ++w) {
            if (!inside) continue;
            const float number = numbers[static_cast<size_t>((y * c.width + x) * c.c_in + k)];
            sum += static_cast<int64_t>(std::nearbyint(number * scale)) * run.kernel[w];
          }
        }
      }
      const float unit = m < kMinMagnitude ? 0.0f : m / 127.0f;
      sums.push_back(static_cast<float>(sum) * (Int8Run::scale_of(o) * unit));
    }
  }
  return sums;
}

// Every tenth number is half way between two levels.
void make_halves(View& input) {
  for (size_t i = 0; i < input.size(); ++i) {
    if (i % 10 == 3)
      input[i] = (static_cast<float>(i % 127) + 0.5f) * (i % 20 == 3 ? 1 : -1);
    else
      input[i] = std::floor(input[i] * 127);
  }
  input[0] = 127;
}

void run_case(const Kernels& isa, const Int8Case& c, bool halves) {
  Random random(static_cast<uint64_t>(c.c_in + c.c_out));
  Int8Run run(isa, c, random);
  if (halves) make_halves(run.input);
  run.quantize();
  Chain chain(run.rows, run.columns, c.c_out, isa.expansion, 4);
  chain.store();
  run.convolve(chain);
  chain.check(naive(run), name(c));
}

// A map whose numbers are all `value`, but the last one.
void run_special(const Kernels& isa, float value, float last, double expected) {
  const Int8Case c{3, 4, 5, 70, 3, 3, 1, 1, 0};
  Random random(1);
  Int8Run run(isa, c, random);
  for (size_t i = 0; i < run.input.size(); ++i) run.input[i] = value;
  run.input[run.input.size() - 1] = last;
  run.quantize();
  Chain chain(run.rows, run.columns, c.c_out, isa.expansion, 4);
  chain.store();
  run.convolve(chain);
  if (std::isnan(expected)) {
    const std::vector<uint8_t> bytes = chain.written();
    for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
      float number;
      std::memcpy(&number, bytes.data() + i, 4);
      expect(std::isnan(number), "NaN and infinity must give NaN");
    }
  } else {
    chain.check(naive(run), "special");
    chain.check(
        std::vector<double>(static_cast<size_t>(run.rows * run.columns * c.c_out), expected),
        "special");
  }
}

// Products of one sign and greatest size, as many as there may be.
void run_largest_sum(const Kernels& isa) {
  for (int sign : {-1, 1}) {
    Random random(1);
    Int8Run run(isa, {1, 2, 1 << 17, 2, 1, 1, 1, 0, 0}, random);
    for (size_t i = 0; i < run.input.size(); ++i) run.input[i] = 3.0f;
    for (int8_t& weight : run.kernel) weight = static_cast<int8_t>(127 * sign);
    run.quantize();
    Chain chain(1, 2, 2, isa.expansion, 4);
    chain.store();
    run.convolve(chain);
    chain.check(naive(run), "largest sum");
  }
}

}  // namespace

void test_int8_conv2d(const Kernels& isa) {
  for (const Int8Case& c : kCases) {
    run_case(isa, c, false);
    run_case(isa, c, true);
  }
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  run_special(isa, 0.0f, -0.0f, 0.0);
  run_special(isa, 1e-31f, -1e-31f, 0.0);
  for (float odd : {infinity, -infinity, nan, -nan}) {
    run_special(isa, 1.0f, odd, std::numeric_limits<double>::quiet_NaN());
  }
  run_largest_sum(isa);
}

}  // namespace bnnzoo::test
