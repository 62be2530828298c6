// Epilogues and operands at the addresses of one image.
#pragma once

#include <cstdint>
#include <vector>

#include "program.h"

namespace bnnzoo {

inline bool writes_bits(StepKind kind) {
  return kind == StepKind::sign || kind == StepKind::quantize;
}

inline std::vector<Step> bind_epilogue(const EpilogueSpec& specs, uint8_t* arena) {
  std::vector<Step> steps;
  steps.reserve(specs.size());
  for (const StepSpec& spec : specs) {
    Step step{};
    step.kind = spec.kind;
    step.bits = spec.bits;
    step.a = spec.a.data;
    step.b = spec.b.data;
    step.low = spec.low;
    step.high = spec.high;
    step.view = arena + spec.view.offset * (writes_bits(spec.kind) ? 1 : 4);
    step.row = spec.view.row;
    step.pixel = spec.view.pixel;
    step.plane = spec.view.plane;
    steps.push_back(step);
  }
  return steps;
}

inline Epilogue as_epilogue(const std::vector<Step>& steps) {
  return {steps.data(), static_cast<int32_t>(steps.size())};
}

template <class Kernel>
void bind_operands(Kernel& kernel, uint8_t* arena, const Operands& operands) {
  kernel.input = reinterpret_cast<decltype(kernel.input)>(arena + operands.input);
}

inline void bind_operands(Int8Conv2d& kernel, uint8_t* arena, const Operands& operands) {
  kernel.input = arena + operands.input;
  kernel.largest = reinterpret_cast<const uint32_t*>(arena + operands.largest);
}

}  // namespace bnnzoo
