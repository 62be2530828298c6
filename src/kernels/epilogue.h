// Epilogues: the steps of a chain, over one block of channels of one pixel.
//
// Every instruction set's file includes blocks.h, this header, float_kernels.h and binary_kernels.h
// inside its own anonymous namespace, after it has enabled its instructions and defined
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
//     struct Integers; Integers round_to_even(Vector)        from 0 to 255
//     uint64_t bit_of(Integers, int index)      bit per lane
//     void store_bits(uint8_t*, uint64_t)       the bits of 64 channels, `expansion` times
//
// So every kernel is written once, and no two files share a function that the linker could merge:
// one of them might hold instructions that this CPU lacks. For the same reason nothing here calls
// the standard library.

constexpr int kVectors = kBlock / Vector::lanes;

// A block of channels of one pixel. Its vectors stay in registers: every function that takes one
// is inlined, and every loop over it has constant bounds.
struct Block {
  Vector part[kVectors];
};

BNNZOO_INLINE Block filled(float value) {
  Block block;
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) block.part[i] = broadcast(value);
  return block;
}

BNNZOO_INLINE Block load_all(const float* from) {
  Block block;
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) block.part[i] = load(from + i * Vector::lanes);
  return block;
}

BNNZOO_INLINE Block load_some(const float* from, int channels) {
  Block block;
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) {
    block.part[i] = load_first(from + i * Vector::lanes, channels - i * Vector::lanes);
  }
  return block;
}

// Loads a block of a view that has no more than its channels.
BNNZOO_INLINE Block load_block(const float* from, int channels) {
  return channels == kBlock ? load_all(from) : load_some(from, channels);
}

BNNZOO_INLINE void store_block(float* to, const Block& block, int channels) {
  if (channels == kBlock) {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) store(to + i * Vector::lanes, block.part[i]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      store_first(to + i * Vector::lanes, block.part[i], channels - i * Vector::lanes);
    }
  }
}

BNNZOO_INLINE float* float_view(const Step& step, const Place& at) {
  float* view = static_cast<float*>(step.view);
  return view + at.y * step.row + at.x * step.pixel + at.block * kBlock;
}

BNNZOO_INLINE void run_affine(const Step& step, const Place& at, Block& v) {
  const int64_t first = int64_t{at.block} * kBlock;
  if (step.a != nullptr && step.b != nullptr) {
    const Block a = load_all(step.a + first), b = load_all(step.b + first);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      v.part[i] = multiply_add(v.part[i], a.part[i], b.part[i]);
    }
  } else if (step.a != nullptr) {
    const Block a = load_all(step.a + first);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) v.part[i] = multiply(v.part[i], a.part[i]);
  } else if (step.b != nullptr) {
    const Block b = load_all(step.b + first);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) v.part[i] = add(v.part[i], b.part[i]);
  }
}

BNNZOO_INLINE void run_clip(const Step& step, Block& v) {
  const Vector low = broadcast(step.low), high = broadcast(step.high);
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) v.part[i] = minimum(maximum(v.part[i], low), high);
}

// v >= 0 ? v : v * a is max(v, 0) + a * min(v, 0), and one of the two terms is always 0.
BNNZOO_INLINE void run_prelu(const Step& step, const Place& at, Block& v) {
  const Block a = load_all(step.a + int64_t{at.block} * kBlock);
  const Vector zero = broadcast(0.0f);
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) {
    const Vector negative = minimum(v.part[i], zero);
    v.part[i] = multiply_add(negative, a.part[i], maximum(v.part[i], zero));
  }
}

BNNZOO_INLINE void run_binary(const Step& step, const Place& at, Block& v) {
  const Block other = load_block(float_view(step, at), at.channels);
  if (step.kind == StepKind::add) {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) v.part[i] = add(v.part[i], other.part[i]);
  } else if (step.kind == StepKind::subtract) {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) v.part[i] = subtract(v.part[i], other.part[i]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) v.part[i] = multiply(v.part[i], other.part[i]);
  }
}

// Bits of channels that do not exist are 0, so that they never count.
BNNZOO_INLINE uint64_t existing(const Place& at) {
  return at.channels == kBlock ? ~uint64_t{0} : (uint64_t{1} << at.channels) - 1;
}

BNNZOO_INLINE uint8_t* bits_view(const Step& step, const Place& at) {
  uint8_t* view = static_cast<uint8_t*>(step.view);
  return view + at.y * step.row + at.x * step.pixel + int64_t{at.block} * kBlockBytes;
}

BNNZOO_INLINE uint64_t bits_below(const Block& v, const Block& threshold) {
  uint64_t bits = 0;
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) {
    bits |= below(v.part[i], threshold.part[i]) << (i * Vector::lanes);
  }
  return bits;
}

BNNZOO_INLINE void run_sign(const Step& step, const Place& at, const Block& v) {
  const int64_t first = int64_t{at.block} * kBlock;
  const Block threshold = step.a != nullptr ? load_all(step.a + first) : filled(0.0f);
  uint64_t bits;
  if (step.b != nullptr) {
    Block directed = load_all(step.b + first);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      directed.part[i] = multiply(v.part[i], directed.part[i]);
    }
    bits = bits_below(directed, threshold);
  } else {
    bits = bits_below(v, threshold);
  }
  store_bits(bits_view(step, at), bits & existing(at));
}

// Clipping before rounding keeps every level in [0, 2^bits - 1]; the product is rounded once more
// before it is an integer, as in NumPy.
BNNZOO_INLINE void run_quantize(const Step& step, const Place& at, const Block& v) {
  const Vector zero = broadcast(0.0f), one = broadcast(1.0f);
  const Vector levels = broadcast(static_cast<float>((1 << step.bits) - 1));
  Integers level[kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; ++i) {
    level[i] = round_to_even(multiply(minimum(maximum(v.part[i], zero), one), levels));
  }
  for (int plane = 0; plane < step.bits; ++plane) {
    uint64_t bits = 0;
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) bits |= bit_of(level[i], plane) << (i * Vector::lanes);
    store_bits(bits_view(step, at) + plane * step.plane, ~bits & existing(at));
  }
}

// The choice of a step is outside the loop over its vectors, and the same for every pixel, so the
// branch is predicted.
BNNZOO_INLINE void run_steps(const Step* steps, int count, const Place& at, Block& v) {
  for (const Step* step = steps; step != steps + count; ++step) {
    switch (step->kind) {
      case StepKind::affine: run_affine(*step, at, v); break;
      case StepKind::clip: run_clip(*step, v); break;
      case StepKind::prelu: run_prelu(*step, at, v); break;
      case StepKind::add:
      case StepKind::subtract:
      case StepKind::multiply: run_binary(*step, at, v); break;
      case StepKind::store: store_block(float_view(*step, at), v, at.channels); break;
      case StepKind::sign: run_sign(*step, at, v); break;
      case StepKind::quantize: run_quantize(*step, at, v); break;
    }
  }
}
