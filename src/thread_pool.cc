#include "thread_pool.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include <algorithm>
#include <exception>

#include "denormals.h"

namespace bnnzoo {
namespace {

// Tens of microseconds, longer than the time between two sections of an image.
constexpr int kSpins = 2000;
constexpr int64_t kMaxChunks = 65535;

// Number of forks between the process that loaded the library and this one. Unlike a process id, it
// always differs between a parent and its descendants. Windows has no forks.
std::atomic<uint32_t> forks{0};
#if !defined(_WIN32)
[[maybe_unused]] const int counted = pthread_atfork(nullptr, nullptr, [] { ++forks; });
#endif

uint32_t end_of(uint64_t state) { return static_cast<uint32_t>(state >> 16) & 0xffff; }
uint32_t next_of(uint64_t state) { return static_cast<uint32_t>(state) & 0xffff; }

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int32_t threads)
    : forks_(forks),
      shares_(std::make_unique<Share[]>(static_cast<size_t>(std::max(threads, 1)))),
      workers_(std::make_unique<Workers>()) {
  std::vector<std::thread>& started = workers_->threads;
  started.reserve(static_cast<size_t>(std::max(threads, 1)));
  try {
    for (; threads_ < threads; ++threads_) {
      started.emplace_back([this, i = threads_] { work(i); });
    }
  } catch (const std::exception&) {  // no thread or no memory for one is available
  }
}

ThreadPool::~ThreadPool() {
  if (forked()) {
    // The workers are the parent's. Destroying the objects on which they sleep would wait for them
    // forever, and the memory of a thread may be gone.
    static_cast<void>(workers_.release());
    return;
  }
  stop_ = true;
  {
    std::lock_guard<std::mutex> lock(workers_->sleep);
    workers_->wake.notify_all();
  }
  for (std::thread& worker : workers_->threads) worker.join();
}

bool ThreadPool::forked() const { return forks_ != forks.load(std::memory_order_relaxed); }

void ThreadPool::run(int64_t chunks, Function function, void* context) {
  std::unique_lock<std::mutex> section(section_, std::defer_lock);
  // A fork may have copied `section_` locked: a child does not touch it.
  if (threads_ == 1 || chunks < 2 || forked() || !section.try_lock()) {
    for (int64_t i = 0; i < chunks; ++i) function(context, i);
    return;
  }
  function_ = function;
  context_ = context;
  for (first_chunk_ = 0; first_chunk_ < chunks; first_chunk_ += kMaxChunks) {
    run_section(static_cast<uint32_t>(std::min(chunks - first_chunk_, kMaxChunks)));
  }
}

void ThreadPool::run_section(uint32_t chunks) {
  const uint32_t number = section_number_.load() + 1;
  const auto threads = static_cast<uint32_t>(threads_);
  done_.store(0);
  for (uint32_t i = 0; i < threads; ++i) {
    const uint64_t begin = uint64_t{chunks} * i / threads,
                   end = uint64_t{chunks} * (i + 1) / threads;
    shares_[i].state.store(uint64_t{number} << 32 | end << 16 | begin);
  }
  section_number_.store(number);
  // A worker counts itself as a sleeper before it reads the number for the last time, so that
  // either it sees this section or it is seen here.
  if (sleepers_.load() > 0) {
    std::lock_guard<std::mutex> lock(workers_->sleep);
    workers_->wake.notify_all();
  }
  take_chunks(0);
  for (int spins = 0; done_.load(std::memory_order_acquire) < chunks;) {
    if (++spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();  // the awaited worker may need this processor
    }
  }
}

void ThreadPool::take_chunks(int32_t thread) {
  for (int32_t i = 0; i < threads_; ++i) take_chunks_of((thread + i) % threads_);
}

void ThreadPool::take_chunks_of(int32_t owner) {
  std::atomic<uint64_t>& share = shares_[static_cast<size_t>(owner)].state;
  uint64_t state = share.load(std::memory_order_acquire);
  while (next_of(state) < end_of(state)) {
    if (share.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
      function_(context_, first_chunk_ + next_of(state));
      done_.fetch_add(1, std::memory_order_release);
      state = share.load(std::memory_order_acquire);
    }
  }
}

void ThreadPool::work(int32_t thread) {
  DenormalsAsZero scope;
  uint32_t seen = 0;
  while (wait_for_section(&seen)) take_chunks(thread);
}

// Returns false when the pool ends.
bool ThreadPool::wait_for_section(uint32_t* seen) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (section_number_.load(std::memory_order_acquire) != *seen || stop_) break;
    pause();
  }
  if (section_number_.load() == *seen && !stop_) {
    std::unique_lock<std::mutex> lock(workers_->sleep);
    sleepers_.fetch_add(1);
    workers_->wake.wait(lock, [&] { return stop_ || section_number_.load() != *seen; });
    sleepers_.fetch_sub(1);
  }
  *seen = section_number_.load();
  return !stop_;
}

}  // namespace bnnzoo
