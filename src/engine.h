// Runs a program over images, on several threads and for several callers at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "program.h"
#include "schedule.h"
#include "thread_pool.h"

namespace bnnzoo {

// The state for computing one image: an arena, and the operations bound to it.
class Context {
 public:
  Context(const Program& program, int32_t threads);

  float* floats() { return reinterpret_cast<float*>(arena_.data()); }
  const BoundOperation& operation(size_t index) const { return *operations_[index]; }

 private:
  AlignedBuffer arena_;
  std::vector<std::unique_ptr<BoundOperation>> operations_;
};

// Results do not depend on the number of threads: every output element is computed by one chunk, in
// the same way for every chunk.
class Engine {
 public:
  // Seals the program.
  Engine(std::shared_ptr<Program> program, int32_t threads);
  ~Engine();

  const Program& program() const { return *program_; }
  int32_t threads() const { return pool_.threads(); }

  // inputs and outputs: one (images, floats of it) each. May be called from several threads.
  // `nanoseconds` is null or (operations): the time of each is added.
  void run(const std::vector<const float*>& inputs, int64_t images,
           const std::vector<float*>& outputs, int64_t* nanoseconds);

 private:
  void run_image(Context& context, const std::vector<Section>& sections, ThreadPool* pool,
                 const std::vector<const float*>& inputs, const std::vector<float*>& outputs,
                 int64_t image, int64_t* nanoseconds) const;
  void read_input(Context& context, ThreadPool* pool, const Program::Port& port,
                  const float* image) const;
  std::unique_ptr<Context> take_context();
  void give_back(std::unique_ptr<Context> context);

  const std::shared_ptr<const Program> program_;
  ThreadPool pool_;
  const std::vector<Section> serial_, parallel_;  // for one thread, for all of them
  // Idle contexts, at most one per thread, or null. There is no lock that a fork could copy locked.
  std::vector<std::atomic<Context*>> idle_;
};

}  // namespace bnnzoo
