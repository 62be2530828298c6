#include "schedule.h"

#include <algorithm>

namespace bnnzoo {
namespace {

// Handing a chunk to another thread takes about a microsecond.
constexpr double kMinChunkNs = 5000;
// A section ends with its last chunk: with two chunks per thread, a delayed thread leaves work to
// the others.
constexpr int32_t kChunksPerThread = 2;
// With fewer pixels per chunk, kernels have no full tiles, and each chunk reads all weights again:
// the channels are divided instead.
constexpr int64_t kMinPixels = 32;

int64_t part_of(int64_t total, int64_t part, int64_t parts) { return total * part / parts; }

int64_t rows_of(const Operation& operation) {
  return operation.whole.pixel_end / operation.columns;
}

int64_t chunks_for(double cost_ns, int32_t threads) {
  if (threads == 1) return 1;
  const double most = static_cast<double>(kChunksPerThread) * threads;
  return std::max<int64_t>(1, static_cast<int64_t>(std::min(cost_ns / kMinChunkNs, most)));
}

// Where a part of the pixels begins: at a row, or at a multiple of 4.
int64_t pixel_border(const Operation& operation, int64_t part, int64_t parts) {
  const int64_t pixels = operation.whole.pixel_end;
  if (part == parts) return pixels;
  const int64_t rows = rows_of(operation);
  if (rows >= 4 * parts) return part_of(rows, part, parts) * operation.columns;
  return pixels >= 4 * parts ? part_of(pixels / 4, part, parts) * 4 : part_of(pixels, part, parts);
}

std::vector<Range> divide(const Operation& operation, int32_t threads) {
  const Range& whole = operation.whole;
  const int64_t chunks = chunks_for(operation.cost_ns, threads);
  if (chunks == 1) return {whole};
  const int64_t blocks = whole.block_end, pixels = whole.pixel_end;
  const bool by_pixels = pixels >= kMinPixels * chunks || blocks == 1;
  const int64_t block_parts = by_pixels ? 1 : std::min(blocks, chunks);
  const int64_t pixel_parts = std::min(pixels, (chunks + block_parts - 1) / block_parts);
  std::vector<Range> ranges;
  for (int64_t b = 0; b < block_parts; ++b) {
    for (int64_t p = 0; p < pixel_parts; ++p) {
      const Range range{static_cast<int32_t>(part_of(blocks, b, block_parts)),
                        static_cast<int32_t>(part_of(blocks, b + 1, block_parts)),
                        pixel_border(operation, p, pixel_parts),
                        pixel_border(operation, p + 1, pixel_parts)};
      if (range.pixel_begin < range.pixel_end) ranges.push_back(range);
    }
  }
  return ranges;
}

}  // namespace

std::vector<Section> schedule(const Program& program, int32_t threads) {
  std::vector<Section> sections;
  for (size_t i = 0; i < program.operations().size(); ++i) {
    const Operation& operation = *program.operations()[i];
    if (sections.empty() || !operation.joined) sections.emplace_back();
    for (const Range& range : divide(operation, threads)) sections.back().push_back({i, range});
  }
  return sections;
}

}  // namespace bnnzoo
