// Separable resampling of images, equal to that of bnnzoo/data/resampling.py to the bit.
#pragma once

#include <cstdint>

namespace bnnzoo {

// Along an axis, pixel i is the sum over k of weight[k, i] * old pixel index[k, i].
struct Taps {
  int64_t count;         // k
  int64_t pixels;        // i
  const int64_t* index;  // (count, pixels)
  const float* weight;   // (count, pixels)
};

// image (rows, width, channels) and output (down.pixels, right.pixels, channels); `row` has room
// for width * channels. Rows are summed before columns, and products are rounded before they are
// added.
void resample(const uint8_t* image, int64_t width, int64_t channels, const Taps& down,
              const Taps& right, float* row, float* output);

}  // namespace bnnzoo
