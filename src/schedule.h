// How the work of a program is divided among threads, and in which order one thread does it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "program.h"

namespace bnnzoo {

struct Chunk {
  size_t operation;
  Range range;
};

// What runs between two joins of the threads: lanes at the same time, the chunks of a lane in
// order.
struct Section {
  std::vector<std::vector<Chunk>> lanes;
};

// With `in_rows`, an operation that follows the one before it row by row runs between rows of that
// one, which are still in the cache then.
std::vector<Section> schedule(const Program& program, int32_t threads, bool in_rows);

}  // namespace bnnzoo
