// The operations without a kernel, in plain C++.

#include <algorithm>
#include <cstring>
#include <utility>

#include "program.h"
#include "require.h"

namespace bnnzoo {
namespace {

using Function = std::function<void(uint8_t* arena, const Range& range)>;

class BoundFunction final : public BoundOperation {
 public:
  BoundFunction(const Function& function, uint8_t* arena) : function_(function), arena_(arena) {}
  void run(const Range& range) const override { function_(arena_, range); }

 private:
  const Function& function_;  // of the program, which outlives its bindings
  uint8_t* arena_;
};

class FunctionOperation final : public Operation {
 public:
  explicit FunctionOperation(Function function) : function_(std::move(function)) {}
  std::unique_ptr<BoundOperation> bind(uint8_t* arena, int32_t) const override {
    return std::make_unique<BoundFunction>(function_, arena);
  }

 private:
  Function function_;
};

// One channel of one pixel of bits, in which each byte is repeated `expansion` times.
bool get_bit(const uint8_t* pixel, int64_t channel, int32_t expansion) {
  return (pixel[channel / 8 * expansion] >> (channel % 8) & 1) != 0;
}

void set_bit(uint8_t* pixel, int64_t channel, int32_t expansion) {
  for (int32_t i = 0; i < expansion; ++i) {
    pixel[channel / 8 * expansion + i] |= static_cast<uint8_t>(1 << (channel % 8));
  }
}

int64_t pixel_of(const View& view, const Extent& extent, int64_t pixel) {
  return view.offset + pixel / extent.columns * view.row + pixel % extent.columns * view.pixel;
}

// Returns the pixels of `to`.
int64_t check_same_size(const Extent& from, const Extent& to) {
  const int64_t pixels = int64_t{to.rows} * to.columns;
  require(int64_t{from.rows} * from.columns * from.channels == pixels * to.channels, "reshape",
          "must keep the number of elements");
  return pixels;
}

// Returns `count` bits, at most 64, of a pixel of `bytes` bytes, from a channel on.
uint64_t get_bits(const uint8_t* pixel, int64_t bytes, int32_t first, int32_t count,
                  int32_t expansion) {
  uint64_t word = 0;
  const int32_t shift = first % 8;
  const uint8_t* byte = pixel + int64_t{first / 8} * expansion;
  for (int32_t bit = -shift; bit < count; bit += 8, byte += expansion) {
    if (byte - pixel >= bytes) break;
    word |= bit < 0 ? uint64_t{*byte} >> shift : uint64_t{*byte} << bit;
  }
  return count == kBlock ? word : word & ((uint64_t{1} << count) - 1);
}

void put_word(uint8_t* to, uint64_t word, int32_t expansion) {
  for (int32_t i = 0; i < 8; ++i, word >>= 8) {
    std::memset(to, static_cast<int>(word & 0xff), static_cast<size_t>(expansion));
    to += expansion;
  }
}

int64_t elements(const StridedLoop& loop) {
  int64_t count = 1;
  for (int axis = 0; axis < loop.axes; ++axis) count *= loop.shape[axis];
  return count;
}

}  // namespace

void Program::add_function(Function run, int64_t pixels, double cost_ns) {
  auto operation = std::make_unique<FunctionOperation>(std::move(run));
  operation->whole = {0, 1, 0, pixels};
  operation->cost_ns = cost_ns;
  add(std::move(operation));
}

void Program::strided_unary(Unary function, const StridedLoop& loop) {
  check_loop(loop, 2);
  const double each = function == Unary::copy ? 1 : 10;
  add_function(
      [function, loop](uint8_t* arena, const Range& range) {
        run_unary(function, loop, reinterpret_cast<float*>(arena), range.pixel_begin,
                  range.pixel_end);
      },
      loop.shape[0], each * static_cast<double>(elements(loop)));
}

void Program::strided_binary(Binary function, const StridedLoop& loop) {
  check_loop(loop, 3);
  add_function(
      [function, loop](uint8_t* arena, const Range& range) {
        run_binary(function, loop, reinterpret_cast<float*>(arena), range.pixel_begin,
                   range.pixel_end);
      },
      loop.shape[0], static_cast<double>(elements(loop)));
}

void Program::fill(float value, const StridedLoop& loop) {
  check_loop(loop, 1);
  add_function(
      [value, loop](uint8_t* arena, const Range& range) {
        run_fill(value, loop, reinterpret_cast<float*>(arena), range.pixel_begin, range.pixel_end);
      },
      loop.shape[0], static_cast<double>(elements(loop)) / 4);
}

Blend Program::keep_blend(const BlendSpec& spec, int32_t from, int32_t to) {
  for (const Span<const int32_t>& places : {spec.first, spec.second}) {
    require(places.size == static_cast<size_t>(to), "resize2d", "must have a place per pixel");
    require(std::all_of(places.data, places.data + places.size,
                        [from](int32_t place) { return place >= 0 && place < from; }),
            "resize2d", "must read inside its source");
  }
  require(spec.weight.size == static_cast<size_t>(to), "resize2d", "must have a weight per pixel");
  return {keep_array(spec.first), keep_array(spec.second), keep_array(spec.weight)};
}

void Program::resize2d(const View& input, const Extent& from, const BlendSpec& rows,
                       const BlendSpec& columns, const View& output, const Extent& to) {
  check_floats(input, from, "resize2d");
  check_floats(output, to, "resize2d");
  require(from.channels == to.channels, "resize2d", "must keep the channels");
  const Blend down = keep_blend(rows, from.rows, to.rows);
  const Blend right = keep_blend(columns, from.columns, to.columns);
  const int64_t pixels = int64_t{to.rows} * to.columns;
  add_function(
      [=](uint8_t* arena, const Range& range) {
        auto* floats = reinterpret_cast<float*>(arena);
        const float* source = floats + input.offset;
        for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i) {
          const int64_t row = i / to.columns, column = i % to.columns;
          const float* above = source + down.first[row] * input.row;
          const float* below = source + down.second[row] * input.row;
          const int64_t left = right.first[column] * input.pixel;
          const int64_t beside = right.second[column] * input.pixel;
          blend_pixel({above + left, above + beside, below + left, below + beside},
                      down.weight[row], right.weight[column], floats + pixel_of(output, to, i),
                      to.channels);
        }
      },
      pixels, static_cast<double>(pixels) * (to.channels + 8));
}

void Program::softmax(const View& input, const View& output, const Extent& extent) {
  check_floats(input, extent, "softmax");
  check_floats(output, extent, "softmax");
  const int64_t pixels = int64_t{extent.rows} * extent.columns;
  add_function(
      [input, output, extent](uint8_t* arena, const Range& range) {
        auto* floats = reinterpret_cast<float*>(arena);
        for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i) {
          softmax_pixel(floats + pixel_of(input, extent, i), floats + pixel_of(output, extent, i),
                        extent.channels);
        }
      },
      pixels, 5.0 * static_cast<double>(pixels) * extent.channels);
}

// A bit of 1 is -1; for levels, it is a 0 in the binary digits of the level.
void Program::dequantize(const View& input, int32_t planes, bool levels, const View& output,
                         const Extent& extent) {
  check_bits(input, extent, planes, "dequantize");
  check_floats(output, extent, "dequantize");
  require(levels || planes == 1, "dequantize", "must have one plane of bits");
  const int64_t pixels = int64_t{extent.rows} * extent.columns;
  const int32_t expansion = kernels_.expansion;
  const auto greatest = static_cast<float>((1 << planes) - 1);
  add_function(
      [=](uint8_t* arena, const Range& range) {
        for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i) {
          const uint8_t* from = arena + pixel_of(input, extent, i);
          float* to = reinterpret_cast<float*>(arena) + pixel_of(output, extent, i);
          for (int32_t c = 0; c < extent.channels; ++c) {
            int level = 0;
            for (int32_t p = 0; p < planes; ++p) {
              level |= static_cast<int>(!get_bit(from + p * input.plane, c, expansion)) << p;
            }
            const auto value = static_cast<float>(level);
            to[c] = levels ? value / greatest : 2 * value - 1;
          }
        }
      },
      pixels, static_cast<double>(pixels) * extent.channels * planes);
}

void Program::reshape(const View& input, const Extent& from, const View& output, const Extent& to) {
  check_floats(input, from, "reshape");
  check_floats(output, to, "reshape");
  const int64_t pixels = check_same_size(from, to);
  add_function(
      [=](uint8_t* arena, const Range& range) {
        auto* floats = reinterpret_cast<float*>(arena);
        for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i) {
          float* pixel = floats + pixel_of(output, to, i);
          for (int32_t c = 0; c < to.channels; ++c) {
            const int64_t place = i * to.channels + c;
            pixel[c] = floats[pixel_of(input, from, place / from.channels) + place % from.channels];
          }
        }
      },
      pixels, 4.0 * static_cast<double>(pixels) * to.channels);
}

void Program::reshape_bits(const View& input, const Extent& from, const View& output,
                           const Extent& to, int32_t planes) {
  check_bits(input, from, planes, "reshape_bits");
  check_bits(output, to, planes, "reshape_bits");
  check_same_size(from, to);
  const int32_t expansion = kernels_.expansion;
  add_bits(
      output, to, planes,
      [=](const uint8_t* arena, int64_t pixel, int32_t c) {
        const int64_t place = pixel * to.channels + c;
        return get_bit(arena + pixel_of(input, from, place / from.channels), place % from.channels,
                       expansion);
      },
      input.plane);
}

// Word by word, since it precedes every binary convolution whose groups do not fill words.
void Program::slice_bits(const View& input, const Extent& from, int32_t first, const View& output,
                         const Extent& to, int32_t planes) {
  check_bits(input, from, planes, "slice_bits");
  check_bits(output, to, planes, "slice_bits");
  require(from.rows == to.rows && from.columns == to.columns && first >= 0 &&
              int64_t{first} + to.channels <= from.channels,
          "slice_bits", "must be inside its source");
  const int32_t expansion = kernels_.expansion;
  const int64_t pixels = int64_t{to.rows} * to.columns, bytes = pixel_bytes(from.channels);
  add_function(
      [=](uint8_t* arena, const Range& range) {
        for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i) {
          for (int32_t p = 0; p < planes; ++p) {
            const uint8_t* read = arena + pixel_of(input, from, i) + p * input.plane;
            uint8_t* written = arena + pixel_of(output, to, i) + p * output.plane;
            for (int32_t c = 0; c < to.channels; c += kBlock) {
              const int32_t count = std::min(to.channels - c, kBlock);
              const uint64_t word = get_bits(read, bytes, first + c, count, expansion);
              put_word(written + c / 8 * expansion, word, expansion);
            }
          }
        }
      },
      pixels, static_cast<double>(pixels) * (to.channels / 4 + 8) * planes);
}

// Writes map `to` bit by bit; bit(arena of the plane, pixel, channel) has what to write.
void Program::add_bits(const View& output, const Extent& to, int32_t planes,
                       std::function<bool(const uint8_t*, int64_t, int32_t)> bit,
                       int64_t input_plane) {
  const int32_t expansion = kernels_.expansion;
  const auto bytes = static_cast<size_t>(pixel_bytes(to.channels));
  const int64_t pixels = int64_t{to.rows} * to.columns;
  add_function(
      [=, bit = std::move(bit)](uint8_t* arena, const Range& range) {
        for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i) {
          for (int32_t p = 0; p < planes; ++p) {
            uint8_t* pixel = arena + pixel_of(output, to, i) + p * output.plane;
            std::memset(pixel, 0, bytes);
            for (int32_t c = 0; c < to.channels; ++c) {
              if (bit(arena + p * input_plane, i, c)) set_bit(pixel, c, expansion);
            }
          }
        }
      },
      pixels, 4.0 * static_cast<double>(pixels) * to.channels * planes);
}

}  // namespace bnnzoo
