// Weights for kernels whose vectors hold one byte (8 input channels) of many output channels.
// Included inside an anonymous namespace. Needs nothing but blocks.h.

// Weights: bytes (blocks, units, 8, kBlock), zeros beyond `channels`.
size_t weights_bytes(int32_t channels, int32_t units) {
  return static_cast<size_t>(blocks_of(channels)) * kBlock * static_cast<size_t>(units) * 8;
}

void pack_weights(const uint64_t* words, int32_t channels, int32_t units, uint8_t* out) {
  const int64_t padded = blocks_of(channels) * kBlock;
  for (int64_t first = 0; first < padded; first += kBlock) {
    for (int64_t unit = 0; unit < units; ++unit) {
      for (int shift = 0; shift < 64; shift += 8) {
        for (int64_t channel = first; channel < first + kBlock; ++channel) {
          const uint64_t word = channel < channels ? words[channel * units + unit] : 0;
          *out++ = static_cast<uint8_t>(word >> shift);
        }
      }
    }
  }
}
