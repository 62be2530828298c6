#include "engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "denormals.h"
#include "require.h"

namespace bnnzoo {
namespace {

// To hand a chunk to another thread takes about a microsecond.
constexpr double kLeastChunkNs = 5000;
// A section ends when its last chunk does: with two chunks a thread, a thread that was held up
// leaves work to the others.
constexpr int32_t kChunksPerThread = 2;
// With fewer pixels a chunk, kernels have no full tiles, and each chunk reads all weights again:
// then the channels are divided.
constexpr int64_t kLeastPixels = 64;

int64_t int_part(int64_t total, int64_t part, int64_t parts) { return total * part / parts; }

// Where the i-th of `parts` parts of the pixels begins: at a row, or at a multiple of 4.
int64_t pixel_border(const Operation& operation, int64_t part, int64_t parts) {
  const int64_t pixels = operation.whole.pixel_end;
  if (part == parts) return pixels;
  const int64_t columns = operation.columns, rows = pixels / columns;
  if (rows >= 4 * parts) return int_part(rows, part, parts) * columns;
  return pixels >= 4 * parts ? int_part(pixels / 4, part, parts) * 4
                             : int_part(pixels, part, parts);
}

std::vector<Range> divide_operation(const Operation& operation, int32_t threads) {
  const Range& whole = operation.whole;
  const double most = std::min(operation.cost_ns / kLeastChunkNs,
                               static_cast<double>(kChunksPerThread) * threads);
  const auto chunks = static_cast<int64_t>(most);
  if (threads == 1 || chunks < 2) return {whole};
  const int64_t blocks = whole.block_end, pixels = whole.pixel_end;
  const bool by_pixels = pixels >= kLeastPixels * chunks || blocks == 1;
  const int64_t block_parts = by_pixels ? 1 : std::min(blocks, chunks);
  const int64_t pixel_parts = std::min(pixels, (chunks + block_parts - 1) / block_parts);
  std::vector<Range> ranges;
  for (int64_t b = 0; b < block_parts; ++b) {
    for (int64_t p = 0; p < pixel_parts; ++p) {
      const Range range{static_cast<int32_t>(int_part(blocks, b, block_parts)),
                        static_cast<int32_t>(int_part(blocks, b + 1, block_parts)),
                        pixel_border(operation, p, pixel_parts),
                        pixel_border(operation, p + 1, pixel_parts)};
      if (range.pixel_begin < range.pixel_end) ranges.push_back(range);
    }
  }
  return ranges;
}

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
      serial_(divide(1)),
      parallel_(divide(pool_.threads())) {
  require(program_->input().extent.rows > 0, "program", "must have an input");
  require(!program_->outputs().empty(), "program", "must have an output");
}

std::vector<Engine::Section> Engine::divide(int32_t threads) const {
  std::vector<Section> sections;
  for (size_t i = 0; i < program_->operations().size(); ++i) {
    const Operation& operation = *program_->operations()[i];
    if (sections.empty() || !operation.joined) sections.emplace_back();
    for (const Range& range : divide_operation(operation, threads)) {
      sections.back().chunks.push_back({i, range});
    }
  }
  return sections;
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
      run_image(*context, parallel_, &pool_, input, outputs, i, nanoseconds);
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
      const Chunk& chunk = section.chunks[static_cast<size_t>(i)];
      context.operation(chunk.operation).run(chunk.range);
    };
    const auto chunks = static_cast<int64_t>(section.chunks.size());
    if (pool != nullptr) {
      pool->run(chunks, body);
    } else {
      for (int64_t i = 0; i < chunks; ++i) body(i);
    }
    if (nanoseconds != nullptr) {
      nanoseconds[section.chunks.front().operation] +=
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
