// Every kernel of every instruction set of this CPU, against plain loops that share no code with
// it.
//   test_kernels [ISA]
#include <cstdio>
#include <set>

#include "kernel_test.h"

namespace bnnzoo::test {
namespace {

int failures = 0;
std::string current;

struct Test {
  const char* name;
  void (*run)(const Kernels&);
};

constexpr Test kTests[] = {
    {"steps", test_steps},
    {"bconv2d", test_bconv2d},
    {"bmax_pool2d", test_bmax_pool2d},
    {"conv2d", test_conv2d},
    {"int8_conv2d", test_int8_conv2d},
    {"depthwise_conv2d", test_depthwise_conv2d},
    {"pool2d", test_pool2d},
    {"elementwise", test_elementwise},
};

bool passes(const Test& test, const Kernels& isa) {
  current = std::string(test.name) + "_" + isa.name;
  const int before = failures;
  test.run(isa);
  std::printf("%s %s\n", failures == before ? "ok  " : "FAIL", current.c_str());
  return failures == before;
}

// Names are what users force an instruction set by, and "portable" is always there.
bool table_is_sound() {
  std::set<std::string> names;
  const Kernels* last = nullptr;
  for (const Kernels* const* isa = available_kernels(); *isa != nullptr; ++isa) {
    if (!names.insert((*isa)->name).second) return false;
    last = *isa;
  }
  return last != nullptr && std::string(last->name) == "portable";
}

int run_all(const std::string& only) {
  int passed = table_is_sound() ? 1 : 0, failed = 1 - passed;
  bool found = only.empty();
  for (const Kernels* const* isa = available_kernels(); *isa != nullptr; ++isa) {
    if (!only.empty() && only != (*isa)->name) continue;
    found = true;
    for (const Test& test : kTests) (passes(test, **isa) ? passed : failed)++;
  }
  if (!found) std::printf("instruction set '%s' is not available here\n", only.c_str());
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && found ? 0 : 1;
}

}  // namespace

void fail(const std::string& what) {
  if (++failures <= 20) std::printf("  %s: %s\n", current.c_str(), what.c_str());
}

}  // namespace bnnzoo::test

int main(int argc, char** argv) { return bnnzoo::test::run_all(argc > 1 ? argv[1] : ""); }
