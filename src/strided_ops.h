// Strided operations over arrays of any rank, in plain C++: they are the same on every CPU.
#pragma once

#include <array>
#include <cstdint>

namespace bnnzoo {

enum class Unary : int32_t { copy, sigmoid, tanh };
enum class Binary : int32_t { add, subtract, multiply };

// Nested loops over up to three arrays of floats: the result and one or two operands.
struct StridedLoop {
  static constexpr int kMaxAxes = 8;
  int32_t axes;
  std::array<int64_t, kMaxAxes> shape;
  std::array<int64_t, 3> offsets;                        // result, operand 1, operand 2
  std::array<std::array<int64_t, kMaxAxes>, 3> strides;  // 0 broadcasts
};

// Run the part of a loop whose index on the first axis is in [begin, end).
void run_fill(float value, const StridedLoop& loop, float* arena, int64_t begin, int64_t end);
void run_unary(Unary function, const StridedLoop& loop, float* arena, int64_t begin, int64_t end);
void run_binary(Binary function, const StridedLoop& loop, float* arena, int64_t begin, int64_t end);

// exp(x - max) / sum over the channels of one pixel.
void softmax_pixel(const float* input, float* output, int32_t channels);

// `BlendSpec` of program.h as pointers.
struct Blend {
  const int32_t* first;
  const int32_t* second;
  const float* weight;
};

// One pixel of a blend along rows and columns, of the four pixels that it is between.
void blend_pixel(const std::array<const float*, 4>& corners, float down, float right, float* output,
                 int32_t channels);

}  // namespace bnnzoo
