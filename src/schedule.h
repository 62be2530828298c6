// How the work of a program is divided among threads.
#pragma once

#include <cstdint>
#include <vector>

#include "program.h"

namespace bnnzoo {

struct Chunk {
  size_t operation;
  Range range;
};

// The operations between two joins of the threads, which run in any order and concurrently.
using Section = std::vector<Chunk>;

std::vector<Section> schedule(const Program& program, int32_t threads);

}  // namespace bnnzoo
