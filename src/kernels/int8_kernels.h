// Convolutions in 8 bits. See epilogue.h for how this file is included; before it, a file defines
//
//     constexpr int kLevelBytes                 of a level in memory
//     constexpr int kLevelZero                  what a level of 0 is there; others are as far from it
//     struct Sums, struct Quads                 int32, and quads of 4 bytes: a lane per channel
//     Sums load_sums(const int32_t*)
//     Quads load_quads(const int32_t*), broadcast_quad(const uint8_t*)
//     Sums add_products(Quads x, Quads w, Sums sum)      of the 4 / kLevelBytes levels of each quad
//     Vector to_real(Sums)
//     Integers magnitude(Vector v)                       the bits of |v|
//     Integers larger(Integers a, Integers b)            of numbers without a sign
//     void store_integers(uint32_t*, Integers)
//     void store_levels(uint8_t*, Integers), store_first_levels(uint8_t*, Integers, int n)
//
// Sums are exact: weights and levels are at most 127, and a sum of at most 2^17 products is below
// 2^31. On the way there it may wrap around.

constexpr int kQuadLevels = 4 / kLevelBytes;

BNNZOO_INLINE int64_t run_quads(int64_t run) { return (run + kQuadLevels - 1) / kQuadLevels; }

// Weights: (c) sums to begin with, which take kLevelZero off the levels, then
// (blocks, passes, quads, kPass) quads, zeros beyond the channels and the runs.
size_t int8_weights_bytes(int32_t channels, int32_t runs, int32_t run) {
  const auto padded = static_cast<size_t>(blocks_of(channels)) * kBlock;
  return 4 * padded * (1 + static_cast<size_t>(runs) * static_cast<size_t>(run_quads(run)));
}

BNNZOO_INLINE void pack_quad(const int8_t* run, int64_t first, int64_t length, uint8_t* out) {
  for (int64_t i = first; i < first + kQuadLevels; ++i, out += kLevelBytes) {
    const auto weight = static_cast<int16_t>(i < length ? run[i] : 0);
    __builtin_memcpy(out, &weight, kLevelBytes);  // its low byte is the weight in 8 bits
  }
}

BNNZOO_INLINE int32_t first_sum(const int8_t* kernel, int64_t k) {
  int32_t sum = 0;
  for (int64_t i = 0; i < k; ++i) sum += kernel[i];
  return -kLevelZero * sum;
}

void pack_int8_weights(const int8_t* kernel, int32_t channels, int32_t runs, int32_t run,
                       uint8_t* out) {
  const int64_t padded = blocks_of(channels) * kBlock, k = int64_t{runs} * run;
  for (int64_t channel = 0; channel < padded; ++channel, out += 4) {
    const int32_t sum = channel < channels ? first_sum(kernel + channel * k, k) : 0;
    __builtin_memcpy(out, &sum, sizeof sum);
  }
  for (int64_t first = 0; first < padded; first += kPass) {
    for (int64_t at = 0; at < runs; ++at) {
      for (int64_t i = 0; i < run; i += kQuadLevels) {
        for (int64_t channel = first; channel < first + kPass; ++channel, out += 4) {
          const bool exists = channel < channels;
          pack_quad(kernel + (exists ? channel * k + at * run : 0), i, exists ? run : 0, out);
        }
      }
    }
  }
}

// What levels are multiplied by to be numbers, and numbers to be levels; without levels, NaN and 0.
struct LevelScale {
  float number, level;
};

BNNZOO_INLINE LevelScale level_scale(const uint32_t* largest) {
  uint32_t bits = 0;
  for (int i = 0; i < kMagnitudeParts; ++i) bits = largest[i] > bits ? largest[i] : bits;
  if (bits >= 0x7f800000u) return {__builtin_nanf(""), 0.0f};
  float magnitude;
  __builtin_memcpy(&magnitude, &bits, sizeof magnitude);
  if (magnitude < kMinMagnitude) return {0.0f, 0.0f};
  return {magnitude / 127.0f, 127.0f / magnitude};
}

struct Int8Products {
  using Op = Int8Conv2d;
  using Input = uint8_t;
  using Weight = int32_t;  // a quad
  using Sum = Sums;
  static constexpr int step = 4;

  const Op& op;
  float number;

  BNNZOO_INLINE explicit Int8Products(const Op& conv)
      : op(conv), number(level_scale(conv.largest).number) {}
  BNNZOO_INLINE static int tile(int64_t left) { return next_tile(left, Vector::tile); }
  BNNZOO_INLINE static const int32_t* weights(const Op& conv) {
    return reinterpret_cast<const int32_t*>(conv.weights) + blocks_of(conv.channels) * kBlock;
  }
  BNNZOO_INLINE Sum first(int64_t channel) const {
    return load_sums(reinterpret_cast<const int32_t*>(op.weights) + channel);
  }
  BNNZOO_INLINE static Quads input(const uint8_t* from) { return broadcast_quad(from); }
  BNNZOO_INLINE static Quads weight(const int32_t* from) { return load_quads(from); }
  BNNZOO_INLINE static Sum add(Quads x, Quads w, Sum sum) { return add_products(x, w, sum); }
  BNNZOO_INLINE Vector value(Sum sum, int64_t channel) const {
    return multiply(to_real(sum), multiply(load(op.scale + channel), broadcast(number)));
  }
};

void int8_conv2d(const Int8Conv2d& op, const Range& range) { convolve<Int8Products>(op, range); }

BNNZOO_INLINE Integers largest_magnitude(Integers largest, const float* from, int64_t count) {
  Integers others = largest;  // a maximum waits for the one before it
  int64_t i = 0;
  for (; i + 2 * Vector::lanes <= count; i += 2 * Vector::lanes) {
    largest = larger(largest, magnitude(load(from + i)));
    others = larger(others, magnitude(load(from + i + Vector::lanes)));
  }
  for (; i < count; i += Vector::lanes) {
    const int left = static_cast<int>(smaller(count - i, int64_t{Vector::lanes}));
    largest = larger(largest, magnitude(load_first(from + i, left)));
  }
  return larger(largest, others);
}

BNNZOO_INLINE uint32_t largest_lane(Integers integers) {
  uint32_t lane[Vector::lanes], largest = 0;
  store_integers(lane, integers);
  for (int i = 0; i < Vector::lanes; ++i) largest = lane[i] > largest ? lane[i] : largest;
  return largest;
}

void magnitudes(const Magnitudes& op, const Range& range) {
  const bool whole_rows = op.pixel == op.channels;
  const int64_t stretches = whole_rows ? 1 : op.columns;
  const int64_t count = whole_rows ? int64_t{op.columns} * op.channels : op.channels;
  for (int64_t part = range.pixel_begin; part < range.pixel_end; ++part) {
    const int64_t end = op.rows * (part + 1) / kMagnitudeParts;
    Integers largest = round_to_even(broadcast(0.0f));
    for (int64_t y = op.rows * part / kMagnitudeParts; y < end; ++y) {
      for (int64_t x = 0; x < stretches; ++x) {
        largest = largest_magnitude(largest, op.input + y * op.row + x * op.pixel, count);
      }
    }
    op.largest[part] = largest_lane(largest);
  }
}

BNNZOO_INLINE uint8_t* put_zeros(uint8_t* to, int64_t count) {
  __builtin_memset(to, kLevelZero, static_cast<size_t>(count * kLevelBytes));
  return to + count * kLevelBytes;
}

BNNZOO_INLINE uint8_t* put_levels(uint8_t* to, const float* from, int64_t count, Vector scale) {
  int64_t i = 0;
  for (; i + Vector::lanes <= count; i += Vector::lanes, to += Vector::lanes * kLevelBytes) {
    store_levels(to, round_to_even(multiply(load(from + i), scale)));
  }
  const int left = static_cast<int>(count - i);
  if (left > 0) {
    store_first_levels(to, round_to_even(multiply(load_first(from + i, left), scale)), left);
  }
  return to + left * kLevelBytes;
}

void levels(const Levels& op, const Range& range) {
  const float scale = level_scale(op.largest).level;
  const bool whole_rows = op.pixel == op.channels;
  const int64_t stretches = whole_rows ? 1 : op.columns;
  const int64_t count = whole_rows ? int64_t{op.columns} * op.channels : op.channels;
  const int64_t row_levels = int64_t{op.padded_columns} * op.channels;
  const int64_t right = int64_t{op.padded_columns - op.left - op.columns} * op.channels;
  for (int64_t row = range.pixel_begin; row < range.pixel_end; ++row) {
    uint8_t* to = op.output + row * row_levels * kLevelBytes;
    const int64_t y = row - op.top;
    if (y < 0 || y >= op.rows || scale == 0.0f) {
      put_zeros(to, row_levels);
      continue;
    }
    to = put_zeros(to, int64_t{op.left} * op.channels);
    for (int64_t x = 0; x < stretches; ++x) {
      to = put_levels(to, op.input + y * op.row + x * op.pixel, count, broadcast(scale));
    }
    put_zeros(to, right);
  }
}
