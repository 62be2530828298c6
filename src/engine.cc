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

// An image of more bytes than this is copied by all threads.
constexpr int64_t kLargeBytes = 1 << 17;

// Calls copy(map, packed, count) for stretches of floats that are contiguous in both, of the rows
// from `begin` to `end`.
template <class Copy>
void for_each_stretch(const Program::Port& port, int64_t begin, int64_t end, const Copy& copy) {
  const auto& [view, extent] = port;
  const bool whole_rows = view.pixel == extent.channels;
  const int64_t columns = whole_rows ? 1 : extent.columns;
  const int64_t count = whole_rows ? int64_t{extent.columns} * extent.channels : extent.channels;
  int64_t packed = begin * extent.columns * extent.channels;
  for (int64_t y = begin; y < end; ++y) {
    for (int64_t x = 0; x < columns; ++x, packed += count) {
      copy(view.offset + y * view.row + x * view.pixel, packed, static_cast<size_t>(count));
    }
  }
}

template <class Body>
void run_on(ThreadPool* pool, int64_t chunks, Body& body) {
  if (pool != nullptr) {
    pool->run(chunks, body);
  } else {
    for (int64_t i = 0; i < chunks; ++i) body(i);
  }
}

}  // namespace

Context::Context(const Program& program, int32_t threads)
    : arena_(static_cast<size_t>(program.arena_bytes())) {
  for (const Program::Fill& fill : program.fills()) {
    uint8_t* to = arena_.data() + fill.offset;
    for (int64_t i = 0; i < fill.pixels; ++i, to += fill.pattern.size()) {
      std::memcpy(to, fill.pattern.data(), fill.pattern.size());
    }
  }
  operations_.reserve(program.operations().size());
  for (const auto& operation : program.operations()) {
    operations_.push_back(operation->bind(arena_.data(), threads));
  }
}

Engine::Engine(std::shared_ptr<Program> program, int32_t threads)
    : program_((program->seal(), std::move(program))),
      pool_(threads),
      serial_(schedule(*program_, 1)),
      parallel_(schedule(*program_, pool_.threads())),
      idle_(static_cast<size_t>(pool_.threads())) {
  require(!program_->inputs().empty(), "program", "must have an input");
  require(!program_->outputs().empty(), "program", "must have an output");
}

Engine::~Engine() {
  for (std::atomic<Context*>& slot : idle_) delete slot.load();
}

std::unique_ptr<Context> Engine::take_context() {
  for (std::atomic<Context*>& slot : idle_) {
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    if (Context* context = slot.exchange(nullptr)) return std::unique_ptr<Context>(context);
  }
  return std::make_unique<Context>(*program_, threads());
}

void Engine::give_back(std::unique_ptr<Context> context) {
  for (std::atomic<Context*>& slot : idle_) {
    Context* none = nullptr;
    if (slot.compare_exchange_strong(none, context.get())) {
      static_cast<void>(context.release());
      return;
    }
  }
}

void Engine::run(const std::vector<const float*>& inputs, int64_t images,
                 const std::vector<float*>& outputs, int64_t* nanoseconds) {
  DenormalsAsZero scope;
  if (threads() == 1 || images < threads() || nanoseconds != nullptr) {
    std::unique_ptr<Context> context = take_context();
    for (int64_t i = 0; i < images; ++i) {
      run_image(*context, parallel_, &pool_, inputs, outputs, i, nanoseconds);
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
      run_image(*contexts[static_cast<size_t>(lane)], serial_, nullptr, inputs, outputs, i,
                nullptr);
    }
  };
  pool_.run(threads(), body);
  for (auto& context : contexts) give_back(std::move(context));
}

void Engine::run_image(Context& context, const std::vector<Section>& sections, ThreadPool* pool,
                       const std::vector<const float*>& inputs, const std::vector<float*>& outputs,
                       int64_t image, int64_t* nanoseconds) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Program::Port& port = program_->inputs()[i];
    read_input(context, pool, port, inputs[i] + image * port.floats());
  }
  for (const Section& section : sections) {
    const auto begin = nanoseconds == nullptr ? Clock::time_point() : Clock::now();
    auto body = [&](int64_t i) {
      const Chunk& chunk = section[static_cast<size_t>(i)];
      context.operation(chunk.operation).run(chunk.range);
    };
    run_on(pool, static_cast<int64_t>(section.size()), body);
    if (nanoseconds != nullptr) {
      nanoseconds[section.front().operation] +=
          std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
    }
  }
  const float* arena = context.floats();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Program::Port& port = program_->outputs()[i];
    float* to = outputs[i] + image * port.floats();
    for_each_stretch(port, 0, port.extent.rows, [&](int64_t at, int64_t packed, size_t count) {
      std::memcpy(to + packed, arena + at, count * sizeof(float));
    });
  }
}

void Engine::read_input(Context& context, ThreadPool* pool, const Program::Port& port,
                        const float* image) const {
  float* arena = context.floats();
  const bool large = port.floats() * int64_t{sizeof(float)} > kLargeBytes;
  const int64_t parts = large && pool != nullptr ? pool->threads() : 1, rows = port.extent.rows;
  auto body = [&](int64_t part) {
    for_each_stretch(port, rows * part / parts, rows * (part + 1) / parts,
                     [&](int64_t at, int64_t packed, size_t count) {
                       std::memcpy(arena + at, image + packed, count * sizeof(float));
                     });
  };
  run_on(pool, parts, body);
}

}  // namespace bnnzoo
