// The operations that have a kernel per instruction set.

#include <algorithm>
#include <utility>

#include "kernel_operations.h"
#include "pooled_conv2d.h"
#include "program.h"
#include "require.h"

namespace bnnzoo {
namespace {

// Rough nanoseconds on a fast core; they only determine the number of chunks.
constexpr double kBinaryPerNs = 500, kRealPerNs = 60, kInt8PerNs = 200, kDepthwisePerNs = 12,
                 kElementsPerNs = 8, kBytesPerNs = 25;

// Rows of the map of a pooled convolution are outside the arena.
constexpr int64_t kMaxMapFloats = int64_t{1} << 26;

// With more products, a sum might not fit in 32 bits.
constexpr size_t kMaxInt8Products = size_t{1} << 17;

int32_t ceil_div(int64_t a, int64_t b) { return static_cast<int32_t>((a + b - 1) / b); }

// Every window must contain a pixel of the image, or there is nothing to pool.
void check_window(const Window& window, const Extent& output) {
  for (int64_t size : {window.height, window.width, window.pool_h, window.pool_w, window.stride_h,
                       window.stride_w}) {
    require(size >= 1 && size <= (int64_t{1} << 26), "pool", "must have sizes from 1 to 2^26");
  }
  require(window.top >= 0 && window.top < window.pool_h && window.left >= 0 &&
              window.left < window.pool_w,
          "pool", "must have a padding below its window");
  require(int64_t{output.rows - 1} * window.stride_h - window.top < window.height &&
              int64_t{output.columns - 1} * window.stride_w - window.left < window.width,
          "pool", "must have a pixel of the image in every window");
}

int64_t pixels_of(const Extent& extent) { return int64_t{extent.rows} * extent.columns; }

// Bytes or floats that a kernel reads after the first tap of the last output pixel.
template <class T>
int64_t greatest(Span<const T> offsets, const char* name) {
  require(offsets.size > 0 && offsets.size < (size_t{1} << 26), name, "must have taps");
  const auto [least, most] = std::minmax_element(offsets.data, offsets.data + offsets.size);
  require(*least >= 0 && int64_t{*most} <= (int64_t{1} << 33), name, "must have taps in range");
  return *most;
}

// A convolution of few pixels is limited by reading its weights from memory once.
double weights_ns(double bytes) { return bytes / kBytesPerNs; }

double conv2d_ns(const Conv2dSpec& spec, const Extent& output) {
  const auto weights = static_cast<double>(spec.kernel.size);
  return std::max(static_cast<double>(pixels_of(output)) * weights / kRealPerNs,
                  weights_ns(4 * weights));
}

double conv2d_ns(const Int8Conv2dSpec& spec, const Extent& output) {
  const auto weights = static_cast<double>(spec.kernel.size);
  return std::max(static_cast<double>(pixels_of(output)) * weights / kInt8PerNs,
                  weights_ns(weights));
}

Operands operands_of(const Int8Conv2dSpec& spec, const Kernels& kernels) {
  const int64_t levels = 4 * spec.levels.offset;
  return {levels + kMagnitudeBytes + kernels.level_bytes * spec.input.offset, levels};
}

double pool2d_ns(const Window& window, const Extent& output) {
  return static_cast<double>(pixels_of(output)) * output.channels *
         std::min(window.pool_h, window.height) * std::min(window.pool_w, window.width) /
         kElementsPerNs;
}

}  // namespace

template <class Kernel>
void Program::add_kernel(const Kernel& kernel, void (*run)(const Kernel&, const Range&),
                         const Operands& operands, const EpilogueSpec& epilogue, int32_t block,
                         double cost_ns) {
  const Extent& extent = kernel.extent;
  auto operation = std::make_unique<KernelOperation<Kernel>>(
      kernel, run, keep_epilogue(epilogue, extent), operands);
  operation->whole = {0, ceil_div(extent.channels, block), 0, pixels_of(extent)};
  operation->columns = extent.columns;
  const auto elements = static_cast<double>(pixels_of(extent)) * extent.channels;
  operation->cost_ns =
      cost_ns + elements * static_cast<double>(epilogue.size() + 1) / kElementsPerNs;
  add(std::move(operation));
}

void Program::bconv2d(const Bconv2dSpec& spec, const Extent& output, const EpilogueSpec& epilogue) {
  View last = spec.input;
  last.offset += greatest(spec.offsets, "bconv2d");
  check_bits(last, {output.rows, output.columns, 1}, spec.planes, "bconv2d");
  const size_t channels = static_cast<size_t>(output.channels), units = spec.offsets.size;
  require(spec.c_in >= 1 && units % static_cast<size_t>(ceil_div(spec.c_in, kBlock)) == 0,
          "bconv2d", "must have the units of whole taps");
  require(spec.words.size == channels * units, "bconv2d", "must have a word per channel and unit");
  require(spec.scale.size == channels, "bconv2d", "must have a scale per channel");
  const bool classes = spec.row_class.size > 0;
  int32_t row_classes = 1, column_classes = 1;
  if (classes) {
    require(spec.row_class.size == static_cast<size_t>(output.rows) &&
                spec.column_class.size == static_cast<size_t>(output.columns),
            "bconv2d", "must have a class per row and column");
    row_classes = 1 + static_cast<int32_t>(greatest(spec.row_class, "bconv2d"));
    column_classes = 1 + static_cast<int32_t>(greatest(spec.column_class, "bconv2d"));
  }
  require(spec.bias.size ==
              static_cast<size_t>(row_classes) * static_cast<size_t>(column_classes) * channels,
          "bconv2d", "must have a bias per class and channel");

  Bconv2d kernel{};
  kernel.row = spec.input.row;
  kernel.pixel = spec.input.pixel;
  kernel.plane = spec.input.plane;
  kernel.planes = spec.planes;
  kernel.c_in = spec.c_in;
  kernel.units = static_cast<int32_t>(units);
  kernel.offsets = keep_array(spec.offsets);
  kernel.extent = output;
  parameters_.emplace_back(kernels_.weights_bytes(kernel));
  kernels_.pack_weights(kernel, spec.words.data, parameters_.back().data());
  kernel.weights = parameters_.back().data();
  kernel.scale = keep(spec.scale, output.channels, "scale");
  kernel.bias = keep(spec.bias, output.channels, "bias");
  kernel.row_class = classes ? keep_array(spec.row_class) : nullptr;
  kernel.column_class = classes ? keep_array(spec.column_class) : nullptr;
  kernel.column_classes = column_classes;
  const double weights = static_cast<double>(spec.words.size) * kBlock;
  const double products = weights * static_cast<double>(pixels_of(output)) * spec.planes;
  add_kernel(kernel, kernels_.bconv2d, {spec.input.offset}, epilogue, kBlock,
             std::max(products / kBinaryPerNs, weights_ns(weights / 8)));
}

// All of it but the input and the epilogue.
Conv2d Program::keep_conv2d(const Conv2dSpec& spec, const Extent& output) {
  View last = spec.input;
  last.offset += greatest(spec.offsets, "conv2d");
  check_floats(last, {output.rows, output.columns, spec.run_length}, "conv2d");
  const size_t k = spec.offsets.size * static_cast<size_t>(spec.run_length);
  require(k < (size_t{1} << 26), "conv2d", "must have fewer than 2^26 products");
  require(spec.kernel.size == k * static_cast<size_t>(output.channels), "conv2d",
          "must have a weight per channel and product");
  Conv2d kernel{};
  kernel.row = spec.input.row;
  kernel.pixel = spec.input.pixel;
  kernel.offsets = keep_array(spec.offsets);
  kernel.runs = static_cast<int32_t>(spec.offsets.size);
  kernel.run_length = spec.run_length;
  const auto products = static_cast<int32_t>(k);
  parameters_.emplace_back(4 * kernels_.real_weights_floats(output.channels, products));
  auto* weights = reinterpret_cast<float*>(parameters_.back().data());
  kernels_.pack_real_weights(spec.kernel.data, output.channels, products, weights);
  kernel.weights = weights;
  kernel.extent = output;
  return kernel;
}

void Program::conv2d(const Conv2dSpec& spec, const Extent& output, const EpilogueSpec& epilogue) {
  add_kernel(keep_conv2d(spec, output), kernels_.conv2d, {4 * spec.input.offset}, epilogue,
             kernels_.real_block, conv2d_ns(spec, output));
}

// All of it but the operands and the epilogue.
Int8Conv2d Program::keep_conv2d(const Int8Conv2dSpec& spec, const Extent& output) {
  View last = spec.input;
  last.offset += greatest(spec.offsets, "int8_conv2d");
  check_levels(spec.levels, last, {output.rows, output.columns, spec.run_length}, "int8_conv2d");
  const size_t channels = static_cast<size_t>(output.channels), runs = spec.offsets.size;
  const size_t k = runs * static_cast<size_t>(spec.run_length);
  require(k <= kMaxInt8Products, "int8_conv2d", "must have at most 2^17 products");
  require(spec.kernel.size == k * channels, "int8_conv2d",
          "must have a weight per channel and product");
  require(spec.scale.size == channels, "int8_conv2d", "must have a scale per channel");
  const int64_t bytes = kernels_.level_bytes;
  std::vector<int64_t> offsets(spec.offsets.data, spec.offsets.data + runs);
  for (int64_t& offset : offsets) offset *= bytes;
  Int8Conv2d kernel{};
  kernel.row = bytes * spec.input.row;
  kernel.pixel = bytes * spec.input.pixel;
  kernel.offsets = keep_array(Span<const int64_t>{offsets.data(), runs});
  kernel.runs = static_cast<int32_t>(runs);
  kernel.run_length = ceil_div(bytes * spec.run_length, 4);
  parameters_.emplace_back(
      kernels_.int8_weights_bytes(output.channels, kernel.runs, spec.run_length));
  kernels_.pack_int8_weights(spec.kernel.data, output.channels, kernel.runs, spec.run_length,
                             parameters_.back().data());
  kernel.weights = parameters_.back().data();
  kernel.scale = keep(spec.scale, output.channels, "scale");
  kernel.extent = output;
  return kernel;
}

void Program::int8_conv2d(const Int8Conv2dSpec& spec, const Extent& output,
                          const EpilogueSpec& epilogue) {
  add_kernel(keep_conv2d(spec, output), kernels_.int8_conv2d, operands_of(spec, kernels_), epilogue,
             kernels_.real_block, conv2d_ns(spec, output));
}

void Program::levels(const View& input, const Extent& extent, const LevelsSpec& levels, int32_t top,
                     int32_t bottom, int32_t left, int32_t right) {
  check_floats(input, extent, "levels");
  for (int32_t pad : {top, bottom, left, right}) {
    require(pad >= 0 && pad <= (1 << 26), "levels", "must have a border from 0 to 2^26");
  }
  const Extent padded{extent.rows + top + bottom, extent.columns + left + right, extent.channels};
  check_levels(levels, {0, int64_t{padded.columns} * padded.channels, padded.channels, 0}, padded,
               "levels");
  const double elements = static_cast<double>(pixels_of(padded)) * padded.channels;
  const Kernels& kernels = kernels_;
  add_function(
      [=, &kernels](uint8_t* arena, const Range& range) {
        const auto* from = reinterpret_cast<const float*>(arena) + input.offset;
        auto* largest = reinterpret_cast<uint32_t*>(arena + 4 * levels.offset);
        kernels.magnitudes({from, input.row, input.pixel, extent, largest}, range);
      },
      kMagnitudeParts, elements / kElementsPerNs);
  add_function(
      [=, &kernels](uint8_t* arena, const Range& range) {
        const auto* from = reinterpret_cast<const float*>(arena) + input.offset;
        uint8_t* to = arena + 4 * levels.offset;
        kernels.levels(
            {from, input.row, input.pixel, extent, top, left, padded.rows, padded.columns,
             reinterpret_cast<const uint32_t*>(to), to + kMagnitudeBytes},
            range);
      },
      padded.rows, elements / kElementsPerNs);
}

void Program::depthwise_conv2d(const Conv2dSpec& spec, const Extent& output,
                               const EpilogueSpec& epilogue) {
  View last = spec.input;
  last.offset += greatest(spec.offsets, "depthwise_conv2d");
  check_floats(last, output, "depthwise_conv2d");
  const size_t channels = static_cast<size_t>(output.channels);
  require(spec.kernel.size == spec.offsets.size * channels, "depthwise_conv2d",
          "must have a weight per tap and channel");

  DepthwiseConv2d kernel{};
  kernel.row = spec.input.row;
  kernel.pixel = spec.input.pixel;
  kernel.offsets = keep_array(spec.offsets);
  kernel.taps = static_cast<int32_t>(spec.offsets.size);
  kernel.weights = keep(spec.kernel, output.channels, "depthwise_conv2d");
  kernel.extent = output;
  const double cost = static_cast<double>(pixels_of(output)) * output.channels * kernel.taps;
  add_kernel(kernel, kernels_.depthwise_conv2d, {4 * spec.input.offset}, epilogue, kBlock,
             cost / kDepthwisePerNs);
}

// All of it but the input and the epilogue.
Pool2d Program::checked_pool2d(const Window& window, bool maximum, const Extent& output) const {
  check_window(window, output);
  Pool2d kernel{};
  kernel.window = window;
  kernel.maximum = maximum;
  kernel.extent = output;
  return kernel;
}

void Program::pool2d(const View& input, const Window& window, bool maximum, const Extent& output,
                     const EpilogueSpec& epilogue) {
  Pool2d kernel = checked_pool2d(window, maximum, output);
  check_floats(input, {window.height, window.width, output.channels}, "pool2d");
  kernel.row = input.row;
  kernel.pixel = input.pixel;
  add_kernel(kernel, kernels_.pool2d, {4 * input.offset}, epilogue, kBlock,
             pool2d_ns(window, output));
}

// Divided by rows of the pooling.
template <class Conv>
void Program::add_pooled(const Conv& conv, void (*run)(const Conv&, const Range&),
                         const Operands& operands, const EpilogueSpec& inner, const Window& window,
                         bool maximum, const Extent& output, const EpilogueSpec& epilogue,
                         double conv_ns) {
  const Extent& map = conv.extent;
  for (const StepSpec& step : inner) {
    require(step.kind == StepKind::affine || step.kind == StepKind::clip ||
                step.kind == StepKind::prelu,
            "pooled_conv2d", "must have no views before its pooling");
  }
  require(
      window.height == map.rows && window.width == map.columns && output.channels == map.channels,
      "pooled_conv2d", "must pool its own map");
  require(pixels_of(map) <= kMaxMapFloats / map.channels, "pooled_conv2d",
          "must have a map of at most 2^26 floats");
  const Pool2d pool = checked_pool2d(window, maximum, output);
  auto operation = make_pooled_conv2d(kernels_, conv, run, keep_epilogue(inner, map), operands,
                                      pool, keep_epilogue(epilogue, output));
  operation->whole = {0, 1, 0, output.rows};
  operation->cost_ns = conv_ns + pool2d_ns(window, output);
  add(std::move(operation));
}

void Program::pooled_conv2d(const Conv2dSpec& spec, const Extent& map, const EpilogueSpec& inner,
                            const Window& window, bool maximum, const Extent& output,
                            const EpilogueSpec& epilogue) {
  add_pooled(keep_conv2d(spec, map), kernels_.conv2d, {4 * spec.input.offset}, inner, window,
             maximum, output, epilogue, conv2d_ns(spec, map));
}

void Program::pooled_conv2d(const Int8Conv2dSpec& spec, const Extent& map,
                            const EpilogueSpec& inner, const Window& window, bool maximum,
                            const Extent& output, const EpilogueSpec& epilogue) {
  add_pooled(keep_conv2d(spec, map), kernels_.int8_conv2d, operands_of(spec, kernels_), inner,
             window, maximum, output, epilogue, conv2d_ns(spec, map));
}

void Program::bmax_pool2d(const View& input, const Window& window, Span<const uint64_t> mask,
                          const Extent& output, const View& result) {
  check_window(window, output);
  check_bits(input, {window.height, window.width, output.channels}, 1, "bmax_pool2d");
  check_bits(result, output, 1, "bmax_pool2d");
  require(mask.size * 8 * static_cast<size_t>(kernels_.expansion) ==
              static_cast<size_t>(pixel_bytes(output.channels)),
          "bmax_pool2d", "must have a mask of all channels");
  const std::vector<uint8_t> bytes = expanded(mask);

  BMaxPool2d kernel{};
  kernel.mask = keep_array(Span<const uint8_t>{bytes.data(), bytes.size()});
  kernel.input_row = input.row;
  kernel.input_pixel = input.pixel;
  kernel.output_row = result.row;
  kernel.output_pixel = result.pixel;
  kernel.pixel_bytes = static_cast<int32_t>(bytes.size());
  kernel.window = window;
  kernel.extent = output;
  auto operation =
      std::make_unique<BMaxPool2dOperation>(kernel, kernels_, input.offset, result.offset);
  operation->whole = {0, 1, 0, pixels_of(output)};
  operation->columns = output.columns;
  operation->cost_ns = static_cast<double>(pixels_of(output)) * kernel.pixel_bytes * window.pool_h *
                       window.pool_w / 16;
  add(std::move(operation));
}

void Program::elementwise(const View& input, const Extent& extent, const EpilogueSpec& epilogue) {
  check_floats(input, extent, "elementwise");
  Elementwise kernel{};
  kernel.row = input.row;
  kernel.pixel = input.pixel;
  kernel.extent = extent;
  add_kernel(kernel, kernels_.elementwise, {4 * input.offset}, epilogue, kBlock, 0);
}

}  // namespace bnnzoo
