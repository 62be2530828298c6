#include "strided_ops.h"

#include <algorithm>
#include <cmath>

namespace bnnzoo {
namespace {

using Index = std::array<int64_t, StridedLoop::kMaxAxes>;

// Calls inner(result, operand 1, operand 2) at the start of every run along the last axis.
template <class Inner>
void for_each_run(const StridedLoop& loop, float* arena, int64_t begin, int64_t end,
                  const Inner& inner) {
  const int outer = loop.axes - 1;
  Index index{};
  Index first{}, last = loop.shape;
  if (outer > 0) {
    first[0] = begin;
    last[0] = end;
  }
  index = first;
  if (begin >= end) return;
  for (;;) {
    std::array<float*, 3> at;
    for (size_t operand = 0; operand < 3; ++operand) {
      int64_t place = loop.offsets[operand];
      for (int axis = 0; axis < outer; ++axis) {
        place += index[axis] * loop.strides[operand][axis];
      }
      at[operand] = arena + place;
    }
    inner(at[0], at[1], at[2]);
    int axis = outer - 1;
    for (; axis >= 0 && ++index[axis] == last[axis]; --axis) index[axis] = first[axis];
    if (axis < 0) return;
  }
}

template <class Function>
void unary(const StridedLoop& loop, float* arena, int64_t begin, int64_t end, Function function) {
  const int last = loop.axes - 1;
  // If there is only one axis, it is divided.
  const int64_t from = last == 0 ? begin : 0, to = last == 0 ? end : loop.shape[last];
  const int64_t out = loop.strides[0][last], in = loop.strides[1][last];
  for_each_run(loop, arena, begin, end, [&](float* result, const float* x, const float*) {
    for (int64_t i = from; i < to; ++i) result[i * out] = function(x[i * in]);
  });
}

template <class Function>
void binary(const StridedLoop& loop, float* arena, int64_t begin, int64_t end, Function function) {
  const int last = loop.axes - 1;
  const int64_t from = last == 0 ? begin : 0, to = last == 0 ? end : loop.shape[last];
  const int64_t out = loop.strides[0][last];
  const int64_t in1 = loop.strides[1][last], in2 = loop.strides[2][last];
  for_each_run(loop, arena, begin, end, [&](float* result, const float* x, const float* y) {
    for (int64_t i = from; i < to; ++i) result[i * out] = function(x[i * in1], y[i * in2]);
  });
}

}  // namespace

void run_fill(float value, const StridedLoop& loop, float* arena, int64_t begin, int64_t end) {
  StridedLoop filled = loop;  // its operand, the result, is not used
  filled.offsets[1] = loop.offsets[0];
  filled.strides[1] = loop.strides[0];
  unary(filled, arena, begin, end, [value](float) { return value; });
}

void run_unary(Unary function, const StridedLoop& loop, float* arena, int64_t begin, int64_t end) {
  switch (function) {
    case Unary::copy: return unary(loop, arena, begin, end, [](float x) { return x; });
    case Unary::sigmoid:
      // No overflow for either sign, unlike 1 / (1 + exp(-x)).
      return unary(loop, arena, begin, end,
                   [](float x) { return 0.5f + 0.5f * std::tanh(0.5f * x); });
    case Unary::tanh: return unary(loop, arena, begin, end, [](float x) { return std::tanh(x); });
  }
}

void run_binary(Binary function, const StridedLoop& loop, float* arena, int64_t begin,
                int64_t end) {
  switch (function) {
    case Binary::add:
      return binary(loop, arena, begin, end, [](float x, float y) { return x + y; });
    case Binary::subtract:
      return binary(loop, arena, begin, end, [](float x, float y) { return x - y; });
    case Binary::multiply:
      return binary(loop, arena, begin, end, [](float x, float y) { return x * y; });
  }
}

void softmax_pixel(const float* input, float* output, int32_t channels) {
  const float greatest = *std::max_element(input, input + channels);
  float sum = 0;
  for (int32_t i = 0; i < channels; ++i) sum += output[i] = std::exp(input[i] - greatest);
  for (int32_t i = 0; i < channels; ++i) output[i] /= sum;
}

void blend_pixel(const std::array<const float*, 4>& corners, float down, float right, float* output,
                 int32_t channels) {
  const auto [top, top_right, bottom, bottom_right] = corners;
  if (down == 0 && right == 0) {  // a copy, which is exact for infinities too
    std::copy_n(top, channels, output);
    return;
  }
  for (int32_t i = 0; i < channels; ++i) {
    const float above = top[i] + right * (top_right[i] - top[i]);
    const float below = bottom[i] + right * (bottom_right[i] - bottom[i]);
    output[i] = above + down * (below - above);
  }
}

}  // namespace bnnzoo
