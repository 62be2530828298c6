// Binary convolution by counting the bits of one 64-bit word at a time. Included by portable.cc and
// popcnt.cc inside their anonymous namespaces; needs uint64_t count_bits(uint64_t).

constexpr int kPixels = 1;
// Channels that share each word of the input.
constexpr int kGroup = 4;

// Weights: words (blocks, kBlock / kGroup, units, kGroup), zeros beyond `channels`.
size_t weights_bytes(int32_t channels, int32_t units) {
  return static_cast<size_t>(blocks_of(channels)) * kBlock * static_cast<size_t>(units) * 8;
}

void pack_weights(const uint64_t* words, int32_t channels, int32_t units, uint8_t* out) {
  const int64_t padded = blocks_of(channels) * kBlock;
  for (int64_t first = 0; first < padded; first += kGroup) {
    for (int64_t unit = 0; unit < units; ++unit) {
      for (int64_t channel = first; channel < first + kGroup; ++channel, out += 8) {
        const uint64_t word = channel < channels ? words[channel * units + unit] : 0;
        store_word(out, word);
      }
    }
  }
}

// Adds the counts of four channels of one plane to counts (kGroup).
BNNZOO_INLINE void count_group(const Bconv2d& op, const uint8_t* input, const uint8_t* weights,
                               int32_t plane, int32_t* counts) {
  uint64_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
#pragma GCC unroll 2
  for (int32_t unit = 0; unit < op.units; ++unit, weights += kGroup * 8) {
    const uint64_t x = load_word(input + op.offsets[unit]);
    sum0 += count_bits(x ^ load_word(weights));
    sum1 += count_bits(x ^ load_word(weights + 8));
    sum2 += count_bits(x ^ load_word(weights + 16));
    sum3 += count_bits(x ^ load_word(weights + 24));
  }
  counts[0] += static_cast<int32_t>(sum0) << plane;
  counts[1] += static_cast<int32_t>(sum1) << plane;
  counts[2] += static_cast<int32_t>(sum2) << plane;
  counts[3] += static_cast<int32_t>(sum3) << plane;
}

template <int>
BNNZOO_NOINLINE void count_block(const Bconv2d& op, const uint8_t* const* inputs,
                                 const uint8_t* weights, int channels, int32_t* counts) {
  const int64_t group_bytes = int64_t{op.units} * kGroup * 8;
  __builtin_memset(counts, 0, kBlock * sizeof *counts);
  for (int32_t plane = 0; plane < op.planes; ++plane) {
    const uint8_t* input = inputs[0] + plane * op.plane;
    const uint8_t* of_group = weights;
    for (int first = 0; first < channels; first += kGroup, of_group += group_bytes) {
      count_group(op, input, of_group, plane, counts + first);
    }
  }
}
