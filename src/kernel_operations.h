// Kernels as operations of a program, and as they are bound to the arena of one image.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bound_epilogue.h"
#include "program.h"

namespace bnnzoo {

template <class Kernel>
class BoundKernel final : public BoundOperation {
 public:
  using Run = void (*)(const Kernel&, const Range&);

  BoundKernel(const Kernel& kernel, Run run, const EpilogueSpec& epilogue, uint8_t* arena,
              const Operands& operands)
      : kernel_(kernel), run_(run), epilogue_(bind_epilogue(epilogue, arena)) {
    bind_operands(kernel_, arena, operands);
    kernel_.epilogue = as_epilogue(epilogue_);
  }
  void run(const Range& range) const override { run_(kernel_, range); }

 private:
  Kernel kernel_;
  Run run_;
  std::vector<Step> epilogue_;
};

template <class Kernel>
class KernelOperation final : public Operation {
 public:
  using Run = void (*)(const Kernel&, const Range&);

  KernelOperation(const Kernel& kernel, Run run, EpilogueSpec epilogue, const Operands& operands)
      : kernel_(kernel), run_(run), epilogue_(std::move(epilogue)), operands_(operands) {}

  std::unique_ptr<BoundOperation> bind(uint8_t* arena, int32_t) const override {
    return std::make_unique<BoundKernel<Kernel>>(kernel_, run_, epilogue_, arena, operands_);
  }

 private:
  Kernel kernel_;
  Run run_;
  EpilogueSpec epilogue_;
  Operands operands_;
};

class BoundBMaxPool2d final : public BoundOperation {
 public:
  BoundBMaxPool2d(const BMaxPool2d& kernel, const Kernels& kernels)
      : kernel_(kernel), kernels_(kernels) {}
  void run(const Range& range) const override { kernels_.bmax_pool2d(kernel_, range); }

 private:
  BMaxPool2d kernel_;
  const Kernels& kernels_;
};

class BMaxPool2dOperation final : public Operation {
 public:
  BMaxPool2dOperation(const BMaxPool2d& kernel, const Kernels& kernels, int64_t input,
                      int64_t output)
      : kernel_(kernel), kernels_(kernels), input_(input), output_(output) {}

  std::unique_ptr<BoundOperation> bind(uint8_t* arena, int32_t) const override {
    BMaxPool2d kernel = kernel_;
    kernel.input = arena + input_;
    kernel.output = arena + output_;
    return std::make_unique<BoundBMaxPool2d>(kernel, kernels_);
  }

 private:
  BMaxPool2d kernel_;
  const Kernels& kernels_;
  int64_t input_, output_;
};

}  // namespace bnnzoo
