#include "resampling.h"

namespace bnnzoo {
namespace {

// Two statements: in one, a compiler may round the product and the sum together.
inline void add_product(float& sum, float value, float weight) {
  const float product = value * weight;
  sum += product;
}

void weigh_rows(const uint8_t* image, int64_t count, const Taps& taps, int64_t i, float* row) {
  const uint8_t* first = image + taps.index[i] * count;
  for (int64_t x = 0; x < count; ++x) row[x] = static_cast<float>(first[x]) * taps.weight[i];
  for (int64_t k = 1; k < taps.count; ++k) {
    const uint8_t* from = image + taps.index[k * taps.pixels + i] * count;
    const float weight = taps.weight[k * taps.pixels + i];
    for (int64_t x = 0; x < count; ++x) add_product(row[x], static_cast<float>(from[x]), weight);
  }
}

void weigh_columns(const float* row, int64_t channels, const Taps& taps, float* output) {
  for (int64_t i = 0; i < taps.pixels; ++i, output += channels) {
    const float* first = row + taps.index[i] * channels;
    for (int64_t c = 0; c < channels; ++c) output[c] = first[c] * taps.weight[i];
    for (int64_t k = 1; k < taps.count; ++k) {
      const float* from = row + taps.index[k * taps.pixels + i] * channels;
      const float weight = taps.weight[k * taps.pixels + i];
      for (int64_t c = 0; c < channels; ++c) add_product(output[c], from[c], weight);
    }
  }
}

}  // namespace

void resample(const uint8_t* image, int64_t width, int64_t channels, const Taps& down,
              const Taps& right, float* row, float* output) {
  for (int64_t y = 0; y < down.pixels; ++y, output += right.pixels * channels) {
    weigh_rows(image, width * channels, down, y, row);
    if (channels == 3) {
      weigh_columns(row, 3, right, output);  // the compiler unrolls it
    } else {
      weigh_columns(row, channels, right, output);
    }
  }
}

}  // namespace bnnzoo
