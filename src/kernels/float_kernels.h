// Kernels over real numbers. See epilogue.h for how this file is included.
//
// Every output is summed in one order, whatever range of pixels a call covers: results do not
// depend on the number of threads.

struct RealProducts {
  using Op = Conv2d;
  using Input = float;
  using Weight = float;
  using Sum = Vector;
  static constexpr int step = 1;  // inputs from one product of a run to the next

  const Op& op;

  BNNZOO_INLINE explicit RealProducts(const Op& conv) : op(conv) {}
  BNNZOO_INLINE static int tile(int64_t left) { return next_tile(left, Vector::tile); }
  BNNZOO_INLINE static const float* weights(const Op& conv) { return conv.weights; }
  BNNZOO_INLINE Sum first(int64_t) const { return broadcast(0.0f); }
  BNNZOO_INLINE static Vector input(const float* from) { return broadcast(*from); }
  BNNZOO_INLINE static Vector weight(const float* from) { return load(from); }
  BNNZOO_INLINE static Sum add(Vector x, Vector w, Sum sum) { return multiply_add(x, w, sum); }
  BNNZOO_INLINE Vector value(Sum sum, int64_t) const { return sum; }
};

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

void conv2d(const Conv2d& op, const Range& range) { convolve<RealProducts>(op, range); }

template <class Compute, int vectors>
BNNZOO_INLINE void compute_each(const typename Compute::Op& op, Place at, int channels, int count,
                                float* values) {
  for (int p = 0; p < count; ++p, advance(at, 1, op.columns)) {
    Compute::template pixel<vectors>(op, at, channels, values + p * kBlock);
  }
}

// Computes pixels in as many vectors as hold the channels of a block, or up to twice as many: a map
// of 3 channels does not take the time of kBlock.
template <class Compute, int vectors = kVectors>
BNNZOO_INLINE void compute_pixels(const typename Compute::Op& op, const Place& at, int count,
                                  float* values) {
  constexpr int full = vectors * Vector::lanes;
  if constexpr (vectors > 1) {
    if (at.channels <= full / 2) {
      compute_pixels<Compute, vectors / 2>(op, at, count, values);
      return;
    }
  }
  if (at.channels == full) {
    compute_each<Compute, vectors>(op, at, full, count, values);  // without masks
  } else {
    compute_each<Compute, vectors>(op, at, at.channels, count, values);
  }
}

// Runs a kernel that computes one pixel at a time: `Compute::pixel` writes a block of the values.
template <class Compute>
BNNZOO_INLINE void run_pixels(const typename Compute::Op& op, const Range& range) {
  alignas(64) float values[kTile * kBlock] = {};
  for (int32_t block = range.block_begin; block < range.block_end; ++block) {
    Place at = place_of(range.pixel_begin, op.columns, block, op.channels);
    for (int64_t left = range.pixel_end - range.pixel_begin; left > 0;) {
      const int count = static_cast<int>(smaller(left, int64_t{kTile}));
      compute_pixels<Compute>(op, at, count, values);
      run_epilogue(op.epilogue, {values, at, op.columns, count});
      advance(at, count, op.columns);
      left -= count;
    }
  }
}

struct Depthwise {
  using Op = DepthwiseConv2d;

  template <int vectors>
  BNNZOO_INLINE static void pixel(const Op& op, const Place& at, int channels, float* values) {
    const float* input = op.input + at.y * op.row + at.x * op.pixel + at.block * kBlock;
    const float* weights = op.weights + at.block * kBlock;
    const int64_t padded = blocks_of(op.channels) * kBlock;
    Channels<vectors> sum = filled<vectors>(0.0f);
    for (int32_t tap = 0; tap < op.taps; ++tap, weights += padded) {
      const auto x = load_channels<vectors>(input + op.offsets[tap], channels);
#pragma GCC unroll 16
      for (int i = 0; i < vectors; ++i) {
        sum.part[i] = multiply_add(x.part[i], load(weights + i * Vector::lanes), sum.part[i]);
      }
    }
    store_all(values, sum);
  }
};

void depthwise_conv2d(const DepthwiseConv2d& op, const Range& range) {
  run_pixels<Depthwise>(op, range);
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
struct Pool {
  using Op = Pool2d;

  template <int vectors>
  BNNZOO_INLINE static void pixel(const Op& op, const Place& at, int channels, float* values) {
    const Window window = window_at(op, at.y, at.x);
    const float* block = op.input + at.block * kBlock;
    const float* first = block + window.top * op.row + window.left * op.pixel;
    Channels<vectors> v = maximum_wins ? load_channels<vectors>(first, channels)
                                       : filled<vectors>(0.0f);
    for (int32_t y = window.top; y < window.bottom; ++y) {
      for (int32_t x = window.left; x < window.right; ++x) {
        const auto other = load_channels<vectors>(block + y * op.row + x * op.pixel, channels);
#pragma GCC unroll 16
        for (int i = 0; i < vectors; ++i) {
          v.part[i] = maximum_wins ? maximum(v.part[i], other.part[i])
                                   : add(v.part[i], other.part[i]);
        }
      }
    }
    if (!maximum_wins) {
      const int32_t count = (window.bottom - window.top) * (window.right - window.left);
      const Vector divisor = broadcast(static_cast<float>(count));
#pragma GCC unroll 16
      for (int i = 0; i < vectors; ++i) v.part[i] = divide(v.part[i], divisor);
    }
    store_all(values, v);
  }
};

void pool2d(const Pool2d& op, const Range& range) {
  if (op.maximum) {
    run_pixels<Pool<true>>(op, range);
  } else {
    run_pixels<Pool<false>>(op, range);
  }
}

struct Copy {
  using Op = Elementwise;

  template <int vectors>
  BNNZOO_INLINE static void pixel(const Op& op, const Place& at, int channels, float* values) {
    const float* input = op.input + at.y * op.row + at.x * op.pixel + at.block * kBlock;
    store_all(values, load_channels<vectors>(input, channels));
  }
};

void elementwise(const Elementwise& op, const Range& range) { run_pixels<Copy>(op, range); }
