// Memory for parameters and arenas.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace bnnzoo {

// Zeroed bytes, aligned to 64. Pages that are never written need no memory.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(size_t bytes) : block_(std::calloc(bytes + kSlack, 1)) {
    if (block_ == nullptr) throw std::bad_alloc();
    const auto address = reinterpret_cast<uintptr_t>(block_);
    data_ = static_cast<uint8_t*>(block_) + (64 - address % 64) % 64;
  }
  ~AlignedBuffer() { std::free(block_); }
  AlignedBuffer(AlignedBuffer&& other) noexcept : block_(other.block_), data_(other.data_) {
    other.block_ = nullptr;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  uint8_t* data() const { return data_; }

 private:
  static constexpr size_t kSlack = 64;  // for the alignment
  void* block_;
  uint8_t* data_;
};

}  // namespace bnnzoo
