// Kernels over real numbers. See epilogue.h for how this file is included.
//
// Every output is summed in one order, whatever range of pixels a call covers: results do not
// depend on the number of threads.

// conv2d multiplies `Vector::tile` pixels of one output row by kPass channels at a time: two
// vectors of weights and one broadcast input serve 2 * tile multiply-adds, and tile is the most
// whose sums fit into the registers.
constexpr int kPass = 2 * Vector::lanes;

// Weights of conv2d: (blocks, passes, k, kPass), zeros beyond `channels`.
size_t real_weights_floats(int32_t channels, int32_t k) {
  return static_cast<size_t>(blocks_of(channels)) * kBlock * static_cast<size_t>(k);
}

void pack_real_weights(const float* kernel, int32_t channels, int32_t k, float* out) {
  const int64_t padded = blocks_of(channels) * kBlock;
  for (int64_t first = 0; first < padded; first += kPass) {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t channel = first; channel < first + kPass; ++channel) {
        *out++ = channel < channels ? kernel[channel * k + i] : 0.0f;
      }
    }
  }
}

// One tile: sums (pixels, kBlock) of `vectors` vectors of one pass.
//
// The inputs of pixel p are at x + p * stride. Five multiples of the stride and three bases reach
// 15 pixels, which leaves registers for the rest; one pointer a pixel would not. A function of its
// own for each size, so that the sums are registers too.
template <int pixels, int vectors>
BNNZOO_NOINLINE void multiply_tile(const Conv2d& op, const float* input, const float* weights,
                                   float* sums) {
  Vector sum[pixels][vectors];
#pragma GCC unroll 16
  for (int p = 0; p < pixels; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[p][v] = broadcast(0.0f);
  }
  const int64_t stride = op.pixel;
  for (int32_t run = 0; run < op.runs; ++run) {
    const float* base[3];
    base[0] = input + op.offsets[run];
    base[1] = base[0] + (pixels > 5 ? 5 * stride : 0);
    base[2] = base[0] + (pixels > 10 ? 10 * stride : 0);
    for (int32_t k = 0; k < op.run_length; ++k, weights += kPass) {
      Vector weight[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) weight[v] = load(weights + v * Vector::lanes);
#pragma GCC unroll 16
      for (int p = 0; p < pixels; ++p) {
        const Vector x = broadcast(base[p / 5][p % 5 * stride + k]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[p][v] = multiply_add(x, weight[v], sum[p][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < pixels; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) store(sums + p * kBlock + v * Vector::lanes, sum[p][v]);
  }
}

// One pixel, a whole block at once: more sums in flight than one pass has hide the latency of the
// multiply-add.
BNNZOO_NOINLINE void multiply_pixel(const Conv2d& op, const float* input, const float* weights,
                                    float* sums) {
  Block sum = filled(0.0f);
  const int64_t pass_floats = int64_t{op.runs} * op.run_length * kPass;
  for (int32_t run = 0; run < op.runs; ++run) {
    const float* from = input + op.offsets[run];
    for (int32_t k = 0; k < op.run_length; ++k, weights += kPass) {
      const Vector x = broadcast(from[k]);
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; ++i) {
        const float* weight = weights + i / 2 * pass_floats + i % 2 * Vector::lanes;
        sum.part[i] = multiply_add(x, load(weight), sum.part[i]);
      }
    }
  }
  store_all(sums, sum);
}

template <int vectors, int pixels>
BNNZOO_INLINE void multiply_pass(int count, const Conv2d& op, const float* input,
                                 const float* weights, float* sums) {
  if constexpr (pixels > 1) {
    if (count < pixels) {
      multiply_pass<vectors, pixels - 1>(count, op, input, weights, sums);
      return;
    }
  }
  multiply_tile<pixels, vectors>(op, input, weights, sums);
}

// sums (count, kBlock), of the passes that have channels.
BNNZOO_INLINE void multiply_block(const Conv2d& op, int count, const float* input,
                                  const float* weights, int channels, float* sums) {
  if (count == 1) {
    multiply_pixel(op, input, weights, sums);
    return;
  }
  const int64_t pass_floats = int64_t{op.runs} * op.run_length * kPass;
  for (int first = 0; first < channels; first += kPass, weights += pass_floats) {
    if (channels - first > Vector::lanes) {
      multiply_pass<2, Vector::tile>(count, op, input, weights, sums + first);
    } else {
      multiply_pass<1, Vector::tile>(count, op, input, weights, sums + first);
    }
  }
}

void conv2d(const Conv2d& op, const Range& range) {
  // Rows that follow each other without a gap are one long row.
  const bool one_row = op.row == op.columns * op.pixel;
  const int64_t block_floats = int64_t{op.runs} * op.run_length * kBlock;
  alignas(64) float values[Vector::tile * kBlock] = {};
  for (int32_t block = range.block_begin; block < range.block_end; ++block) {
    const float* weights = op.weights + block * block_floats;
    Place at = place_of(range.pixel_begin, op.columns, block, op.channels);
    for (int64_t left = range.pixel_end - range.pixel_begin; left > 0;) {
      const int64_t in_row = one_row ? left : smaller(left, op.columns - at.x);
      const int count = next_tile(in_row, Vector::tile);
      const float* input = op.input + at.y * op.row + at.x * op.pixel;
      multiply_block(op, count, input, weights, at.channels, values);
      run_steps(op.steps, op.step_count, {values, at, op.columns, count});
      advance(at, count, op.columns);
      left -= count;
    }
  }
}

// Runs a kernel that computes one pixel at a time: `compute` writes a block of the values.
template <typename Op, void (*compute)(const Op&, const Place&, float*)>
BNNZOO_INLINE void run_pixels(const Op& op, const Range& range) {
  alignas(64) float values[kTile * kBlock];
  for (int32_t block = range.block_begin; block < range.block_end; ++block) {
    Place at = place_of(range.pixel_begin, op.columns, block, op.channels);
    for (int64_t left = range.pixel_end - range.pixel_begin; left > 0;) {
      const Place first = at;
      const int count = static_cast<int>(smaller(left, int64_t{kTile}));
      for (int p = 0; p < count; ++p, advance(at, 1, op.columns)) {
        compute(op, at, values + p * kBlock);
      }
      run_steps(op.steps, op.step_count, {values, first, op.columns, count});
      left -= count;
    }
  }
}

BNNZOO_INLINE void depthwise_pixel(const DepthwiseConv2d& op, const Place& at, float* values) {
  const float* input = op.input + at.y * op.row + at.x * op.pixel + at.block * kBlock;
  const float* weights = op.weights + at.block * kBlock;
  const int64_t padded = blocks_of(op.channels) * kBlock;
  Block sum = filled(0.0f);
  for (int32_t tap = 0; tap < op.taps; ++tap, weights += padded) {
    const Block x = load_block(input + op.offsets[tap], at.channels);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      sum.part[i] = multiply_add(x.part[i], load(weights + i * Vector::lanes), sum.part[i]);
    }
  }
  store_all(values, sum);
}

void depthwise_conv2d(const DepthwiseConv2d& op, const Range& range) {
  run_pixels<DepthwiseConv2d, depthwise_pixel>(op, range);
}

// The part of a window that is inside the image.
struct Window {
  int32_t top, bottom, left, right;  // bottom and right are excluded
};

template <typename Pool>
BNNZOO_INLINE Window window_at(const Pool& op, int64_t y, int64_t x) {
  const int32_t top = static_cast<int32_t>(y) * op.stride_h - op.top;
  const int32_t left = static_cast<int32_t>(x) * op.stride_w - op.left;
  return {larger(top, 0), smaller(top + op.pool_h, op.height), larger(left, 0),
          smaller(left + op.pool_w, op.width)};
}

template <bool maximum_wins>
BNNZOO_INLINE void pool_pixel(const Pool2d& op, const Place& at, float* values) {
  const Window window = window_at(op, at.y, at.x);
  const float* block = op.input + at.block * kBlock;
  const float* first = block + window.top * op.row + window.left * op.pixel;
  Block v = maximum_wins ? load_block(first, at.channels) : filled(0.0f);
  for (int32_t y = window.top; y < window.bottom; ++y) {
    for (int32_t x = window.left; x < window.right; ++x) {
      const Block other = load_block(block + y * op.row + x * op.pixel, at.channels);
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; ++i) {
        v.part[i] = maximum_wins ? maximum(v.part[i], other.part[i])
                                 : add(v.part[i], other.part[i]);
      }
    }
  }
  if (!maximum_wins) {
    const int32_t count = (window.bottom - window.top) * (window.right - window.left);
    const Vector divisor = broadcast(static_cast<float>(count));
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) v.part[i] = divide(v.part[i], divisor);
  }
  store_all(values, v);
}

void pool2d(const Pool2d& op, const Range& range) {
  if (op.maximum) {
    run_pixels<Pool2d, pool_pixel<true>>(op, range);
  } else {
    run_pixels<Pool2d, pool_pixel<false>>(op, range);
  }
}

BNNZOO_INLINE void copy_pixel(const Elementwise& op, const Place& at, float* values) {
  const float* input = op.input + at.y * op.row + at.x * op.pixel + at.block * kBlock;
  store_all(values, load_block(input, at.channels));
}

void elementwise(const Elementwise& op, const Range& range) {
  run_pixels<Elementwise, copy_pixel>(op, range);
}
