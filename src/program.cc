#include "program.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "require.h"

namespace bnnzoo {
namespace {

constexpr int64_t kMaxArenaBytes = int64_t{1} << 32;
// Keeps every product of a size and a stride far inside 64 bits.
constexpr int64_t kMaxSize = int64_t{1} << 26;
constexpr int64_t kMaxStride = int64_t{1} << 33;

void check_extent(const Extent& extent, const char* name) {
  for (int64_t size : {extent.rows, extent.columns, extent.channels}) {
    require(size >= 1 && size <= kMaxSize, name, "must have sizes from 1 to 2^26");
  }
}

void check_strides(std::initializer_list<int64_t> strides, const char* name) {
  for (int64_t stride : strides) {
    require(stride >= 0 && stride <= kMaxStride, name, "must have offset and strides in range");
  }
}

}  // namespace

Program::Program(const Kernels& kernels, int64_t arena_bytes)
    : kernels_(kernels), arena_bytes_(arena_bytes) {
  require(arena_bytes >= 0 && arena_bytes <= kMaxArenaBytes && arena_bytes % 64 == 0, "arena",
          "must have from 0 to 2^32 bytes, a multiple of 64");
}

void Program::require_open() const {
  require(!sealed_, "program", "must not change once an engine runs it");
}

void Program::add_input(const View& view, const Extent& extent) {
  require_open();
  check_floats(view, extent, "input");
  inputs_.push_back({view, extent});
}

void Program::add_output(const View& view, const Extent& extent) {
  require_open();
  check_floats(view, extent, "output");
  outputs_.push_back({view, extent});
}

void Program::fill_bits(int64_t offset, int64_t pixels, Span<const uint64_t> words) {
  require_open();
  require(pixels >= 1 && pixels <= kMaxSize && words.size >= 1 &&
              words.size <= static_cast<size_t>(kMaxSize),
          "fill_bits", "must have sizes from 1 to 2^26");
  check_strides({offset}, "fill_bits");
  std::vector<uint8_t> pattern = expanded(words);
  require(offset + pixels * static_cast<int64_t>(pattern.size()) <= arena_bytes_, "fill_bits",
          "must be inside the arena");
  fills_.push_back({offset, pixels, std::move(pattern)});
}

void Program::join_last() {
  require_open();
  require(operations_.size() > 1, "join", "must follow two operations");
  operations_.back()->joined = true;
}

void Program::add(std::unique_ptr<Operation> operation) {
  require_open();
  operations_.push_back(std::move(operation));
}

int64_t Program::pixel_bytes(int32_t channels) const {
  return (int64_t{channels} + kBlock - 1) / kBlock * 8 * kernels_.expansion;
}

// Repeats every byte as the kernels want it.
std::vector<uint8_t> Program::expanded(Span<const uint64_t> words) const {
  std::vector<uint8_t> bytes;
  bytes.reserve(words.size * 8 * static_cast<size_t>(kernels_.expansion));
  for (size_t i = 0; i < words.size * 8; ++i) {
    const auto byte = static_cast<uint8_t>(words.data[i / 8] >> (8 * (i % 8)));
    bytes.insert(bytes.end(), static_cast<size_t>(kernels_.expansion), byte);
  }
  return bytes;
}

void Program::check_floats(const View& view, const Extent& extent, const char* name) const {
  check_extent(extent, name);
  check_strides({view.offset, view.row, view.pixel}, name);
  const int64_t end = view.offset + (extent.rows - 1) * view.row +
                      (extent.columns - 1) * view.pixel + extent.channels;
  require(end <= arena_bytes_ / 4, name, "must be inside the arena");
}

void Program::check_bits(const View& view, const Extent& extent, int32_t planes,
                         const char* name) const {
  check_extent(extent, name);
  check_strides({view.offset, view.row, view.pixel, view.plane}, name);
  require(planes >= 1 && planes <= 8, name, "must have from 1 to 8 planes");
  const int64_t end = view.offset + (extent.rows - 1) * view.row +
                      (extent.columns - 1) * view.pixel + (planes - 1) * view.plane +
                      pixel_bytes(extent.channels);
  require(end <= arena_bytes_, name, "must be inside the arena");
}

// The last quad of a run is read as a whole.
void Program::check_levels(const LevelsSpec& levels, const View& view, const Extent& extent,
                           const char* name) const {
  check_extent(extent, name);
  check_strides({levels.offset, levels.size, view.offset, view.row, view.pixel}, name);
  const int64_t first =
      kMagnitudeBytes + kernels_.level_bytes * (view.offset + (extent.rows - 1) * view.row +
                                                (extent.columns - 1) * view.pixel);
  const int64_t run = (int64_t{extent.channels} * kernels_.level_bytes + 3) / 4 * 4;
  require(first + run <= 4 * levels.size, name, "must be inside its levels");
  require(levels.offset + levels.size <= arena_bytes_ / 4, name, "must be inside the arena");
}

void Program::check_loop(const StridedLoop& loop, int operands) const {
  require(loop.axes >= 1 && loop.axes <= StridedLoop::kMaxAxes, "loop", "must have 1 to 8 axes");
  int64_t count = 1;
  for (int axis = 0; axis < loop.axes; ++axis) {
    require(loop.shape[axis] >= 1 && loop.shape[axis] <= kMaxSize, "loop",
            "must have sizes from 1 to 2^26");
    count *= loop.shape[axis];
    require(count <= kMaxSize, "loop", "must have at most 2^26 elements");
  }
  for (int operand = 0; operand < operands; ++operand) {
    int64_t last = loop.offsets[operand];
    check_strides({last}, "loop");
    for (int axis = 0; axis < loop.axes; ++axis) {
      check_strides({loop.strides[operand][axis]}, "loop");
      last += (loop.shape[axis] - 1) * loop.strides[operand][axis];
    }
    require(last < arena_bytes_ / 4, "loop", "must be inside the arena");
  }
}

template <class T>
const T* Program::keep_array(Span<const T> values) {
  parameters_.emplace_back(values.size * sizeof(T));
  uint8_t* kept = parameters_.back().data();
  if (values.size > 0) std::memcpy(kept, values.data, values.size * sizeof(T));
  return reinterpret_cast<const T*>(kept);
}
template const float* Program::keep_array(Span<const float>);
template const int32_t* Program::keep_array(Span<const int32_t>);
template const int64_t* Program::keep_array(Span<const int64_t>);
template const uint8_t* Program::keep_array(Span<const uint8_t>);

// Rows of `channels` floats, each padded with zeros to a multiple of kBlock.
const float* Program::keep(Span<const float> values, int32_t channels, const char* name) {
  const auto width = static_cast<size_t>(channels);
  require(values.size > 0 && values.size % width == 0, name, "must have a value per channel");
  const size_t rows = values.size / width, padded = (width + kBlock - 1) / kBlock * kBlock;
  parameters_.emplace_back(rows * padded * sizeof(float));
  auto* kept = reinterpret_cast<float*>(parameters_.back().data());
  for (size_t row = 0; row < rows; ++row) {
    std::memcpy(kept + row * padded, values.data + row * width, width * sizeof(float));
  }
  return kept;
}

EpilogueSpec Program::keep_epilogue(const EpilogueSpec& epilogue, const Extent& extent) {
  EpilogueSpec kept;
  for (const StepSpec& step : epilogue) kept.push_back(keep_step(step, extent));
  return kept;
}

StepSpec Program::keep_step(const StepSpec& step, const Extent& extent) {
  StepSpec kept = step;
  const auto channels = static_cast<size_t>(extent.channels);
  for (Span<const float>* vector : {&kept.a, &kept.b}) {
    if (vector->size == 0) {
      *vector = {nullptr, 0};
      continue;
    }
    require(vector->size == channels, "step", "must have a parameter per channel");
    *vector = {keep(*vector, extent.channels, "step"), channels};
  }
  switch (step.kind) {
    case StepKind::affine:
    case StepKind::clip: break;
    case StepKind::prelu:
      require(kept.a.size == channels, "prelu", "must have a slope per channel");
      break;
    case StepKind::add:
    case StepKind::subtract:
    case StepKind::multiply:
    case StepKind::store: check_floats(step.view, extent, "step"); break;
    case StepKind::sign: check_bits(step.view, extent, 1, "sign"); break;
    case StepKind::quantize: check_bits(step.view, extent, step.bits, "quantize"); break;
    default: require(false, "step", "must be of a known kind");
  }
  return kept;
}

}  // namespace bnnzoo
