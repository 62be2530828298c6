// What a convolution is made of, of real numbers and in 8 bits alike: tiles of products. See
// epilogue.h for how this file is included.
//
// `Products` is what is multiplied:
//
//     Op, Input, Weight, Sum       the operation, and types
//     step                         inputs from one product of a run to the next
//     tile(left)                   pixels to multiply next, of `left` in a row; at most kTile
//     Products(op), op
//     weights(op)                  (blocks, passes, products, kPass) weights
//     first(channel)               what sums of a vector of channels begin with
//     input(from), weight(from)    one input in all lanes, a weight per lane
//     add(input, weight, sum)
//     value(sum, channel)          as real numbers
//
// A pass is of kPass channels. Tiles are of up to `Vector::tile` pixels of one output row: two vectors
// of weights and one broadcast input serve 2 * tile products, and tile is the most whose sums fit into
// the registers.
constexpr int kPass = 2 * Vector::lanes;

// One tile: values (pixels, kBlock) of `vectors` vectors of one pass, from `channel` on.
//
// The inputs of pixel p are at x + p * stride. Five multiples of the stride and three bases reach
// 15 pixels, which leaves registers for the rest; one pointer a pixel would not. A function of its
// own for each size, so that the sums are registers too.
template <class Products, int pixels, int vectors>
BNNZOO_NOINLINE void multiply_tile(const Products& products, const typename Products::Input* input,
                                   const typename Products::Weight* weights, int64_t channel,
                                   float* values) {
  const auto& op = products.op;
  typename Products::Sum sum[pixels][vectors];
#pragma GCC unroll 16
  for (int p = 0; p < pixels; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[p][v] = products.first(channel + v * Vector::lanes);
  }
  const int64_t stride = op.pixel;
  for (int32_t run = 0; run < op.runs; ++run) {
    const typename Products::Input* base[3];
    base[0] = input + op.offsets[run];
    base[1] = base[0] + (pixels > 5 ? 5 * stride : 0);
    base[2] = base[0] + (pixels > 10 ? 10 * stride : 0);
    const int64_t end = int64_t{op.run_length} * Products::step;
    for (int64_t k = 0; k < end; k += Products::step, weights += kPass) {
      decltype(Products::weight(weights)) weight[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) weight[v] = Products::weight(weights + v * Vector::lanes);
#pragma GCC unroll 16
      for (int p = 0; p < pixels; ++p) {
        const auto x = Products::input(base[p / 5] + p % 5 * stride + k);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[p][v] = Products::add(x, weight[v], sum[p][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < pixels; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      store(values + p * kBlock + v * Vector::lanes,
            products.value(sum[p][v], channel + v * Vector::lanes));
    }
  }
}

// One pixel, a whole block at once: more sums in flight than one pass has hide the latency of the
// products.
template <class Products>
BNNZOO_NOINLINE void multiply_pixel(const Products& products, const typename Products::Input* input,
                                    const typename Products::Weight* weights, int64_t channel,
                                    float* values) {
  const auto& op = products.op;
  typename Products::Sum sum[kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) sum[i] = products.first(channel + i * Vector::lanes);
  const int64_t pass_weights = int64_t{op.runs} * op.run_length * kPass;
  for (int32_t run = 0; run < op.runs; ++run) {
    const typename Products::Input* from = input + op.offsets[run];
    for (int32_t k = 0; k < op.run_length; ++k, weights += kPass, from += Products::step) {
      const auto x = Products::input(from);
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; ++i) {
        const auto* weight = weights + i / 2 * pass_weights + i % 2 * Vector::lanes;
        sum[i] = Products::add(x, Products::weight(weight), sum[i]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) {
    store(values + i * Vector::lanes, products.value(sum[i], channel + i * Vector::lanes));
  }
}

template <class Products, int vectors, int pixels>
BNNZOO_INLINE void multiply_pass(int count, const Products& products,
                                 const typename Products::Input* input,
                                 const typename Products::Weight* weights, int64_t channel,
                                 float* values) {
  if constexpr (pixels > 1) {
    if (count < pixels) {
      multiply_pass<Products, vectors, pixels - 1>(count, products, input, weights, channel, values);
      return;
    }
  }
  multiply_tile<Products, pixels, vectors>(products, input, weights, channel, values);
}

// values (count, kBlock), of the passes that have channels.
template <class Products>
BNNZOO_INLINE void multiply_block(const Products& products, int count,
                                  const typename Products::Input* input,
                                  const typename Products::Weight* weights, const Place& at,
                                  float* values) {
  const int64_t channel = int64_t{at.block} * kBlock;
  if (count == 1) {
    multiply_pixel(products, input, weights, channel, values);
    return;
  }
  const int64_t pass_weights = int64_t{products.op.runs} * products.op.run_length * kPass;
  for (int first = 0; first < at.channels; first += kPass, weights += pass_weights) {
    if (at.channels - first > Vector::lanes) {
      multiply_pass<Products, 2, Vector::tile>(count, products, input, weights, channel + first,
                                               values + first);
    } else {
      multiply_pass<Products, 1, Vector::tile>(count, products, input, weights, channel + first,
                                               values + first);
    }
  }
}

template <class Products>
BNNZOO_INLINE void convolve(const typename Products::Op& op, const Range& range) {
  const Products products(op);
  // Rows that follow each other without a gap are one long row.
  const bool one_row = op.row == op.columns * op.pixel;
  const int64_t block_weights = int64_t{op.runs} * op.run_length * kBlock;
  alignas(64) float values[kTile * kBlock] = {};
  for (int32_t block = range.block_begin; block < range.block_end; ++block) {
    const auto* weights = Products::weights(op) + block * block_weights;
    Place at = place_of(range.pixel_begin, op.columns, block, op.channels);
    for (int64_t left = range.pixel_end - range.pixel_begin; left > 0;) {
      const int64_t in_row = one_row ? left : smaller(left, op.columns - at.x);
      const int count = Products::tile(in_row);
      const auto* input = op.input + at.y * op.row + at.x * op.pixel;
      multiply_block(products, count, input, weights, at, values);
      run_epilogue(op.epilogue, {values, at, op.columns, count});
      advance(at, count, op.columns);
      left -= count;
    }
  }
}
