// Every chunk runs once, whoever else uses the pool; scripts/test_native.sh runs this under TSan.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "thread_pool.h"

namespace {

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// Plain integers: two threads with one chunk would be a race.
void every_chunk_runs_once(bnnzoo::ThreadPool& pool, int64_t chunks) {
  std::vector<int> runs(static_cast<size_t>(chunks));
  auto body = [&](int64_t i) { ++runs[static_cast<size_t>(i)]; };
  pool.run(chunks, body);
  for (int count : runs) check(count == 1, "every chunk runs once");
}

// What one section writes is read by the next, on whichever thread.
void sections_see_each_other(bnnzoo::ThreadPool& pool) {
  constexpr int64_t kChunks = 7;
  std::vector<int64_t> values(kChunks), next(kChunks);
  for (int64_t round = 0; round < 500; ++round) {
    auto rotate = [&](int64_t i) {
      next[static_cast<size_t>(i)] = values[static_cast<size_t>((i + 1) % kChunks)] + 1;
    };
    pool.run(kChunks, rotate);
    values.swap(next);
  }
  for (int64_t value : values) check(value == 500, "a section sees the one before");
}

void several_callers(bnnzoo::ThreadPool& pool) {
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&pool] {
      for (int round = 0; round < 200; ++round) every_chunk_runs_once(pool, 1 + round % 9);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

void workers_that_sleep_wake_up(bnnzoo::ThreadPool& pool) {
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    every_chunk_runs_once(pool, 5);
  }
}

}  // namespace

int main() {
  for (int32_t threads : {1, 2, 3, 8}) {
    bnnzoo::ThreadPool pool(threads);
    check(pool.threads() == threads, "the pool has its threads");
    for (int64_t chunks : {0, 1, 2, 3, 100, 65535, 65536, 200000}) {
      every_chunk_runs_once(pool, chunks);
    }
    sections_see_each_other(pool);
    several_callers(pool);
    workers_that_sleep_wake_up(pool);
  }
  for (int i = 0; i < 200; ++i) std::make_unique<bnnzoo::ThreadPool>(4);  // ends at once
  std::puts("ok");
}
