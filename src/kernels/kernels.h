// What every instruction set offers: one table of functions over plain structs.
//
// The engine resolves all pointers before a kernel runs, for one image. Kernels do not allocate,
// check or throw; the engine has checked every shape before.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bnnzoo {

// Channels per block: the unit of bits, of parameter padding and of the binary kernels.
constexpr int kBlock = 64;

struct Extent {
  int32_t rows, columns, channels;
};

// A pooling's window and the size of its input; `top` and `left` are the border before it.
struct Window {
  int32_t height, width;  // of the input
  int32_t pool_h, pool_w, stride_h, stride_w, top, left;
};

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

// One step of an epilogue.
//
// Parameters, here and below: where their shape says (c), it is c rounded up to a multiple of
// kBlock, with zeros there, and they are 64-byte aligned. Views have exactly `channels` floats a
// pixel, at any alignment; nothing beyond them is read or written. Bits are written in whole
// blocks of 8 * expansion bytes.
struct Step {
  StepKind kind;
  int32_t bits;        // quantize: number of planes
  const float* a;      // (c)
  const float* b;      // (c); sign: +1 or -1, `a` is already multiplied by it
  float low, high;     // clip
  void* view;          // at pixel (0, 0), channel 0; float, or bits for sign and quantize
  int64_t row, pixel;  // from one pixel to the next: floats, or bytes of bits; 0 broadcasts
  int64_t plane;       // quantize: bytes from one plane to the next
};

// What runs over the channels of a pixel while they are in registers.
struct Epilogue {
  const Step* steps;
  int32_t count;
};

// `extent` is that of the output, of Magnitudes and Levels that of the input. Its pixels are
// numbered y * columns + x. Kernels are called for a range of blocks of output channels and a range
// of pixels, from several threads at once; ranges do not overlap.
struct Range {
  int32_t block_begin, block_end;
  int64_t pixel_begin, pixel_end;
};

// count = popcount of input xor weights over the K taps; with planes, sum of 2^p * count_p.
// v = count * scale + bias[class of the pixel], then the epilogue.
// Scale and bias turn counts into sums and hold the correction of zero padding:
// K - 2 * count is scale -2, bias K.
struct Bconv2d {
  const uint8_t* input;       // first tap of output pixel (0, 0), plane 0
  int64_t row, pixel, plane;  // bytes from one output row, output pixel, plane to the next
  int32_t planes;
  int32_t c_in;            // input channels of a tap
  int32_t units;           // K in 64-channel units: taps * ceil(c_in / 64)
  const int32_t* offsets;  // (units) bytes from the first tap
  const uint8_t* weights;  // from Kernels::pack_weights
  Extent extent;
  const float* scale;           // (c)
  const float* bias;            // (row classes, column classes, c)
  const int32_t* row_class;     // (rows), null: one class
  const int32_t* column_class;  // (columns)
  int32_t column_classes;
  Epilogue epilogue;
};

// v = sum over the K = runs * run_length inputs, in this order, then the epilogue.
struct Conv2d {
  const float* input;      // first tap of output pixel (0, 0)
  int64_t row, pixel;      // floats from one output row or pixel to the next
  const int64_t* offsets;  // (runs) floats from the first tap
  int32_t runs, run_length;
  const float* weights;  // from Kernels::pack_real_weights
  Extent extent;
  Epilogue epilogue;
};

// Inputs in 8 bits. With m the largest |x| of a map, and in float32 arithmetic,
//
//     level = round(x * (127 / m)), halves to even, from -127 to 127
//     x is about level * (m / 127)
//
// A map of m below kMinMagnitude counts as zeros. One with NaN or infinity has no levels: what is
// computed from it is NaN.
constexpr float kMinMagnitude = 7.888609052210118e-31f;  // 2^-100
// The rows of a map are divided into this many parts, each with its own largest |x|. It
// is kept as the bits of the number: of floats without a sign these are in the order of the
// numbers, and NaN is above infinity.
constexpr int kMagnitudeParts = 16;

struct Magnitudes {
  const float* input;
  int64_t row, pixel;  // floats
  Extent extent;
  uint32_t* largest;  // (kMagnitudeParts)
};

// Levels are in memory as an instruction set wants them, `level_bytes` each.
struct Levels {
  const float* input;
  int64_t row, pixel;  // floats
  Extent extent;
  int32_t top, left;  // border of level 0
  int32_t padded_rows, padded_columns;
  const uint32_t* largest;  // (kMagnitudeParts)
  uint8_t* output;          // (padded_rows, padded_columns, channels) levels
};

// v = scale * m / 127 * (sum of level * weight over the runs), then the epilogue. A run is read in
// quads of 4 bytes; what the last one has beyond the run meets weights of 0.
struct Int8Conv2d {
  const uint8_t* input;      // levels: first tap of output pixel (0, 0)
  int64_t row, pixel;        // bytes from one output row or pixel to the next
  const int64_t* offsets;    // (runs) bytes from the first tap
  int32_t runs, run_length;  // quads
  const uint8_t* weights;    // from Kernels::pack_int8_weights
  Extent extent;
  const float* scale;       // (c)
  const uint32_t* largest;  // (kMagnitudeParts)
  Epilogue epilogue;
};

// v = sum over the taps, channel by channel, then the epilogue.
struct DepthwiseConv2d {
  const float* input;
  int64_t row, pixel;
  const int64_t* offsets;  // (taps) floats
  int32_t taps;
  const float* weights;  // (taps, c)
  Extent extent;
  Epilogue epilogue;
};

// Maximum or mean over the part of the window that is inside the image, then the epilogue.
struct Pool2d {
  const float* input;  // pixel (0, 0) of the image
  int64_t row, pixel;  // floats from one input row or pixel to the next
  Window window;
  bool maximum;
  Extent extent;
  Epilogue epilogue;
};

// v = input, then the epilogue.
struct Elementwise {
  const float* input;
  int64_t row, pixel;
  Extent extent;
  Epilogue epilogue;
};

// bits out = and of the window where mask is 1, or of it where mask is 0, over the part of the
// window that is inside the image.
struct BMaxPool2d {
  const uint8_t* input;
  uint8_t* output;
  const uint8_t* mask;                                       // (pixel bytes)
  int64_t input_row, input_pixel, output_row, output_pixel;  // bytes
  int32_t pixel_bytes;
  Window window;
  Extent extent;
};

// One instruction set. A bits pixel is ceil(c / 64) words of 64 channels, channel 0 the lowest
// bit, unused bits 0; `expansion` is the number of times that each byte of it is repeated.
struct Kernels {
  const char* name;
  int32_t expansion;
  int32_t real_block;   // output channels per block of conv2d; kBlock in all of them
  int32_t level_bytes;  // of an input in 8 bits, 1 or 2

  // Both depend on `planes`, `c_in`, `units` and `extent` alone.
  size_t (*weights_bytes)(const Bconv2d&);
  // words: (channels, units), unused bits 0; `out` is 64-byte aligned.
  void (*pack_weights)(const Bconv2d&, const uint64_t* words, uint8_t* out);
  size_t (*real_weights_floats)(int32_t channels, int32_t k);
  // kernel: (channels, k); `out` is 64-byte aligned.
  void (*pack_real_weights)(const float* kernel, int32_t channels, int32_t k, float* out);
  size_t (*int8_weights_bytes)(int32_t channels, int32_t runs, int32_t run);
  // kernel: (channels, runs, run) levels from -127 to 127; `out` is 64-byte aligned.
  void (*pack_int8_weights)(const int8_t* kernel, int32_t channels, int32_t runs, int32_t run,
                            uint8_t* out);

  void (*bconv2d)(const Bconv2d&, const Range&);                   // blocks of kBlock channels
  void (*conv2d)(const Conv2d&, const Range&);                     // blocks of real_block
  void (*magnitudes)(const Magnitudes&, const Range&);             // its pixels are the parts
  void (*levels)(const Levels&, const Range&);                     // its pixels are padded rows
  void (*int8_conv2d)(const Int8Conv2d&, const Range&);            // blocks of real_block
  void (*depthwise_conv2d)(const DepthwiseConv2d&, const Range&);  // blocks of kBlock
  void (*pool2d)(const Pool2d&, const Range&);
  void (*elementwise)(const Elementwise&, const Range&);
  void (*bmax_pool2d)(const BMaxPool2d&, const Range&);  // blocks are ignored
};

// The instruction sets that were compiled in and that this CPU has, the best one first; the last
// one is "portable". Ends with null.
const Kernels* const* available_kernels();

}  // namespace bnnzoo
