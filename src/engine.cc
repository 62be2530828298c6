#include "engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "denormals.h"
#include "require.h"

namespace bnnzoo {
namespace {

using Clock = std::chrono::steady_clock;

// Calls row(map, packed) for stretches of `count` floats that are contiguous in both.
template <class Row>
void for_each_stretch(const Program::Port& port, const Row& row) {
  const auto& [view, extent] = port;
  const bool whole_rows = view.pixel == extent.channels;
  const int64_t columns = whole_rows ? 1 : extent.columns;
  const int64_t count = whole_rows ? int64_t{extent.columns} * extent.channels : extent.channels;
  int64_t packed = 0;
  for (int64_t y = 0; y < extent.rows; ++y) {
    for (int64_t x = 0; x < columns; ++x, packed += count) {
      row(view.offset + y * view.row + x * view.pixel, packed, static_cast<size_t>(count));
    }
  }
}

}  // namespace

Context::Context(const Program& program) : arena_(static_cast<size_t>(program.arena_bytes())) {
  for (const Program::Fill& fill : program.fills()) {
    uint8_t* to = arena_.data() + fill.offset;
    for (int64_t i = 0; i < fill.pixels; ++i, to += fill.pattern.size()) {
      std::memcpy(to, fill.pattern.data(), fill.pattern.size());
    }
  }
  operations_.reserve(program.operations().size());
  for (const auto& operation : program.operations()) {
    operations_.push_back(operation->bind(arena_.data()));
  }
}

Engine::Engine(std::shared_ptr<Program> program, int32_t threads)
    : program_((program->seal(), std::move(program))),
      pool_(threads),
      serial_(schedule(*program_, 1, true)),
      parallel_(schedule(*program_, pool_.threads(), true)),
      profiled_(schedule(*program_, pool_.threads(), false)) {
  require(program_->input().extent.rows > 0, "program", "must have an input");
  require(!program_->outputs().empty(), "program", "must have an output");
}

std::unique_ptr<Context> Engine::take_context() {
  {
    std::lock_guard<std::mutex> lock(contexts_mutex_);
    if (!contexts_.empty()) {
      std::unique_ptr<Context> context = std::move(contexts_.back());
      contexts_.pop_back();
      return context;
    }
  }
  return std::make_unique<Context>(*program_);
}

void Engine::give_back(std::unique_ptr<Context> context) {
  std::lock_guard<std::mutex> lock(contexts_mutex_);
  if (contexts_.size() < static_cast<size_t>(threads())) contexts_.push_back(std::move(context));
}

void Engine::run(const float* input, int64_t images, const std::vector<float*>& outputs,
                 int64_t* nanoseconds) {
  DenormalsAsZero scope;
  if (threads() == 1 || images < threads() || nanoseconds != nullptr) {
    std::unique_ptr<Context> context = take_context();
    for (int64_t i = 0; i < images; ++i) {
      run_image(*context, nanoseconds == nullptr ? parallel_ : profiled_, &pool_, input, outputs, i,
                nanoseconds);
    }
    give_back(std::move(context));
    return;
  }
  // Contexts are made before the threads start, where running out of memory can be reported.
  std::vector<std::unique_ptr<Context>> contexts;
  for (int32_t i = 0; i < threads(); ++i) contexts.push_back(take_context());
  std::atomic<int64_t> next{0};
  auto body = [&](int64_t lane) {
    for (int64_t i; (i = next.fetch_add(1)) < images;) {
      run_image(*contexts[static_cast<size_t>(lane)], serial_, nullptr, input, outputs, i, nullptr);
    }
  };
  pool_.run(threads(), body);
  for (auto& context : contexts) give_back(std::move(context));
}

void Engine::run_image(Context& context, const std::vector<Section>& sections, ThreadPool* pool,
                       const float* input, const std::vector<float*>& outputs, int64_t image,
                       int64_t* nanoseconds) const {
  float* arena = context.floats();
  const Program::Port& port = program_->input();
  const float* from = input + image * port.floats();
  for_each_stretch(port, [&](int64_t at, int64_t packed, size_t count) {
    std::memcpy(arena + at, from + packed, count * sizeof(float));
  });
  for (const Section& section : sections) {
    const auto begin = nanoseconds == nullptr ? Clock::time_point() : Clock::now();
    auto body = [&](int64_t i) {
      for (const Chunk& chunk : section.lanes[static_cast<size_t>(i)]) {
        context.operation(chunk.operation).run(chunk.range);
      }
    };
    const auto lanes = static_cast<int64_t>(section.lanes.size());
    if (pool != nullptr) {
      pool->run(lanes, body);
    } else {
      for (int64_t i = 0; i < lanes; ++i) body(i);
    }
    if (nanoseconds != nullptr) {
      nanoseconds[section.lanes.front().front().operation] +=
          std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Program::Port& result = program_->outputs()[i];
    float* to = outputs[i] + image * result.floats();
    for_each_stretch(result, [&](int64_t at, int64_t packed, size_t count) {
      std::memcpy(to + packed, arena + at, count * sizeof(float));
    });
  }
}

}  // namespace bnnzoo
