// Checks of arguments.
#pragma once

#include <stdexcept>
#include <string>

namespace bnnzoo {

// Throws std::invalid_argument, "<name> <rule>", unless it holds.
inline void require(bool holds, const char* name, const char* rule) {
  if (!holds) throw std::invalid_argument(std::string(name) + " " + rule + ".");
}

}  // namespace bnnzoo
