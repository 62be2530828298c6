// Threads that share the chunks of one parallel section.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace bnnzoo {

// The caller takes chunks like the workers, and waits for chunks, never for workers: a worker that
// gets no processor costs nothing. Each thread begins with its own chunks, the same ones in every
// section, because their data from the section before is in its cache; then it takes chunks that
// others have not begun. Idle workers spin briefly, then sleep.
class ThreadPool {
 public:
  // `threads`, at least 1, includes the caller; the system may grant fewer.
  explicit ThreadPool(int32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t threads() const { return threads_; }

  // Calls body(i) once for every i < chunks, and returns when all are done. While another thread
  // runs a section, and in a forked child, the caller does everything itself. `body` must not
  // throw.
  template <class Body>
  void run(int64_t chunks, Body& body) {
    run(chunks, [](void* context, int64_t chunk) { (*static_cast<Body*>(context))(chunk); }, &body);
  }

 private:
  using Function = void (*)(void* context, int64_t chunk);

  bool forked() const;
  void run(int64_t chunks, Function function, void* context);
  void run_section(uint32_t chunks);
  void take_chunks(int32_t thread);
  void take_chunks_of(int32_t owner);
  void work(int32_t thread);
  bool wait_for_section(uint32_t* seen);

  // The chunks that a thread begins with: section number (32 bits), one past the last (16), the
  // next (16). One word, so that a claim is one compare-and-swap and cannot hit the next section.
  struct alignas(64) Share {
    std::atomic<uint64_t> state{0};
  };

  // What a forked child, which has no workers, must not touch.
  struct Workers {
    std::mutex sleep;
    std::condition_variable wake;
    std::vector<std::thread> threads;
  };

  int32_t threads_ = 1;          // constant once the constructor is done
  const uint32_t forks_;         // before this pool was made
  std::mutex section_;           // held by the caller whose section runs
  Function function_ = nullptr;  // of the section; read after a chunk of it was claimed
  void* context_ = nullptr;
  int64_t first_chunk_ = 0;

  std::atomic<uint32_t> section_number_{0};
  std::unique_ptr<Share[]> shares_;  // (threads)
  std::atomic<uint32_t> done_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::unique_ptr<Workers> workers_;
};

}  // namespace bnnzoo
