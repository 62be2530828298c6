#include "convolution.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

namespace bnnzoo::training {
namespace {

constexpr int64_t kTiles = 128;  // of a product of matrices: what is packed for it stays in cache
constexpr int64_t kPlaces = 16;  // of a Winograd tile

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool is_sign(InputKind kind) {
  return kind == InputKind::sign || kind == InputKind::approx_sign ||
         kind == InputKind::error_decay || kind == InputKind::swish_sign;
}

// Channels of some pixels as panels: (channels / 16, all, 16), zeros beyond the channels.
void to_panels(const float* from, int64_t pixels, int64_t channels, float* panels, int64_t all) {
  for (int64_t c = 0; c < channels; c += kPanel, panels += all * kPanel) {
    const auto count = static_cast<size_t>(std::min(kPanel, channels - c));
    float* to = panels;
    for (int64_t p = 0; p < pixels; ++p, to += kPanel) {
      if (count < kPanel) std::memset(to, 0, kPanel * sizeof(float));
      std::memcpy(to, from + p * channels + c, count * sizeof(float));
    }
  }
}

void from_panels(const float* panels, int64_t pixels, int64_t channels, float* to, int64_t all) {
  for (int64_t c = 0; c < channels; c += kPanel, panels += all * kPanel) {
    const auto count = static_cast<size_t>(std::min(kPanel, channels - c));
    for (int64_t p = 0; p < pixels; ++p) {
      std::memcpy(to + p * channels + c, panels + p * kPanel, count * sizeof(float));
    }
  }
}

Extent extent_of(const Shape& shape) {
  return {static_cast<int32_t>(shape.rows), static_cast<int32_t>(shape.columns),
          static_cast<int32_t>(shape.channels)};
}

// An image inside a border, with padded channels or with its own.
struct Frame {
  int64_t rows, columns, channels, top, left;

  int64_t row() const { return columns * channels; }
  int64_t floats() const { return rows * row(); }
  int64_t interior() const { return top * row() + left * channels; }
};

// Where a kernel lies partly outside: the same for all rows, or columns, of a class.
struct BorderClasses {
  std::vector<int32_t> class_of;                  // (outputs)
  std::vector<std::pair<int64_t, int64_t>> taps;  // of each class: those inside

  BorderClasses(int64_t outputs, int64_t size, int64_t kernel, int64_t stride, int64_t before) {
    std::map<std::pair<int64_t, int64_t>, int32_t> known;
    for (int64_t i = 0; i < outputs; ++i) {
      const int64_t first = i * stride - before;
      const auto inside = std::make_pair(std::max<int64_t>(-first, 0),
                                         std::max<int64_t>(std::min(size - first, kernel), 0));
      const auto found = known.emplace(inside, static_cast<int32_t>(known.size()));
      if (found.second) taps.push_back(inside);
      class_of.push_back(found.first->second);
    }
  }
};

// The float path of 3 x 3 kernels of stride 1 is Winograd's F(2 x 2, 3 x 3), in both directions: 16
// products for what takes 36. Everything else is a product with the matrix of all windows.
class Convolution : public Operation {
 public:
  Convolution(Network& network, const ConvolutionSpec& spec)
      : Operation({spec.input}, spec.output),
        network_(network),
        spec_(spec),
        in_(network.tensor(spec.input).shape),
        out_(network.tensor(spec.output).shape),
        k_(spec.kernel_h * spec.kernel_w * in_.channels),
        run_(spec.kernel_w * in_.channels),
        packed_(is_sign(spec.function.kind) && spec.kind != KernelKind::real &&
                spec.kind != KernelKind::given),
        winograd_(spec.kernel_h == 3 && spec.kernel_w == 3 && spec.stride_h == 1 &&
                  spec.stride_w == 1 && spec.top <= 2 && spec.left <= 2),
        blocks_(ceil_divide(out_.channels, bnnzoo::kBlock)),
        window_{
            std::max((out_.rows - 1) * spec.stride_h + spec.kernel_h, in_.rows + spec.top),
            std::max((out_.columns - 1) * spec.stride_w + spec.kernel_w, in_.columns + spec.left),
            in_.channels, spec.top, spec.left},
        rows_(padded(run_) * spec.kernel_h),
        row_class_(out_.rows, in_.rows, spec.kernel_h, spec.stride_h, spec.top),
        column_class_(out_.columns, in_.columns, spec.kernel_w, spec.stride_w, spec.left) {}

  void forward(const Block& block, bool) override {
    if (packed_) {
      forward_packed(block);
    } else {
      forward_real(block);
    }
  }

  void backward(const Block& block) override {
    if (winograd_) {
      backward_winograd(block);
    } else {
      backward_windows(block);
    }
  }

  bool needs_input() const override { return true; }
  bool has_parameters() const override { return true; }
  int64_t parts() const override { return blocks_; }
  int64_t wanted_images() const override {
    // Enough pixels that the kernel, if it does not stay in the cache, is read for many of them.
    return k_ * out_.channels < 65536 ? 1 : ceil_divide(512, out_.pixels());
  }

  int64_t workspace(int64_t images) const override;
  void reserve(int32_t lanes) override;
  void prepare(int64_t part, bool training) override;
  void finish_preparing() override {
    if (!packed_) return;
    network_.binary.pack_weights(binary_kernel(), words_.data(), packed_weights_[0].data());
  }
  void finish_gradients(int64_t part) override;

 private:
  bool needs_input_gradient() const { return network_.tensor(inputs[0]).differentiable; }
  int64_t in_padded() const { return padded(in_.channels); }
  int64_t out_padded() const { return padded(out_.channels); }
  const float* quantized() const {
    if (spec_.kind == KernelKind::real) return network_.parameters.data() + spec_.weights;
    if (spec_.kind == KernelKind::given || spec_.kind == KernelKind::given_signs) {
      return network_.state.data() + spec_.quantized;
    }
    return quantized_.data();
  }
  float* floats(const AlignedBuffer& buffer) const {
    return reinterpret_cast<float*>(buffer.data());
  }

  // Tiles of 2 x 2 of the input's gradient and of the output's, and the frames that hold them.
  int64_t tile_rows(const Shape& shape) const { return ceil_divide(shape.rows, 2); }
  int64_t tile_columns(const Shape& shape) const { return ceil_divide(shape.columns, 2); }
  Frame sign_frame() const {
    return {2 * tile_rows(out_) + 2, 2 * tile_columns(out_) + 2, in_padded(), spec_.top,
            spec_.left};
  }
  Frame gradient_frame() const {
    return {std::max(2 * tile_rows(in_) + 2, 2 - spec_.top + 2 * tile_rows(out_)),
            std::max(2 * tile_columns(in_) + 2, 2 - spec_.left + 2 * tile_columns(out_)),
            out_padded(), 2 - spec_.top, 2 - spec_.left};
  }
  Frame product_frame() const {
    return {2 * tile_rows(in_), 2 * tile_columns(in_), in_padded(), 0, 0};
  }
  // Floats from one of the 16 matrices of a transformation to the next.
  static int64_t place_floats(int64_t rows, int64_t columns) { return rows * columns + kPanel; }
  static int64_t units_at_once(int64_t columns) { return std::max<int64_t>(kTiles / columns, 1); }

  Bconv2d binary_kernel() const;
  void quantize(int64_t first, int64_t last);
  void pack_signs(int64_t first, int64_t last);
  void pack_forward(int64_t first, int64_t last);
  void pack_backward(int64_t first, int64_t last);
  void forward_packed(const Block& block);
  void forward_real(const Block& block);
  void backward_winograd(const Block& block);
  void backward_windows(const Block& block);
  void fill_frame(const Frame& frame, const float* x, const Shape& shape,
                  const InputFunction& function, float border, float* to) const;
  void windows(const float* frames, int64_t first, int64_t count, float* matrix, int64_t all) const;
  void add_windows(const float* matrix, int64_t first, int64_t count, float* frames,
                   int64_t all) const;
  void differentiate(const Frame& frame, const float* products, const float* x, float* dx) const;

  Network& network_;
  const ConvolutionSpec spec_;
  const Shape in_, out_;
  const int64_t k_, run_;
  const bool packed_, winograd_;
  const int64_t blocks_;
  const Frame window_;
  const int64_t rows_;  // of the matrix of the kernel: runs of a row of it, padded
  const BorderClasses row_class_, column_class_;

  std::vector<float> quantized_, magnitude_;
  std::vector<uint64_t> words_;
  std::vector<int32_t> offsets_;
  std::vector<AlignedBuffer> packed_weights_, scale_, bias_;  // one each
  std::vector<AlignedBuffer> forward_weights_, backward_weights_;
  std::vector<AlignedBuffer> bits_;  // per lane: an image inside its border
  std::vector<AlignedBuffer> sums_;  // per lane: of the kernel's gradient
};

int64_t Convolution::workspace(int64_t images) const {
  int64_t backward = 0;
  if (winograd_) {
    const int64_t tiles = std::max(units_at_once(tile_columns(in_)) * tile_columns(in_),
                                   units_at_once(tile_columns(out_)) * tile_columns(out_));
    backward =
        images * (sign_frame().floats() + gradient_frame().floats() + product_frame().floats()) +
        kPlaces * (place_floats(tiles, in_padded()) + place_floats(tiles, out_padded()));
  } else {
    const int64_t pixels = units_at_once(out_.columns) * out_.columns;
    backward = 2 * images * window_.floats() + pixels * (2 * rows_ + out_padded());
  }
  const int64_t pixels = units_at_once(out_.columns) * out_.columns;
  const int64_t forward = packed_ ? 0 : images * window_.floats() + pixels * (rows_ + out_padded());
  return std::max(forward, backward) + 64;
}

void Convolution::reserve(int32_t lanes) {
  const auto make = [](std::vector<AlignedBuffer>& buffers, int64_t bytes) {
    buffers.emplace_back(static_cast<size_t>(bytes));
  };
  constexpr int64_t bytes = sizeof(float);
  quantized_.resize(static_cast<size_t>(k_ * out_.channels));
  magnitude_.assign(static_cast<size_t>(out_.channels), 1.0f);
  if (packed_) {
    const int64_t words = ceil_divide(in_.channels, bnnzoo::kBlock);
    const int64_t units = spec_.kernel_h * spec_.kernel_w * words;
    const int64_t block = 8 * network_.binary.expansion;
    words_.resize(static_cast<size_t>(out_.channels * units));
    for (int64_t tap = 0; tap < spec_.kernel_h * spec_.kernel_w; ++tap) {
      const int64_t pixel = tap / spec_.kernel_w * window_.columns + tap % spec_.kernel_w;
      for (int64_t word = 0; word < words; ++word) {
        offsets_.push_back(static_cast<int32_t>((pixel * words + word) * block));
      }
    }
    make(packed_weights_, static_cast<int64_t>(network_.binary.weights_bytes(binary_kernel())));
    const auto classes = static_cast<int64_t>(row_class_.taps.size() * column_class_.taps.size());
    make(scale_, blocks_ * bnnzoo::kBlock * bytes);
    make(bias_, classes * blocks_ * bnnzoo::kBlock * bytes);
    for (int32_t lane = 0; lane < lanes; ++lane) {
      make(bits_, window_.rows * window_.columns * words * block);
    }
  } else {
    make(forward_weights_, out_padded() * rows_ * bytes);
  }
  const int64_t matrix =
      winograd_ ? kPlaces * place_floats(in_padded(), out_padded()) : rows_ * out_padded();
  make(backward_weights_, matrix * bytes);
  for (int32_t lane = 0; lane < lanes; ++lane) make(sums_, matrix * bytes);
}

void Convolution::prepare(int64_t part, bool training) {
  const int64_t first = part * bnnzoo::kBlock;
  const int64_t last = std::min(first + bnnzoo::kBlock, out_.channels);
  quantize(first, last);
  if (packed_) {
    pack_signs(first, last);
  } else {
    pack_forward(first, last);
  }
  if (training && needs_input_gradient()) pack_backward(first, last);
}

void Convolution::quantize(int64_t first, int64_t last) {
  const float* latent = network_.parameters.data() + spec_.weights;
  const int64_t columns = out_.channels;
  if (spec_.kind == KernelKind::given_signs) {
    for (int64_t o = first; o < last; ++o) {
      magnitude_[static_cast<size_t>(o)] = std::fabs(quantized()[o]);
    }
  }
  if (spec_.kind == KernelKind::magnitude_sign) {
    std::vector<double> sums(static_cast<size_t>(last - first));
    for (int64_t k = 0; k < k_; ++k) {
      for (int64_t o = first; o < last; ++o) {
        sums[static_cast<size_t>(o - first)] += std::fabs(latent[k * columns + o]);
      }
    }
    for (int64_t o = first; o < last; ++o) {
      magnitude_[static_cast<size_t>(o)] =
          static_cast<float>(sums[static_cast<size_t>(o - first)] / static_cast<double>(k_));
    }
  }
  if (spec_.kind == KernelKind::sign || spec_.kind == KernelKind::magnitude_sign) {
    for (int64_t k = 0; k < k_; ++k) {
      for (int64_t o = first; o < last; ++o) {
        const float magnitude = magnitude_[static_cast<size_t>(o)];
        quantized_[static_cast<size_t>(k * columns + o)] =
            latent[k * columns + o] < 0 ? -magnitude : magnitude;
      }
    }
  }
}

// A count c of different bits is the sum K - 2 c. Bits cannot be 0: a border of +1 is counted, and
// the bias of each class of pixels has what its taps outside should be instead.
void Convolution::pack_signs(int64_t first, int64_t last) {
  const int64_t taps = spec_.kernel_h * spec_.kernel_w, channels = in_.channels;
  const int64_t words = ceil_divide(channels, bnnzoo::kBlock), units = taps * words;
  const float* kernel = quantized();
  std::vector<int64_t> tap_sums(static_cast<size_t>(taps * (last - first)));
  for (int64_t unit = 0; unit < units; ++unit) {
    const int64_t begin = unit % words * bnnzoo::kBlock;
    const int64_t count = std::min<int64_t>(bnnzoo::kBlock, channels - begin);
    const float* from = kernel + (unit / words * channels + begin) * out_.channels;
    std::array<uint64_t, bnnzoo::kBlock> bits = {};
    for (int64_t c = 0; c < count; ++c, from += out_.channels) {
      for (int64_t o = first; o < last; ++o) {
        bits[static_cast<size_t>(o - first)] |= uint64_t{from[o] < 0} << c;
      }
    }
    for (int64_t o = first; o < last; ++o) {
      const uint64_t word = bits[static_cast<size_t>(o - first)];
      words_[static_cast<size_t>(o * units + unit)] = word;
      tap_sums[static_cast<size_t>(unit / words * (last - first) + o - first)] +=
          count - 2 * static_cast<int64_t>(std::bitset<64>(word).count());
    }
  }
  float *scale = floats(scale_[0]), *bias = floats(bias_[0]);
  for (const auto& rows : row_class_.taps) {
    for (const auto& columns : column_class_.taps) {
      for (int64_t o = first; o < last; ++o) {
        int64_t outside = 0;
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t y = tap / spec_.kernel_w, x = tap % spec_.kernel_w;
          const bool inside =
              y >= rows.first && y < rows.second && x >= columns.first && x < columns.second;
          if (!inside) outside += tap_sums[static_cast<size_t>(tap * (last - first) + o - first)];
        }
        const float magnitude = magnitude_[static_cast<size_t>(o)];
        scale[o] = -2 * magnitude;
        bias[o] =
            magnitude * (static_cast<float>(k_) + (spec_.border - 1) * static_cast<float>(outside));
      }
      bias += blocks_ * bnnzoo::kBlock;
    }
  }
}

// (c_out / 16, rows, 16)
void Convolution::pack_forward(int64_t first, int64_t last) {
  float* to = floats(forward_weights_[0]);
  for (int64_t k = 0; k < k_; ++k) {
    const int64_t row = k / run_ * padded(run_) + k % run_;
    const float* from = quantized() + k * out_.channels;
    for (int64_t o = first; o < last; ++o) {
      to[(o / kPanel * rows_ + row) * kPanel + o % kPanel] = from[o];
    }
  }
}

// (rows / 16, c_out, 16), or for Winograd (16, c_in / 16, c_out, 16): G w G^T of the flipped kernel
// w with G = (1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1).
void Convolution::pack_backward(int64_t first, int64_t last) {
  float* to = floats(backward_weights_[0]);
  if (!winograd_) {
    for (int64_t k = 0; k < k_; ++k) {
      const int64_t row = k / run_ * padded(run_) + k % run_;
      const float* from = quantized() + k * out_.channels;
      for (int64_t o = first; o < last; ++o) {
        to[(row / kPanel * out_padded() + o) * kPanel + row % kPanel] = from[o];
      }
    }
    return;
  }
  const int64_t tap = in_.channels * out_.channels;
  const int64_t place = place_floats(in_padded(), out_padded());
  const auto transform = [&](int64_t c, int64_t o) {
    const float* w = quantized() + c * out_.channels + o;
    float rows[4][3];
    for (int64_t x = 0; x < 3; ++x) {
      const float w0 = w[(8 - x) * tap], w1 = w[(5 - x) * tap], w2 = w[(2 - x) * tap];
      rows[0][x] = w0;
      rows[1][x] = 0.5f * (w0 + w1 + w2);
      rows[2][x] = 0.5f * (w0 - w1 + w2);
      rows[3][x] = w2;
    }
    float* at = to + (c / kPanel * out_padded() + o) * kPanel + c % kPanel;
    for (const auto& r : rows) {
      at[0] = r[0];
      at[place] = 0.5f * (r[0] + r[1] + r[2]);
      at[2 * place] = 0.5f * (r[0] - r[1] + r[2]);
      at[3 * place] = r[2];
      at += 4 * place;
    }
  };
  // In squares, so that lines are still in the cache when their next number is written.
  constexpr int64_t kSide = 8;
  for (int64_t o = first; o < last; o += kSide) {
    for (int64_t c = 0; c < in_.channels; ++c) {
      for (int64_t i = o; i < std::min(o + kSide, last); ++i) transform(c, i);
    }
  }
}

Bconv2d Convolution::binary_kernel() const {
  const int64_t pixel = 8 * ceil_divide(in_.channels, bnnzoo::kBlock) * network_.binary.expansion;
  Bconv2d kernel = {};
  kernel.row = spec_.stride_h * window_.columns * pixel;
  kernel.pixel = spec_.stride_w * pixel;
  kernel.planes = 1;
  kernel.c_in = static_cast<int32_t>(in_.channels);
  kernel.units = static_cast<int32_t>(offsets_.size());
  kernel.offsets = offsets_.data();
  kernel.extent = extent_of(out_);
  kernel.row_class = row_class_.class_of.data();
  kernel.column_class = column_class_.class_of.data();
  kernel.column_classes = static_cast<int32_t>(column_class_.taps.size());
  if (packed_weights_.empty() || scale_.empty()) return kernel;
  kernel.weights = packed_weights_[0].data();
  kernel.scale = floats(scale_[0]);
  kernel.bias = floats(bias_[0]);
  return kernel;
}

void Convolution::forward_packed(const Block& block) {
  const bnnzoo::Kernels& binary = network_.binary;
  const int64_t words = ceil_divide(in_.channels, bnnzoo::kBlock);
  const int64_t pixel = 8 * words * binary.expansion, row = pixel * window_.columns;
  uint8_t* bits = bits_[static_cast<size_t>(block.lane)].data();
  Step sign = {};
  sign.kind = StepKind::sign;
  sign.view = bits + spec_.top * row + spec_.left * pixel;
  sign.row = row;
  sign.pixel = pixel;
  Step store = {};
  store.kind = StepKind::store;
  store.row = out_.columns * out_.channels;
  store.pixel = out_.channels;
  Elementwise reading = {
      nullptr, in_.columns * in_.channels, in_.channels, extent_of(in_), {&sign, 1}};
  Bconv2d convolving = binary_kernel();
  convolving.input = bits;
  convolving.epilogue = {&store, 1};
  const float* x = network_.value(inputs[0], block);
  float* z = network_.result(output, block);
  for (int64_t i = 0; i < block.count; ++i, x += in_.floats(), z += out_.floats()) {
    reading.input = x;
    store.view = z;
    binary.elementwise(reading, {0, static_cast<int32_t>(words), 0, in_.pixels()});
    binary.bconv2d(convolving, {0, static_cast<int32_t>(blocks_), 0, out_.pixels()});
  }
}

// Copies images, after a function, into frames with a border.
void Convolution::fill_frame(const Frame& frame, const float* x, const Shape& shape,
                             const InputFunction& function, float border, float* to) const {
  const int64_t inside = shape.columns * frame.channels, before = frame.left * frame.channels;
  std::fill(to, to + frame.top * frame.row(), border);
  float* row = to + frame.top * frame.row();
  for (int64_t y = 0; y < shape.rows; ++y, row += frame.row()) {
    std::fill(row, row + before, border);
    std::fill(row + before + inside, row + frame.row(), border);
    if (frame.channels == shape.channels) {
      network_.kernels.apply(function, x, row + before, inside);
      x += inside;
      continue;
    }
    float* pixel = row + before;
    for (int64_t p = 0; p < shape.columns; ++p, x += shape.channels, pixel += frame.channels) {
      network_.kernels.apply(function, x, pixel, shape.channels);
      std::fill(pixel + shape.channels, pixel + frame.channels, 0.0f);
    }
  }
  std::fill(row, to + frame.floats(), border);
}

// Rows of windows of some output rows, counted over the images: (rows / 16, all, 16).
void Convolution::windows(const float* frames, int64_t first, int64_t count, float* matrix,
                          int64_t all) const {
  for (int64_t unit = first; unit < first + count; ++unit) {
    const float* image = frames + unit / out_.rows * window_.floats() +
                         unit % out_.rows * spec_.stride_h * window_.row();
    for (int64_t y = 0; y < spec_.kernel_h; ++y, image += window_.row()) {
      float* panels = matrix + y * padded(run_) * all + (unit - first) * out_.columns * kPanel;
      for (int64_t c = 0; c < run_; c += kPanel, panels += all * kPanel) {
        const auto length = static_cast<size_t>(std::min(kPanel, run_ - c));
        for (int64_t x = 0; x < out_.columns; ++x) {
          float* to = panels + x * kPanel;
          if (length < kPanel) std::memset(to, 0, kPanel * sizeof(float));
          std::memcpy(to, image + x * spec_.stride_w * window_.channels + c,
                      length * sizeof(float));
        }
      }
    }
  }
}

void Convolution::add_windows(const float* matrix, int64_t first, int64_t count, float* frames,
                              int64_t all) const {
  for (int64_t unit = first; unit < first + count; ++unit) {
    float* image = frames + unit / out_.rows * window_.floats() +
                   unit % out_.rows * spec_.stride_h * window_.row();
    for (int64_t y = 0; y < spec_.kernel_h; ++y, image += window_.row()) {
      const float* panels =
          matrix + y * padded(run_) * all + (unit - first) * out_.columns * kPanel;
      for (int64_t c = 0; c < run_; c += kPanel, panels += all * kPanel) {
        const int64_t length = std::min(kPanel, run_ - c);
        for (int64_t x = 0; x < out_.columns; ++x) {
          float* to = image + x * spec_.stride_w * window_.channels + c;
          for (int64_t i = 0; i < length; ++i) to[i] += panels[x * kPanel + i];
        }
      }
    }
  }
}

void Convolution::forward_real(const Block& block) {
  const int64_t units = block.count * out_.rows, at_once = units_at_once(out_.columns);
  float* frames = network_.workspace(block.lane);
  float* matrix = frames + block.count * window_.floats();
  float* products = matrix + at_once * out_.columns * rows_;
  const float* x = network_.value(inputs[0], block);
  float* z = network_.result(output, block);
  for (int64_t i = 0; i < block.count; ++i) {
    fill_frame(window_, x + i * in_.floats(), in_, spec_.function, spec_.border,
               frames + i * window_.floats());
  }
  for (int64_t first = 0; first < units; first += at_once) {
    const int64_t count = std::min(at_once, units - first), pixels = count * out_.columns;
    windows(frames, first, count, matrix, pixels);
    network_.kernels.multiply(matrix, pixels, floats(forward_weights_[0]), products, pixels,
                              out_padded() / kPanel, rows_);
    from_panels(products, pixels, out_.channels, z + first * out_.columns * out_.channels, pixels);
  }
}

// dx of some images = f'(x) * products, which are in frames.
void Convolution::differentiate(const Frame& frame, const float* products, const float* x,
                                float* dx) const {
  const float* row = products + frame.interior();
  const int64_t step = frame.channels == in_.channels ? in_.columns : 1;
  for (int64_t y = 0; y < in_.rows; ++y, row += frame.row()) {
    for (int64_t p = 0; p < in_.columns; p += step) {
      const int64_t n = step * in_.channels;
      network_.kernels.differentiate(spec_.function, x, row + p * frame.channels, dx, n, adds[0]);
      x += n;
      dx += n;
    }
  }
}

void Convolution::backward_winograd(const Block& block) {
  const Frame signs = sign_frame(), gradients = gradient_frame(), products = product_frame();
  float* sign_frames = network_.workspace(block.lane);
  float* gradient_frames = sign_frames + block.count * signs.floats();
  float* product_frames = gradient_frames + block.count * gradients.floats();
  float* left = product_frames + block.count * products.floats();
  const float* x = network_.value(inputs[0], block);
  const float* dz = network_.gradient(output, block);
  float* dx = needs_input_gradient() ? network_.gradient(inputs[0], block) : nullptr;
  for (int64_t i = 0; i < block.count; ++i) {
    fill_frame(signs, x + i * in_.floats(), in_, spec_.function, spec_.border,
               sign_frames + i * signs.floats());
    fill_frame(gradients, dz + i * out_.floats(), out_, {}, 0,
               gradient_frames + i * gradients.floats());
  }
  const Kernels& kernels = network_.kernels;
  // The gradient of the kernel, in the domain of the tiles: B^T s B times A dz A^T, over all tiles.
  {
    const int64_t rows = tile_rows(out_), columns = tile_columns(out_);
    const int64_t units = block.count * rows, at_once = units_at_once(columns);
    float* right = left + kPlaces * place_floats(at_once * columns, in_padded());
    float* sums = floats(sums_[static_cast<size_t>(block.lane)]);
    for (int64_t first = 0; first < units; first += at_once) {
      const int64_t count = std::min(at_once, units - first), tiles = count * columns;
      for (int64_t unit = first; unit < first + count; ++unit) {
        const int64_t image = unit / rows, row = 2 * (unit % rows);
        const int64_t at = (unit - first) * columns * kPanel;
        kernels.winograd_input(sign_frames + image * signs.floats() + row * signs.row(),
                               signs.row(), signs.channels, columns, left + at, tiles);
        kernels.winograd_gradient(gradient_frames + image * gradients.floats() +
                                      gradients.interior() + row * gradients.row(),
                                  gradients.row(), gradients.channels, columns, right + at, tiles);
      }
      for (int64_t place = 0; place < kPlaces; ++place) {
        kernels.multiply_transposed(left + place * place_floats(tiles, in_padded()),
                                    right + place * place_floats(tiles, out_padded()),
                                    sums + place * place_floats(in_padded(), out_padded()),
                                    in_padded() / kPanel, out_padded() / kPanel, tiles);
      }
    }
  }
  if (dx == nullptr) return;
  const int64_t rows = tile_rows(in_), columns = tile_columns(in_);
  const int64_t units = block.count * rows, at_once = units_at_once(columns);
  float* right = left + kPlaces * place_floats(at_once * columns, out_padded());
  for (int64_t first = 0; first < units; first += at_once) {
    const int64_t count = std::min(at_once, units - first), tiles = count * columns;
    for (int64_t unit = first; unit < first + count; ++unit) {
      kernels.winograd_input(
          gradient_frames + unit / rows * gradients.floats() + 2 * (unit % rows) * gradients.row(),
          gradients.row(), gradients.channels, columns, left + (unit - first) * columns * kPanel,
          tiles);
    }
    for (int64_t place = 0; place < kPlaces; ++place) {
      kernels.multiply(
          left + place * place_floats(tiles, out_padded()), tiles,
          floats(backward_weights_[0]) + place * place_floats(in_padded(), out_padded()),
          right + place * place_floats(tiles, in_padded()), tiles, in_padded() / kPanel,
          out_padded());
    }
    for (int64_t unit = first; unit < first + count; ++unit) {
      kernels.winograd_output(
          right + (unit - first) * columns * kPanel, tiles, products.channels, columns,
          product_frames + unit / rows * products.floats() + 2 * (unit % rows) * products.row(),
          products.row());
    }
  }
  for (int64_t i = 0; i < block.count; ++i) {
    differentiate(products, product_frames + i * products.floats(), x + i * in_.floats(),
                  dx + i * in_.floats());
  }
}

void Convolution::backward_windows(const Block& block) {
  const int64_t units = block.count * out_.rows, at_once = units_at_once(out_.columns);
  const int64_t most = at_once * out_.columns;
  float* frames = network_.workspace(block.lane);
  float* products = frames + block.count * window_.floats();
  float* matrix = products + block.count * window_.floats();
  float* gradients = matrix + most * rows_;
  float* window_gradients = gradients + most * out_padded();
  const float* x = network_.value(inputs[0], block);
  const float* dz = network_.gradient(output, block);
  float* dx = needs_input_gradient() ? network_.gradient(inputs[0], block) : nullptr;
  for (int64_t i = 0; i < block.count; ++i) {
    fill_frame(window_, x + i * in_.floats(), in_, spec_.function, spec_.border,
               frames + i * window_.floats());
  }
  if (dx != nullptr) std::fill(products, products + block.count * window_.floats(), 0.0f);
  for (int64_t first = 0; first < units; first += at_once) {
    const int64_t count = std::min(at_once, units - first), pixels = count * out_.columns;
    windows(frames, first, count, matrix, pixels);
    to_panels(dz + first * out_.columns * out_.channels, pixels, out_.channels, gradients, pixels);
    network_.kernels.multiply_transposed(matrix, gradients,
                                         floats(sums_[static_cast<size_t>(block.lane)]),
                                         rows_ / kPanel, out_padded() / kPanel, pixels);
    if (dx == nullptr) continue;
    network_.kernels.multiply(gradients, pixels, floats(backward_weights_[0]), window_gradients,
                              pixels, rows_ / kPanel, out_padded());
    add_windows(window_gradients, first, count, products, pixels);
  }
  for (int64_t i = 0; dx != nullptr && i < block.count; ++i) {
    differentiate(window_, products + i * window_.floats(), x + i * in_.floats(),
                  dx + i * in_.floats());
  }
}

// Adds the lanes' sums in order, and sets them to zero for the next step.
void Convolution::finish_gradients(int64_t part) {
  const int64_t first = part * bnnzoo::kBlock;
  const int64_t last = std::min(first + bnnzoo::kBlock, out_.channels);
  const int64_t rows = winograd_ ? in_padded() : rows_, places = winograd_ ? kPlaces : 1;
  const int64_t place = winograd_ ? place_floats(in_padded(), out_padded()) : rows * out_padded();
  float* total = floats(sums_[0]);
  for (int64_t p = 0; p < places; ++p) {
    const int64_t begin = p * place + first / kPanel * rows * kPanel;
    const int64_t n = ceil_divide(last - first, kPanel) * rows * kPanel;
    for (size_t lane = 1; lane < sums_.size(); ++lane) {
      network_.kernels.accumulate(floats(sums_[lane]) + begin, total + begin, n, true);
      std::fill_n(floats(sums_[lane]) + begin, n, 0.0f);
    }
  }
  float* gradient = network_.gradients.data() + spec_.weights;
  const int64_t tap = in_.channels * out_.channels;
  // G^T m G
  for (int64_t o = first; winograd_ && o < last; o += kPanel) {
    const int64_t count = std::min(kPanel, last - o);
    for (int64_t c = 0; c < in_.channels; ++c) {
      const float* m = total + (o / kPanel * rows + c) * kPanel;
      float* to = gradient + c * out_.channels + o;
      for (int64_t i = 0; i < count; ++i) {
        float half[3][4];
        for (int64_t x = 0; x < 4; ++x) {
          const float m0 = m[x * place + i], m1 = m[(4 + x) * place + i],
                      m2 = m[(8 + x) * place + i], m3 = m[(12 + x) * place + i];
          half[0][x] = m0 + 0.5f * (m1 + m2);
          half[1][x] = 0.5f * (m1 - m2);
          half[2][x] = 0.5f * (m1 + m2) + m3;
        }
        for (int64_t y = 0; y < 3; ++y) {
          const float sum = 0.5f * (half[y][1] + half[y][2]);
          to[3 * y * tap + i] = half[y][0] + sum;
          to[(3 * y + 1) * tap + i] = 0.5f * (half[y][1] - half[y][2]);
          to[(3 * y + 2) * tap + i] = sum + half[y][3];
        }
      }
    }
  }
  for (int64_t k = 0; !winograd_ && k < k_; ++k) {
    const int64_t row = k / run_ * padded(run_) + k % run_;
    for (int64_t o = first; o < last; ++o) {
      gradient[k * out_.channels + o] = total[(o / kPanel * rows + row) * kPanel + o % kPanel];
    }
  }
  for (int64_t p = 0; p < places; ++p) {
    std::fill_n(total + p * place + first / kPanel * rows * kPanel,
                ceil_divide(last - first, kPanel) * rows * kPanel, 0.0f);
  }
  if (spec_.kind != KernelKind::sign && spec_.kind != KernelKind::magnitude_sign) return;
  const float* latent = network_.parameters.data() + spec_.weights;
  const bool scales = spec_.kind == KernelKind::magnitude_sign && spec_.scale_gradient;
  for (int64_t k = 0; k < k_; ++k) {
    for (int64_t o = first; o < last; ++o) {
      const float factor = scales ? magnitude_[static_cast<size_t>(o)] : 1.0f;
      const int64_t i = k * out_.channels + o;
      gradient[i] = std::fabs(latent[i]) <= spec_.limit ? factor * gradient[i] : 0.0f;
    }
  }
}

}  // namespace

std::unique_ptr<Operation> make_convolution(Network& network, const ConvolutionSpec& spec) {
  return std::make_unique<Convolution>(network, spec);
}

}  // namespace bnnzoo::training
