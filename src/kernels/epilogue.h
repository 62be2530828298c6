// Epilogues, over one block of channels of a few pixels.
//
// Every instruction set's file includes blocks.h, this header, convolving.h, float_kernels.h,
// int8_kernels.h, binary_kernels.h and kernel_table.h inside its own anonymous namespace, after it
// has enabled its instructions and defined
//
//     constexpr int kBlockBytes                 bytes of a block in bits views: 8 * expansion
//     struct Vector                             floats; `lanes` of them, `tile` pixels of conv2d
//     Vector load(const float*)                 unaligned, as every load and store
//     Vector load_first(const float*, int n)    n may be below 0 or above `lanes`; touches n only
//     Vector load_integers(const int32_t*)      converted to float
//     void store(float*, Vector), store_first(float*, Vector, int n)
//     Vector broadcast(float)
//     Vector add, subtract, multiply, divide, minimum, maximum(Vector, Vector)
//     Vector multiply_add(Vector a, Vector b, Vector c)      a * b + c
//     uint64_t below(Vector a, Vector b)        bit per lane: a < b
//     struct Integers; Integers round_to_even(Vector)        from -127 to 255
//     uint64_t bit_of(Integers, int index)      bit per lane
//     void store_bits(uint8_t*, uint64_t)       the bits of 64 channels, `expansion` times
//
// So every kernel is written once, and no two files share a function that the linker could merge:
// one of them might hold instructions that this CPU lacks. For the same reason nothing here calls
// the standard library.

constexpr int kVectors = kBlock / Vector::lanes;

// Pixels that go through an epilogue together. A step is chosen once for all of them, and their
// values wait in the first-level cache, 4 KiB.
constexpr int kTile = 16;

struct Tile {
  float* values;  // (count, kBlock); anything in channels that do not exist
  Place first;
  int32_t columns;
  int count;
};

// Channels of one pixel. Every loop over them has constant bounds, so that they are in registers.
template <int vectors>
struct Channels {
  Vector part[vectors];
};

template <int vectors>
BNNZOO_INLINE Channels<vectors> filled(float value) {
  Channels<vectors> all;
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) all.part[i] = broadcast(value);
  return all;
}

template <int vectors>
BNNZOO_INLINE Channels<vectors> load_all(const float* from) {
  Channels<vectors> all;
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) all.part[i] = load(from + i * Vector::lanes);
  return all;
}

// Loads from a view, which has no more than its channels.
template <int vectors>
BNNZOO_INLINE Channels<vectors> load_channels(const float* from, int channels) {
  if (channels == vectors * Vector::lanes) return load_all<vectors>(from);
  Channels<vectors> some;
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) {
    some.part[i] = load_first(from + i * Vector::lanes, channels - i * Vector::lanes);
  }
  return some;
}

template <int vectors>
BNNZOO_INLINE void store_all(float* to, const Channels<vectors>& all) {
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) store(to + i * Vector::lanes, all.part[i]);
}

// Stores to a view, which has no more than its channels.
template <int vectors>
BNNZOO_INLINE void store_channels(float* to, const Channels<vectors>& some, int channels) {
  if (channels == vectors * Vector::lanes) {
    store_all(to, some);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < vectors; ++i) {
    store_first(to + i * Vector::lanes, some.part[i], channels - i * Vector::lanes);
  }
}

// Walks through a float view of a step.
BNNZOO_INLINE Walk<float> float_view(const Step& step, const Tile& tile) {
  float* first = static_cast<float*>(step.view) + tile.first.block * kBlock;
  return walk(first, step.row, step.pixel, tile.first, tile.columns);
}

// Parameters of a step that are left out.
template <int vectors>
BNNZOO_INLINE Channels<vectors> parameter(const float* values, const Tile& tile, float otherwise) {
  return values != nullptr ? load_all<vectors>(values + tile.first.block * kBlock)
                           : filled<vectors>(otherwise);
}

template <int vectors>
BNNZOO_INLINE void run_affine(const Step& step, const Tile& tile) {
  const auto a = parameter<vectors>(step.a, tile, 1.0f), b = parameter<vectors>(step.b, tile, 0.0f);
  float* values = tile.values;
  for (int p = 0; p < tile.count; ++p, values += kBlock) {
    auto v = load_all<vectors>(values);
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) {
      v.part[i] = multiply_add(v.part[i], a.part[i], b.part[i]);
    }
    store_all(values, v);
  }
}

template <int vectors>
BNNZOO_INLINE void run_clip(const Step& step, const Tile& tile) {
  const Vector low = broadcast(step.low), high = broadcast(step.high);
  float* values = tile.values;
  for (int p = 0; p < tile.count; ++p, values += kBlock) {
    auto v = load_all<vectors>(values);
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) v.part[i] = minimum(maximum(v.part[i], low), high);
    store_all(values, v);
  }
}

// v >= 0 ? v : v * a is max(v, 0) + a * min(v, 0), where one of the two terms is 0.
template <int vectors>
BNNZOO_INLINE void run_prelu(const Step& step, const Tile& tile) {
  const auto a = load_all<vectors>(step.a + tile.first.block * kBlock);
  const Vector zero = broadcast(0.0f);
  float* values = tile.values;
  for (int p = 0; p < tile.count; ++p, values += kBlock) {
    auto v = load_all<vectors>(values);
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) {
      const Vector negative = minimum(v.part[i], zero);
      v.part[i] = multiply_add(negative, a.part[i], maximum(v.part[i], zero));
    }
    store_all(values, v);
  }
}

template <int vectors, Vector (*combine)(Vector, Vector)>
BNNZOO_INLINE void run_binary(const Step& step, const Tile& tile) {
  float* values = tile.values;
  Walk<float> view = float_view(step, tile);
  for (int p = 0; p < tile.count; ++p, values += kBlock, advance(view)) {
    auto v = load_all<vectors>(values);
    const auto other = load_channels<vectors>(view.at, tile.first.channels);
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) v.part[i] = combine(v.part[i], other.part[i]);
    store_all(values, v);
  }
}

template <int vectors>
BNNZOO_INLINE void run_store(const Step& step, const Tile& tile) {
  const float* values = tile.values;
  Walk<float> view = float_view(step, tile);
  for (int p = 0; p < tile.count; ++p, values += kBlock, advance(view)) {
    store_channels(view.at, load_all<vectors>(values), tile.first.channels);
  }
}

// Bits of channels that do not exist are 0, so that they never count.
BNNZOO_INLINE uint64_t existing(const Tile& tile) {
  const int channels = tile.first.channels;
  return channels == kBlock ? ~uint64_t{0} : (uint64_t{1} << channels) - 1;
}

BNNZOO_INLINE Walk<uint8_t> bits_view(const Step& step, const Tile& tile) {
  uint8_t* first = static_cast<uint8_t*>(step.view) + int64_t{tile.first.block} * kBlockBytes;
  return walk(first, step.row, step.pixel, tile.first, tile.columns);
}

template <int vectors>
BNNZOO_INLINE void run_sign(const Step& step, const Tile& tile) {
  const auto threshold = parameter<vectors>(step.a, tile, 0.0f);
  const auto direction = parameter<vectors>(step.b, tile, 1.0f);
  const uint64_t channels = existing(tile);
  const float* values = tile.values;
  Walk<uint8_t> view = bits_view(step, tile);
  for (int p = 0; p < tile.count; ++p, values += kBlock, advance(view)) {
    const auto v = load_all<vectors>(values);
    uint64_t bits = 0;
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) {
      const Vector directed = multiply(v.part[i], direction.part[i]);
      bits |= below(directed, threshold.part[i]) << (i * Vector::lanes);
    }
    store_bits(view.at, bits & channels);
  }
}

// Clipping before rounding keeps every level in [0, 2^bits - 1]; the product is rounded once more
// before it is an integer, as in NumPy.
template <int vectors>
BNNZOO_INLINE void run_quantize(const Step& step, const Tile& tile) {
  const Vector zero = broadcast(0.0f), one = broadcast(1.0f);
  const Vector levels = broadcast(static_cast<float>((1 << step.bits) - 1));
  const uint64_t channels = existing(tile);
  const float* values = tile.values;
  Walk<uint8_t> view = bits_view(step, tile);
  for (int p = 0; p < tile.count; ++p, values += kBlock, advance(view)) {
    const auto v = load_all<vectors>(values);
    Integers level[vectors];
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) {
      level[i] = round_to_even(multiply(minimum(maximum(v.part[i], zero), one), levels));
    }
    for (int plane = 0; plane < step.bits; ++plane) {
      uint64_t bits = 0;
#pragma GCC unroll 16
      for (int i = 0; i < vectors; ++i) bits |= bit_of(level[i], plane) << (i * Vector::lanes);
      store_bits(view.at + plane * step.plane, ~bits & channels);
    }
  }
}

// In as many vectors as hold the channels of the block, or up to twice as many.
template <int vectors = kVectors>
BNNZOO_NOINLINE void run_epilogue(Epilogue epilogue, const Tile& tile) {
  if constexpr (vectors > 1) {
    if (tile.first.channels <= vectors / 2 * Vector::lanes) {
      run_epilogue<vectors / 2>(epilogue, tile);
      return;
    }
  }
  for (const Step* step = epilogue.steps; step != epilogue.steps + epilogue.count; ++step) {
    switch (step->kind) {
      case StepKind::affine: run_affine<vectors>(*step, tile); break;
      case StepKind::clip: run_clip<vectors>(*step, tile); break;
      case StepKind::prelu: run_prelu<vectors>(*step, tile); break;
      case StepKind::add: run_binary<vectors, add>(*step, tile); break;
      case StepKind::subtract: run_binary<vectors, subtract>(*step, tile); break;
      case StepKind::multiply: run_binary<vectors, multiply>(*step, tile); break;
      case StepKind::store: run_store<vectors>(*step, tile); break;
      case StepKind::sign: run_sign<vectors>(*step, tile); break;
      case StepKind::quantize: run_quantize<vectors>(*step, tile); break;
    }
  }
}
