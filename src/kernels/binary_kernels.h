// Kernels over bits. See epilogue.h for how this file is included; it needs as well
//
//     constexpr int kPixels         pixels that are counted together
//     size_t weights_bytes(int32_t channels, int32_t units)
//     void count_block(const Bconv2d&, const uint8_t* const inputs[kPixels],
//                      const uint8_t* weights, int channels, int32_t* counts)
//                                   counts (kPixels, kBlock), over all planes; `weights` of the
//                                   block, `inputs` at the first tap of each pixel

// v = count * scale + bias, then the steps.
BNNZOO_INLINE void finish_counts(const Bconv2d& op, const Place& at, const int32_t* counts) {
  const int64_t first = int64_t{at.block} * kBlock;
  const float* scale = op.scale + first;
  const float* bias = op.bias + first;
  if (op.row_class != nullptr) {
    const int64_t of_class = int64_t{op.row_class[at.y]} * op.column_classes +
                             op.column_class[at.x];
    bias += of_class * blocks_of(op.channels) * kBlock;
  }
  Block v;
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) {
    const int lane = i * Vector::lanes;
    v.part[i] = multiply_add(load_integers(counts + lane), load(scale + lane), load(bias + lane));
  }
  run_steps(op.steps, op.step_count, at, v);
}

// The weights of one block stay in the cache while the pixels go by. The last pixels of a range
// are filled up with repetitions of the last one, whose counts are not used.
void bconv2d(const Bconv2d& op, const Range& range) {
  const int64_t block_bytes = static_cast<int64_t>(weights_bytes(kBlock, op.units));
  alignas(64) int32_t counts[kPixels * kBlock] = {};  // (kPixels, kBlock)
  for (int32_t block = range.block_begin; block < range.block_end; ++block) {
    const uint8_t* weights = op.weights + block * block_bytes;
    Place at = place_of(range.pixel_begin, op.columns, block, op.channels);
    for (int64_t pixel = range.pixel_begin; pixel < range.pixel_end; pixel += kPixels) {
      const int count = static_cast<int>(smaller(range.pixel_end - pixel, int64_t{kPixels}));
      const uint8_t* inputs[kPixels];
      Place next = at;
      for (int p = 0; p < kPixels; ++p) {
        inputs[p] = op.input + next.y * op.row + next.x * op.pixel;
        if (p + 1 < count) advance(next, op.columns);
      }
      count_block(op, inputs, weights, at.channels, counts);
      for (int p = 0; p < count; ++p, advance(at, op.columns)) {
        finish_counts(op, at, counts + p * kBlock);
      }
    }
  }
}

// 64 bits of a window. Pixels are whole words.
BNNZOO_INLINE uint64_t pool_word(const BMaxPool2d& op, const Window& window, int32_t byte) {
  uint64_t all = ~uint64_t{0}, any = 0;
  for (int32_t y = window.top; y < window.bottom; ++y) {
    const uint8_t* row = op.input + y * op.input_row + byte;
    for (int32_t x = window.left; x < window.right; ++x) {
      const uint64_t word = load_word(row + x * op.input_pixel);
      all &= word;
      any |= word;
    }
  }
  const uint64_t mask = load_word(op.mask + byte);
  return (all & mask) | (any & ~mask);
}

void bmax_pool2d(const BMaxPool2d& op, const Range& range) {
  Place at = place_of(range.pixel_begin, op.columns, 0, kBlock);
  for (int64_t i = range.pixel_begin; i < range.pixel_end; ++i, advance(at, op.columns)) {
    const Window window = window_at(op, at.y, at.x);
    uint8_t* output = op.output + at.y * op.output_row + at.x * op.output_pixel;
    for (int32_t byte = 0; byte < op.pixel_bytes; byte += 8) {
      store_word(output + byte, pool_word(op, window, byte));
    }
  }
}
