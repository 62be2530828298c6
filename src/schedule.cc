#include "schedule.h"

#include <algorithm>
#include <utility>

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

int64_t part_of(int64_t total, int64_t part, int64_t parts) { return total * part / parts; }

int64_t rows_of(const Operation& operation) {
  return operation.whole.pixel_end / operation.columns;
}

int64_t chunks_for(double cost_ns, int32_t threads) {
  if (threads == 1) return 1;
  const double most = static_cast<double>(kChunksPerThread) * threads;
  return std::max<int64_t>(1, static_cast<int64_t>(std::min(cost_ns / kLeastChunkNs, most)));
}

// Where a part of the pixels begins: at a row, or at a multiple of 4.
int64_t pixel_border(const Operation& operation, int64_t part, int64_t parts) {
  const int64_t pixels = operation.whole.pixel_end;
  if (part == parts) return pixels;
  const int64_t rows = rows_of(operation);
  if (rows >= 4 * parts) return part_of(rows, part, parts) * operation.columns;
  return pixels >= 4 * parts ? part_of(pixels / 4, part, parts) * 4
                             : part_of(pixels, part, parts);
}

std::vector<Range> divide(const Operation& operation, int32_t threads) {
  const Range& whole = operation.whole;
  const int64_t chunks = chunks_for(operation.cost_ns, threads);
  if (chunks == 1) return {whole};
  const int64_t blocks = whole.block_end, pixels = whole.pixel_end;
  const bool by_pixels = pixels >= kLeastPixels * chunks || blocks == 1;
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

Chunk rows_chunk(const Program& program, size_t index, int64_t begin, int64_t end) {
  const Operation& operation = *program.operations()[index];
  Range range = operation.whole;
  range.pixel_begin = begin * operation.columns;
  range.pixel_end = end * operation.columns;
  return {index, range};
}

// Every lane has rows of the first operation and those of the second that need no others. The
// rows of the second at the borders of lanes come in a section of their own: so no row of the
// first is computed twice, and none is read while another lane writes it.
std::pair<Section, Section> interleave(const Program& program, size_t first, int32_t threads) {
  const Operation& head = *program.operations()[first];
  const Operation& tail = *program.operations()[first + 1];
  const Rows& rows = tail.follows;
  const int64_t head_rows = rows_of(head), tail_rows = rows_of(tail);
  const auto begin_of = [&](int64_t row) {
    return std::clamp<int64_t>(row * rows.stride - rows.top, 0, head_rows);
  };
  const auto end_of = [&](int64_t row) {
    return std::clamp<int64_t>(row * rows.stride - rows.top + rows.window, 0, head_rows);
  };
  const int64_t lanes =
      std::min(chunks_for(head.cost_ns + tail.cost_ns, threads), (tail_rows + 3) / 4);
  Section inside, borders;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const int64_t tail_end = part_of(tail_rows, lane + 1, lanes);
    const int64_t head_end = lane + 1 == lanes ? head_rows : begin_of(tail_end);
    int64_t row = part_of(tail_rows, lane, lanes), done = lane == 0 ? 0 : begin_of(row);
    std::vector<Chunk> chunks;
    while (row < tail_end && end_of(row) <= head_end) {
      int64_t next = std::min(row + rows.strip, tail_end);
      while (end_of(next - 1) > head_end) --next;
      if (end_of(next - 1) > done) {
        chunks.push_back(rows_chunk(program, first, done, end_of(next - 1)));
        done = end_of(next - 1);
      }
      chunks.push_back(rows_chunk(program, first + 1, row, next));
      row = next;
    }
    if (done < head_end) chunks.push_back(rows_chunk(program, first, done, head_end));
    if (row < tail_end) borders.lanes.push_back({rows_chunk(program, first + 1, row, tail_end)});
    inside.lanes.push_back(std::move(chunks));
  }
  return {std::move(inside), std::move(borders)};
}

}  // namespace

std::vector<Section> schedule(const Program& program, int32_t threads, bool in_rows) {
  const auto& operations = program.operations();
  std::vector<Section> sections;
  for (size_t i = 0; i < operations.size(); ++i) {
    if (in_rows && i + 1 < operations.size() && operations[i + 1]->follows.window > 0) {
      auto [inside, borders] = interleave(program, i, threads);
      sections.push_back(std::move(inside));
      if (!borders.lanes.empty()) sections.push_back(std::move(borders));
      ++i;
      continue;
    }
    if (sections.empty() || !operations[i]->joined) sections.emplace_back();
    for (const Range& range : divide(*operations[i], threads)) {
      sections.back().lanes.push_back({{i, range}});
    }
  }
  return sections;
}

}  // namespace bnnzoo
