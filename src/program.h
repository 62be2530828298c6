// A network as a list of operations over one arena, checked and ready to be bound to memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "aligned_buffer.h"
#include "kernels/kernels.h"
#include "strided_ops.h"

namespace bnnzoo {

template <class T>
struct Span {
  const T* data;
  size_t size;
};

// The location of a map in the arena, in floats for real numbers and in bytes for bits.
struct View {
  int64_t offset;      // of pixel (0, 0), channel 0, plane 0
  int64_t row, pixel;  // from one to the next; 0 broadcasts
  int64_t plane;
};

// `Step` before it is bound; `a` and `b` are (c), or empty.
struct StepSpec {
  StepKind kind;
  int32_t bits;
  Span<const float> a, b;
  float low, high;
  View view;
};

using EpilogueSpec = std::vector<StepSpec>;

// `row` and `pixel` of the input go from one output pixel to the next; it starts at the first tap.
struct Bconv2dSpec {
  View input;
  int32_t planes;
  int32_t c_in;                                 // units are taps * ceil(c_in / 64)
  Span<const int32_t> offsets;                  // (units)
  Span<const uint64_t> words;                   // (c, units)
  Span<const float> scale;                      // (c)
  Span<const float> bias;                       // (row classes, column classes, c)
  Span<const int32_t> row_class, column_class;  // (rows) and (columns), or both empty
};

struct Conv2dSpec {
  View input;
  Span<const int64_t> offsets;  // (runs), or the taps of a depthwise convolution
  int32_t run_length;           // 1 of a depthwise convolution
  Span<const float> kernel;     // (c, runs * run_length); of a depthwise convolution (taps, c)
};

// Memory for the levels of a map, in floats of the arena: magnitudes, then (rows, columns,
// channels) levels, borders included.
struct LevelsSpec {
  int64_t offset, size;
};

constexpr int64_t kMagnitudeBytes = kMagnitudeParts * 4;

// `Conv2dSpec` over levels: the view counts levels from the first one, and so do the offsets.
struct Int8Conv2dSpec {
  LevelsSpec levels;
  View input;
  Span<const int64_t> offsets;  // (runs)
  int32_t run_length;
  Span<const int8_t> kernel;  // (c, runs * run_length)
  Span<const float> scale;    // (c)
};

// Along an axis, each new pixel is first + weight * (second - first) of two old ones.
struct BlendSpec {
  Span<const int32_t> first, second;  // (pixels)
  Span<const float> weight;           // (pixels), 0 to 1
};

// Offsets in the arena at which a kernel reads, in bytes.
struct Operands {
  int64_t input;
  int64_t largest = 0;  // magnitudes, of a convolution of levels
};

// One operation that is bound to the arena of one image.
class BoundOperation {
 public:
  virtual ~BoundOperation() = default;
  virtual void run(const Range& range) const = 0;
};

class Operation {
 public:
  virtual ~Operation() = default;
  // `threads` is the number of threads that may run it at the same time.
  virtual std::unique_ptr<BoundOperation> bind(uint8_t* arena, int32_t threads) const = 0;

  Range whole{};        // all blocks and pixels
  int32_t columns = 1;  // pixels per row
  double cost_ns = 0;   // rough time on a fast core
  bool joined = false;  // may run at the same time as the operation before it
};

// Every function that adds something checks its arguments and throws std::invalid_argument. These
// checks guarantee that operations stay inside the arena and their parameters.
class Program {
 public:
  Program(const Kernels& kernels, int64_t arena_bytes);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void add_input(const View& view, const Extent& extent);
  void add_output(const View& view, const Extent& extent);
  // Fills pixels of bits with `words` before the first image; the arena starts as zeros.
  void fill_bits(int64_t offset, int64_t pixels, Span<const uint64_t> words);
  // The last operation reads nothing that the one before it writes.
  void join_last();

  void bconv2d(const Bconv2dSpec& spec, const Extent& output, const EpilogueSpec& epilogue);
  void conv2d(const Conv2dSpec& spec, const Extent& output, const EpilogueSpec& epilogue);
  // Writes the levels of a map into their memory, with a border of level 0.
  void levels(const View& input, const Extent& extent, const LevelsSpec& levels, int32_t top,
              int32_t bottom, int32_t left, int32_t right);
  void int8_conv2d(const Int8Conv2dSpec& spec, const Extent& output, const EpilogueSpec& epilogue);
  // A convolution, an epilogue without views, a pooling of the result, and its epilogue. The map
  // between the two is never completely in memory.
  void pooled_conv2d(const Conv2dSpec& spec, const Extent& map, const EpilogueSpec& inner,
                     const Window& window, bool maximum, const Extent& output,
                     const EpilogueSpec& epilogue);
  void pooled_conv2d(const Int8Conv2dSpec& spec, const Extent& map, const EpilogueSpec& inner,
                     const Window& window, bool maximum, const Extent& output,
                     const EpilogueSpec& epilogue);
  void depthwise_conv2d(const Conv2dSpec& spec, const Extent& output, const EpilogueSpec& epilogue);
  void pool2d(const View& input, const Window& window, bool maximum, const Extent& output,
              const EpilogueSpec& epilogue);
  void bmax_pool2d(const View& input, const Window& window, Span<const uint64_t> mask,
                   const Extent& output, const View& result);
  void elementwise(const View& input, const Extent& extent, const EpilogueSpec& epilogue);

  void strided_unary(Unary function, const StridedLoop& loop);
  void strided_binary(Binary function, const StridedLoop& loop);
  void fill(float value, const StridedLoop& loop);
  void softmax(const View& input, const View& output, const Extent& extent);
  void resize2d(const View& input, const Extent& from, const BlendSpec& rows,
                const BlendSpec& columns, const View& output, const Extent& to);
  void dequantize(const View& input, int32_t planes, bool levels, const View& output,
                  const Extent& extent);
  // Copy maps: into another shape with the same elements in the same order, or some channels.
  void reshape(const View& input, const Extent& from, const View& output, const Extent& to);
  void reshape_bits(const View& input, const Extent& from, const View& output, const Extent& to,
                    int32_t planes);
  void slice_bits(const View& input, const Extent& from, int32_t first, const View& output,
                  const Extent& to, int32_t planes);

  void seal() { sealed_ = true; }

  struct Fill {
    int64_t offset, pixels;
    std::vector<uint8_t> pattern;
  };
  struct Port {
    View view;
    Extent extent;
    int64_t floats() const { return int64_t{extent.rows} * extent.columns * extent.channels; }
  };

  const Kernels& kernels() const { return kernels_; }
  int64_t arena_bytes() const { return arena_bytes_; }
  const std::vector<Port>& inputs() const { return inputs_; }
  const std::vector<Port>& outputs() const { return outputs_; }
  const std::vector<Fill>& fills() const { return fills_; }
  const std::vector<std::unique_ptr<Operation>>& operations() const { return operations_; }

 private:
  using Function = std::function<void(uint8_t* arena, const Range& range)>;
  template <class Kernel>
  void add_kernel(const Kernel& kernel, void (*run)(const Kernel&, const Range&),
                  const Operands& operands, const EpilogueSpec& epilogue, int32_t block,
                  double cost_ns);
  template <class Conv>
  void add_pooled(const Conv& conv, void (*run)(const Conv&, const Range&),
                  const Operands& operands, const EpilogueSpec& inner, const Window& window,
                  bool maximum, const Extent& output, const EpilogueSpec& epilogue, double conv_ns);
  void add_function(Function run, int64_t pixels, double cost_ns);
  void add_bits(const View& output, const Extent& to, int32_t planes,
                std::function<bool(const uint8_t*, int64_t, int32_t)> bit, int64_t input_plane);
  void add(std::unique_ptr<Operation> operation);

  void require_open() const;
  EpilogueSpec keep_epilogue(const EpilogueSpec& epilogue, const Extent& extent);
  StepSpec keep_step(const StepSpec& step, const Extent& extent);
  Conv2d keep_conv2d(const Conv2dSpec& spec, const Extent& output);
  Int8Conv2d keep_conv2d(const Int8Conv2dSpec& spec, const Extent& output);
  Pool2d checked_pool2d(const Window& window, bool maximum, const Extent& output) const;
  Blend keep_blend(const BlendSpec& spec, int32_t from, int32_t to);
  const float* keep(Span<const float> values, int32_t channels, const char* name);
  template <class T>
  const T* keep_array(Span<const T> values);

  void check_floats(const View& view, const Extent& extent, const char* name) const;
  void check_bits(const View& view, const Extent& extent, int32_t planes, const char* name) const;
  void check_levels(const LevelsSpec& levels, const View& view, const Extent& extent,
                    const char* name) const;
  void check_loop(const StridedLoop& loop, int operands) const;
  int64_t pixel_bytes(int32_t channels) const;
  std::vector<uint8_t> expanded(Span<const uint64_t> words) const;

  const Kernels& kernels_;
  const int64_t arena_bytes_;
  bool sealed_ = false;
  std::vector<Port> inputs_, outputs_;
  std::vector<Fill> fills_;
  std::vector<AlignedBuffer> parameters_;
  std::vector<std::unique_ptr<Operation>> operations_;
};

}  // namespace bnnzoo
