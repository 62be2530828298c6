// What every instruction set offers: one table of functions over plain structs.
//
// All pointers are resolved by the engine before a kernel runs, for one image. Kernels allocate
// nothing, check nothing and throw nothing; the engine has checked every shape before.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bnnzoo {

// Channels per block: the unit of bits, of parameter padding and of the binary kernels.
constexpr int kBlock = 64;

enum class StepKind : int32_t {
  affine,    // v = v * a + b; either may be null
  clip,      // v = min(max(v, low), high)
  prelu,     // v = v >= 0 ? v : v * a
  add,       // v = v + view
  subtract,  // v = v - view
  multiply,  // v = v * view
  store,     // view = v
  sign,      // bits view: 1 (= -1) where v * direction < a; direction b and threshold a may be null
  quantize,  // `bits` planes of a bits view: round(clip(v, 0, 1) * (2^bits - 1)), bit = !level bit
};

// One step of an epilogue: a chain that runs over the channels of a pixel while they are in
// registers.
//
// Parameters, here and below: where their shape says (c), it is c rounded up to a multiple of
// kBlock, with zeros there, and they are 64-byte aligned. Views have exactly `channels` floats a
// pixel, at any alignment; nothing beyond them is read or written. Bits are written in whole
// blocks of 8 * expansion bytes.
struct Step {
  StepKind kind;
  int32_t bits;          // quantize: number of planes
  const float* a;        // (c)
  const float* b;        // (c); sign: +1 or -1, `a` is already multiplied by it
  float low, high;       // clip
  void* view;            // at pixel (0, 0), channel 0; float, or bits for sign and quantize
  int64_t row, pixel;    // from one pixel to the next: floats, or bytes of bits; 0 broadcasts
  int64_t plane;         // quantize: bytes from one plane to the next
};

// Output pixels are numbered y * columns + x. Kernels are called for a range of blocks of output
// channels and a range of pixels, from several threads at once; ranges do not overlap.
struct Range {
  int32_t block_begin, block_end;
  int64_t pixel_begin, pixel_end;
};

// count = popcount of input xor weights over the K taps; with planes, sum of 2^p * count_p.
// v = count * scale + bias[class of the pixel], then the steps.
// Scale and bias turn counts into sums and hold the correction of zero padding:
// K - 2 * count is scale -2, bias K.
struct Bconv2d {
  const uint8_t* input;         // first tap of output pixel (0, 0), plane 0
  int64_t row, pixel, plane;    // bytes from one output row, output pixel, plane to the next
  int32_t planes;
  int32_t units;                // K in 64-channel units: taps * ceil(c_in / 64)
  const int32_t* offsets;       // (units) bytes from the first tap
  const uint8_t* weights;       // from Kernels::pack_weights
  int32_t rows, columns, channels;
  const float* scale;           // (c)
  const float* bias;            // (row classes, column classes, c)
  const int32_t* row_class;     // (rows), null: one class
  const int32_t* column_class;  // (columns)
  int32_t column_classes;
  const Step* steps;
  int32_t step_count;
};

// v = sum over the K = runs * run_length inputs, in this order, then the steps.
struct Conv2d {
  const float* input;      // first tap of output pixel (0, 0)
  int64_t row, pixel;      // floats from one output row or pixel to the next
  const int64_t* offsets;  // (runs) floats from the first tap
  int32_t runs, run_length;
  const float* weights;    // from Kernels::pack_real_weights
  int32_t rows, columns, channels;
  const Step* steps;
  int32_t step_count;
};

// v = sum over the taps, channel by channel, then the steps.
struct DepthwiseConv2d {
  const float* input;
  int64_t row, pixel;
  const int64_t* offsets;  // (taps) floats
  int32_t taps;
  const float* weights;    // (taps, c)
  int32_t rows, columns, channels;
  const Step* steps;
  int32_t step_count;
};

// Maximum or mean over the part of the window that is inside the image, then the steps.
struct Pool2d {
  const float* input;    // pixel (0, 0) of the image
  int64_t row, pixel;    // floats from one input row or pixel to the next
  int32_t height, width; // of the input
  int32_t pool_h, pool_w, stride_h, stride_w, top, left;
  bool maximum;
  int32_t rows, columns, channels;
  const Step* steps;
  int32_t step_count;
};

// v = input, then the steps.
struct Elementwise {
  const float* input;
  int64_t row, pixel;
  int32_t rows, columns, channels;
  const Step* steps;
  int32_t step_count;
};

// bits out = and of the window where mask is 1, or of it where mask is 0, over the part of the
// window that is inside the image.
struct BMaxPool2d {
  const uint8_t* input;
  uint8_t* output;
  const uint8_t* mask;   // (pixel bytes)
  int64_t input_row, input_pixel, output_row, output_pixel;  // bytes
  int32_t pixel_bytes;
  int32_t height, width, pool_h, pool_w, stride_h, stride_w, top, left;
  int32_t rows, columns;
};

// One instruction set. A bits pixel is ceil(c / 64) words of 64 channels, channel 0 the lowest
// bit, unused bits 0; `expansion` is the number of times that each byte of it is repeated.
struct Kernels {
  const char* name;
  int32_t expansion;
  int32_t real_block;  // output channels per block of conv2d; kBlock in all of them

  size_t (*weights_bytes)(int32_t channels, int32_t units);
  // words: (channels, units), unused bits 0; `out` is 64-byte aligned.
  void (*pack_weights)(const uint64_t* words, int32_t channels, int32_t units, uint8_t* out);
  size_t (*real_weights_floats)(int32_t channels, int32_t k);
  // kernel: (channels, k); `out` is 64-byte aligned.
  void (*pack_real_weights)(const float* kernel, int32_t channels, int32_t k, float* out);

  void (*bconv2d)(const Bconv2d&, const Range&);                    // blocks of kBlock channels
  void (*conv2d)(const Conv2d&, const Range&);                      // blocks of real_block
  void (*depthwise_conv2d)(const DepthwiseConv2d&, const Range&);   // blocks of kBlock
  void (*pool2d)(const Pool2d&, const Range&);
  void (*elementwise)(const Elementwise&, const Range&);
  void (*bmax_pool2d)(const BMaxPool2d&, const Range&);             // blocks are ignored
};

// The instruction sets that were compiled in and that this CPU has, the best one first; the last
// one is "portable". Ends with null.
const Kernels* const* available_kernels();

}  // namespace bnnzoo
