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

// Four channels of one pixel, one plane.
BNNZOO_INLINE void count_group(const Bconv2d& op, const uint8_t* input, const uint8_t* weights,
                               uint64_t sums[kGroup]) {
  uint64_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  for (int32_t unit = 0; unit < op.units; ++unit, weights += kGroup * 8) {
    const uint64_t x = load_word(input + op.offsets[unit]);
    sum0 += count_bits(x ^ load_word(weights));
    sum1 += count_bits(x ^ load_word(weights + 8));
    sum2 += count_bits(x ^ load_word(weights + 16));
    sum3 += count_bits(x ^ load_word(weights + 24));
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

BNNZOO_INLINE void count_block(const Bconv2d& op, const uint8_t* const inputs[kPixels],
                               const uint8_t* weights, int channels, int32_t* counts) {
  const int64_t group_bytes = int64_t{op.units} * kGroup * 8;
  for (int first = 0; first < channels; first += kGroup, weights += group_bytes) {
    uint64_t total[kGroup] = {};
    for (int32_t plane = 0; plane < op.planes; ++plane) {
      uint64_t sums[kGroup];
      count_group(op, inputs[0] + plane * op.plane, weights, sums);
      for (int i = 0; i < kGroup; ++i) total[i] += sums[i] << plane;
    }
    for (int i = 0; i < kGroup; ++i) counts[first + i] = static_cast<int32_t>(total[i]);
  }
}
