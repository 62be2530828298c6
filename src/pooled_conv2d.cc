#include "pooled_conv2d.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "bound_epilogue.h"

namespace bnnzoo {
namespace {

// Size of the rows of a strip, which should fit in a second-level cache.
constexpr int64_t kStripBytes = 1 << 16;

// The rows of the map that rows of the pooling need; some may be outside of it.
struct Rows {
  int64_t stride, top, window, height;

  int64_t begin(int64_t row) const { return inside(row * stride - top); }
  int64_t end(int64_t row) const { return inside(row * stride - top + window); }
  int64_t inside(int64_t row) const { return std::clamp<int64_t>(row, 0, height); }
};

// The state of one thread.
struct Tile {
  AlignedBuffer memory;
  int64_t base, done;  // the rows of the map that it holds
  std::vector<Step> conv_epilogue, pool_epilogue;

  float* data() { return reinterpret_cast<float*>(memory.data()); }
};

template <class Conv>
class BoundPooledConv2d final : public BoundOperation {
 public:
  using Run = void (*)(const Conv&, const Range&);

  BoundPooledConv2d(const Kernels& kernels, const Conv& conv, Run run,
                    std::vector<Step> conv_epilogue, const Pool2d& pool,
                    std::vector<Step> pool_epilogue, int32_t threads)
      : kernels_(kernels),
        conv_(conv),
        run_conv_(run),
        pool_(pool),
        pool_epilogue_(std::move(pool_epilogue)),
        rows_{pool.window.stride_h, pool.window.top, pool.window.pool_h, pool.window.height},
        row_floats_(int64_t{conv.extent.columns} * conv.extent.channels),
        strip_(std::max<int64_t>(1, kStripBytes / (4 * row_floats_ * pool.window.stride_h))) {
    Step store{};
    store.kind = StepKind::store;
    store.row = row_floats_;
    store.pixel = conv.extent.channels;
    conv_epilogue.push_back(store);
    pool_.row = row_floats_;
    pool_.pixel = conv.extent.channels;
    const int64_t tile_rows =
        std::min<int64_t>((strip_ - 1) * rows_.stride + rows_.window, rows_.height);
    const auto bytes = static_cast<size_t>(tile_rows * row_floats_) * sizeof(float);
    tiles_.reserve(static_cast<size_t>(threads));
    free_.reserve(static_cast<size_t>(threads));
    for (int32_t i = 0; i < threads; ++i) {
      tiles_.push_back({AlignedBuffer(bytes), 0, 0, conv_epilogue, pool_epilogue_});
      free_.push_back(&tiles_.back());
    }
  }

  void run(const Range& range) const override {
    Tile& tile = *take_tile();
    tile.base = tile.done = rows_.begin(range.pixel_begin);
    for (int64_t row = range.pixel_begin; row < range.pixel_end;) {
      const int64_t end = std::min(row + strip_, range.pixel_end);
      keep_from(tile, rows_.begin(row));
      convolve_to(tile, rows_.end(end - 1));
      pool(tile, row, end);
      row = end;
    }
    give_back(&tile);
  }

 private:
  // Moves the rows that are needed again to the start of the tile.
  void keep_from(Tile& tile, int64_t row) const {
    if (row < tile.done) {
      std::memmove(tile.data(), tile.data() + (row - tile.base) * row_floats_,
                   static_cast<size_t>((tile.done - row) * row_floats_) * sizeof(float));
    }
    tile.base = row;
    tile.done = std::max(tile.done, row);
  }

  void convolve_to(Tile& tile, int64_t end) const {
    if (end <= tile.done) return;
    Conv conv = conv_;
    conv.input += tile.done * conv.row;
    conv.extent.rows = static_cast<int32_t>(end - tile.done);
    tile.conv_epilogue.back().view = tile.data() + (tile.done - tile.base) * row_floats_;
    conv.epilogue = as_epilogue(tile.conv_epilogue);
    const int32_t blocks = (conv.extent.channels + kernels_.real_block - 1) / kernels_.real_block;
    run_conv_(conv, {0, blocks, 0, int64_t{conv.extent.rows} * conv.extent.columns});
    tile.done = end;
  }

  // The tile is the map: its first row is as far from the first window as `base` is.
  void pool(Tile& tile, int64_t row, int64_t end) const {
    for (size_t i = 0; i < pool_epilogue_.size(); ++i) {
      const Step& step = pool_epilogue_[i];
      const int64_t bytes = step.row * (writes_bits(step.kind) ? 1 : 4);
      tile.pool_epilogue[i].view = static_cast<uint8_t*>(step.view) + row * bytes;
    }
    Pool2d pool = pool_;
    pool.input = tile.data();
    pool.window.height = static_cast<int32_t>(tile.done - tile.base);
    pool.window.top = static_cast<int32_t>(rows_.top + tile.base - row * rows_.stride);
    pool.extent.rows = static_cast<int32_t>(end - row);
    pool.epilogue = as_epilogue(tile.pool_epilogue);
    const int32_t blocks = (pool.extent.channels + kBlock - 1) / kBlock;
    kernels_.pool2d(pool, {0, blocks, 0, int64_t{pool.extent.rows} * pool.extent.columns});
  }

  Tile* take_tile() const {
    std::lock_guard<std::mutex> lock(mutex_);
    Tile* tile = free_.back();
    free_.pop_back();
    return tile;
  }
  void give_back(Tile* tile) const {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(tile);
  }

  const Kernels& kernels_;
  Conv conv_;
  Run run_conv_;
  Pool2d pool_;
  const std::vector<Step> pool_epilogue_;
  const Rows rows_;
  const int64_t row_floats_;
  const int64_t strip_;  // rows of the pooling
  std::vector<Tile> tiles_;
  mutable std::mutex mutex_;
  mutable std::vector<Tile*> free_;
};

template <class Conv>
class PooledConv2d final : public Operation {
 public:
  using Run = void (*)(const Conv&, const Range&);

  PooledConv2d(const Kernels& kernels, const Conv& conv, Run run, EpilogueSpec conv_epilogue,
               const Operands& operands, const Pool2d& pool, EpilogueSpec pool_epilogue)
      : kernels_(kernels),
        conv_(conv),
        run_(run),
        conv_epilogue_(std::move(conv_epilogue)),
        operands_(operands),
        pool_(pool),
        pool_epilogue_(std::move(pool_epilogue)) {}

  std::unique_ptr<BoundOperation> bind(uint8_t* arena, int32_t threads) const override {
    Conv conv = conv_;
    bind_operands(conv, arena, operands_);
    return std::make_unique<BoundPooledConv2d<Conv>>(kernels_, conv, run_,
                                                     bind_epilogue(conv_epilogue_, arena), pool_,
                                                     bind_epilogue(pool_epilogue_, arena), threads);
  }

 private:
  const Kernels& kernels_;
  Conv conv_;
  Run run_;
  EpilogueSpec conv_epilogue_;
  Operands operands_;
  Pool2d pool_;
  EpilogueSpec pool_epilogue_;
};

}  // namespace

template <class Conv>
std::unique_ptr<Operation> make_pooled_conv2d(const Kernels& kernels, const Conv& conv,
                                              void (*run)(const Conv&, const Range&),
                                              EpilogueSpec conv_epilogue, const Operands& operands,
                                              const Pool2d& pool, EpilogueSpec pool_epilogue) {
  return std::make_unique<PooledConv2d<Conv>>(kernels, conv, run, std::move(conv_epilogue),
                                              operands, pool, std::move(pool_epilogue));
}
template std::unique_ptr<Operation> make_pooled_conv2d(const Kernels&, const Conv2d&,
                                                       void (*)(const Conv2d&, const Range&),
                                                       EpilogueSpec, const Operands&, const Pool2d&,
                                                       EpilogueSpec);
template std::unique_ptr<Operation> make_pooled_conv2d(const Kernels&, const Int8Conv2d&,
                                                       void (*)(const Int8Conv2d&, const Range&),
                                                       EpilogueSpec, const Operands&, const Pool2d&,
                                                       EpilogueSpec);

}  // namespace bnnzoo
