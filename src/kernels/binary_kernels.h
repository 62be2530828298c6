// Kernels over bits. See epilogue.h for how this file is included; it needs as well
//
//     constexpr int kPixels         most pixels that are counted together
//     size_t weights_bytes(int32_t channels, int32_t units)
//     template <int pixels>
//     void count_block(const Bconv2d&, const uint8_t* const* inputs, const uint8_t* weights,
//                      int channels, int32_t* counts)
//                                   counts (pixels, kBlock), over all planes; `inputs` at the first
//                                   tap of each pixel, `weights` of the block, with its channels

// values = count * scale + bias
BNNZOO_INLINE void scale_counts(const Bconv2d& op, const Place& at, const int32_t* counts,
                                float* values) {
  const float* scale = op.scale + at.block * kBlock;
  const float* bias = op.bias + at.block * kBlock;
  if (op.row_class != nullptr) {
    const int64_t of_class = int64_t{op.row_class[at.y]} * op.column_classes +
                             op.column_class[at.x];
    bias += of_class * blocks_of(op.channels) * kBlock;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; i += Vector::lanes) {
    const Vector count = load_integers(counts + i);
    store(values + i, multiply_add(count, load(scale + i), load(bias + i)));
  }
}

template <int pixels>
BNNZOO_INLINE void count_pixels(int count, const Bconv2d& op, const uint8_t* const* inputs,
                                const uint8_t* weights, int channels, int32_t* counts) {
  if constexpr (pixels > 1) {
    if (count < pixels) {
      count_pixels<pixels - 1>(count, op, inputs, weights, channels, counts);
      return;
    }
  }
  count_block<pixels>(op, inputs, weights, channels, counts);
}

// Counts a tile, kPixels at a time.
BNNZOO_INLINE void bconv2d_tile(const Bconv2d& op, const uint8_t* weights, const Tile& tile) {
  alignas(64) int32_t counts[kPixels * kBlock] = {};  // (kPixels, kBlock)
  Walk<const uint8_t> input = walk(op.input, op.row, op.pixel, tile.first, op.columns);
  Place at = tile.first;
  for (int done = 0; done < tile.count;) {
    const int count = next_tile(tile.count - done, kPixels);
    const uint8_t* inputs[kPixels];
    for (int p = 0; p < count; ++p, advance(input)) inputs[p] = input.at;
    count_pixels<kPixels>(count, op, inputs, weights, at.channels, counts);
    for (int p = 0; p < count; ++p, ++done, advance(at, 1, op.columns)) {
      scale_counts(op, at, counts + p * kBlock, tile.values + done * kBlock);
    }
  }
}

// The weights of one block stay in the cache while the pixels go by.
void bconv2d(const Bconv2d& op, const Range& range) {
  const int64_t block_bytes = static_cast<int64_t>(weights_bytes(kBlock, op.units));
  alignas(64) float values[kTile * kBlock];
  for (int32_t block = range.block_begin; block < range.block_end; ++block) {
    const uint8_t* weights = op.weights + block * block_bytes;
    Place at = place_of(range.pixel_begin, op.columns, block, op.channels);
    for (int64_t left = range.pixel_end - range.pixel_begin; left > 0;) {
      const int count = next_tile(left, kTile / kPixels * kPixels);
      const Tile tile = {values, at, op.columns, count};
      bconv2d_tile(op, weights, tile);
      run_epilogue(op.epilogue, tile);
      advance(at, count, op.columns);
      left -= count;
    }
  }
}

// The words at one byte of a window, which an instruction or two can hold together.
template <int words>
BNNZOO_INLINE void pool_words(const BMaxPool2d& op, const Window& window, const Place& at,
                              int32_t byte) {
  uint64_t all[words], any[words];
  for (int i = 0; i < words; ++i) {
    all[i] = ~uint64_t{0};
    any[i] = 0;
  }
  for (int32_t y = window.top; y < window.bottom; ++y) {
    const uint8_t* row = op.input + y * op.input_row + byte;
    for (int32_t x = window.left; x < window.right; ++x) {
      for (int i = 0; i < words; ++i) {
        const uint64_t word = load_word(row + x * op.input_pixel + 8 * i);
        all[i] &= word;
        any[i] |= word;
      }
    }
  }
  uint8_t* output = op.output + at.y * op.output_row + at.x * op.output_pixel + byte;
  for (int i = 0; i < words; ++i) {
    const uint64_t mask = load_word(op.mask + byte + 8 * i);
    store_word(output + 8 * i, (all[i] & mask) | (any[i] & ~mask));
  }
}

void bmax_pool2d(const BMaxPool2d& op, const Range& range) {
  Place at = place_of(range.pixel_begin, op.columns, 0, kBlock);
  for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i, advance(at, 1, op.columns)) {
    const Window window = window_at(op, at.y, at.x);
    int32_t byte = 0;
    for (; byte + 32 <= op.pixel_bytes; byte += 32) pool_words<4>(op, window, at, byte);
    for (; byte < op.pixel_bytes; byte += 8) pool_words<1>(op, window, at, byte);
  }
}
