// Every kind of step, alone and in chains, through the elementwise kernel.
#include <algorithm>
#include <cmath>

#include "kernel_test.h"

namespace bnnzoo::test {

Bits::Bits(int h, int w, int c, int border, int expansion)
    : w_(w), c_(c), border_(border), expansion_(expansion) {
  bytes_.resize(static_cast<size_t>((h + 2 * border) * row_bytes()));
}

void Bits::set(int y, int x, int channel, bool bit) {
  uint8_t* byte = pixel(y, x) + channel / 8 * expansion_;
  for (int copy = 0; copy < expansion_; ++copy) {
    const int mask = 1 << channel % 8;
    byte[copy] = static_cast<uint8_t>(bit ? byte[copy] | mask : byte[copy] & ~mask);
  }
}

bool Bits::get(int y, int x, int channel, int copy) const {
  return bytes_[index(y, x) + static_cast<size_t>(channel / 8 * expansion_ + copy)] >> channel % 8 &
         1;
}

bool Bits::well_formed(int y, int x) const {
  for (int channel = 0; channel < padded(c_); ++channel) {
    for (int copy = 0; copy < expansion_; ++copy) {
      const bool bit = get(y, x, channel, copy);
      if (bit != get(y, x, channel, 0) || (channel >= c_ && bit)) return false;
    }
  }
  return true;
}

struct Chain::Storage {
  Aligned<float> a{0}, b{0};
  View view{0};
  std::vector<Bits> planes;  // with the border of one pixel that nothing may write
  std::vector<uint8_t> bytes;
};

Chain::Storage& Chain::append(StepKind kind) {
  storage_.push_back(std::make_shared<Storage>());
  Step step{};
  step.kind = kind;
  steps_.push_back(step);
  return *storage_.back();
}

Aligned<float> Chain::parameter(int numerators, float denominator) {
  Aligned<float> values(static_cast<size_t>(padded(channels_)));
  for (int c = 0; c < channels_; ++c) {
    values[static_cast<size_t>(c)] =
        static_cast<float>(random_.integer(-numerators, numerators)) / denominator;
  }
  return values;
}

Chain& Chain::affine(bool scale, bool bias) {
  Storage& own = append(StepKind::affine);
  own.a = parameter(2, 2.0f);
  own.b = parameter(8, 4.0f);
  steps_.back().a = scale ? own.a.data() : nullptr;
  steps_.back().b = bias ? own.b.data() : nullptr;
  return *this;
}

Chain& Chain::clip(float low, float high) {
  append(StepKind::clip);
  steps_.back().low = low;
  steps_.back().high = high;
  return *this;
}

Chain& Chain::prelu() {
  Storage& own = append(StepKind::prelu);
  own.a = parameter(3, 4.0f);
  steps_.back().a = own.a.data();
  return *this;
}

Chain& Chain::arithmetic(StepKind kind, bool broadcast_pixels) {
  Storage& own = append(kind);
  const int pixels = broadcast_pixels ? 1 : rows_ * columns_;
  own.view = View(static_cast<size_t>(pixels * channels_));
  for (size_t i = 0; i < own.view.size(); ++i) {
    own.view[i] = static_cast<float>(random_.integer(-4, 4)) / 2.0f;
  }
  Step& step = steps_.back();
  step.view = own.view.data();
  step.pixel = broadcast_pixels ? 0 : channels_;
  step.row = broadcast_pixels ? 0 : channels_ * columns_;
  return *this;
}

Chain& Chain::store() {
  Storage& own = append(StepKind::store);
  own.view = View(static_cast<size_t>(rows_ * columns_ * channels_));
  Step& step = steps_.back();
  step.view = own.view.data();
  step.pixel = channels_;
  step.row = channels_ * columns_;
  return *this;
}

Chain& Chain::sign(bool threshold, bool direction) {
  Storage& own = append(StepKind::sign);
  own.planes.emplace_back(rows_, columns_, channels_, 1, expansion_);
  own.a = parameter(4, 2.0f);
  own.b = Aligned<float>(static_cast<size_t>(padded(channels_)));
  for (int c = 0; c < channels_; ++c) {
    own.b[static_cast<size_t>(c)] = random_.integer(0, 1) == 0 ? -1.0f : 1.0f;
  }
  Step& step = steps_.back();
  step.a = threshold ? own.a.data() : nullptr;
  step.b = direction ? own.b.data() : nullptr;
  step.view = own.planes[0].pixel(0, 0);
  step.row = own.planes[0].row_bytes();
  step.pixel = own.planes[0].pixel_bytes();
  return *this;
}

// Planes are stored one after the other, as images without a border.
Chain& Chain::quantize(int bits) {
  Storage& own = append(StepKind::quantize);
  own.planes.emplace_back(rows_, columns_, channels_, 0, expansion_);
  Step& step = steps_.back();
  step.row = own.planes[0].row_bytes();
  step.pixel = own.planes[0].pixel_bytes();
  step.plane = rows_ * step.row;
  step.bits = bits;
  own.bytes.resize(static_cast<size_t>(bits * step.plane));
  step.view = own.bytes.data();
  return *this;
}

void Chain::clear() {
  for (size_t i = 0; i < steps_.size(); ++i) {
    Storage& own = *storage_[i];
    if (steps_[i].kind == StepKind::store) {
      for (size_t j = 0; j < own.view.size(); ++j) own.view[j] = -77.0f;
    } else if (steps_[i].kind == StepKind::sign) {
      for (int y = 0; y < rows_; ++y) {
        std::memset(own.planes[0].pixel(y, 0), 0xff,
                    static_cast<size_t>(own.planes[0].pixel_bytes() * columns_));
      }
    } else if (steps_[i].kind == StepKind::quantize) {
      std::memset(own.bytes.data(), 0xff, own.bytes.size());
    }
  }
}

std::vector<uint8_t> Chain::written() const {
  std::vector<uint8_t> all;
  for (size_t i = 0; i < steps_.size(); ++i) {
    Storage& own = *storage_[i];
    if (steps_[i].kind == StepKind::store) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(own.view.data());
      all.insert(all.end(), bytes, bytes + own.view.size() * sizeof(float));
    }
    for (Bits& plane : own.planes) {
      if (steps_[i].kind != StepKind::sign) continue;
      const uint8_t* begin = plane.pixel(-1, -1);
      all.insert(all.end(), begin, begin + plane.row_bytes() * (rows_ + 2));
    }
    all.insert(all.end(), own.bytes.begin(), own.bytes.end());
  }
  return all;
}

namespace {

// The border of a bits view that nothing may write.
bool border_is_clear(Bits& bits, int rows, int columns) {
  for (int y = -1; y <= rows; ++y) {
    for (int x = -1; x <= columns; ++x) {
      if (y >= 0 && y < rows && x >= 0 && x < columns) continue;
      const uint8_t* byte = bits.pixel(y, x);
      for (int64_t i = 0; i < bits.pixel_bytes(); ++i) {
        if (byte[i] != 0) return false;
      }
    }
  }
  return true;
}

bool plane_bit(const Step& step, int plane, int y, int x, int channel, int copy, int expansion) {
  const uint8_t* byte = static_cast<const uint8_t*>(step.view) + plane * step.plane + y * step.row +
                        x * step.pixel + channel / 8 * expansion + copy;
  return *byte >> channel % 8 & 1;
}

double arithmetic_value(const Step& step, double value, int y, int x, int c) {
  const double other = static_cast<const float*>(step.view)[y * step.row + x * step.pixel + c];
  if (step.kind == StepKind::add) return value + other;
  return step.kind == StepKind::subtract ? value - other : value * other;
}

// The value after a step that computes; the other kinds leave it.
double next_value(const Step& step, double value, int y, int x, int c) {
  switch (step.kind) {
    case StepKind::affine: return value * (step.a ? step.a[c] : 1.0) + (step.b ? step.b[c] : 0.0);
    case StepKind::clip: return std::min(std::max(value, double{step.low}), double{step.high});
    case StepKind::prelu: return value >= 0 ? value : value * step.a[c];
    case StepKind::add:
    case StepKind::subtract:
    case StepKind::multiply: return arithmetic_value(step, value, y, x, c);
    default: return value;
  }
}

bool quantized_well(const Step& step, double value, int y, int x, int c, int expansion) {
  const double levels = (1 << step.bits) - 1;
  const int level = static_cast<int>(std::nearbyint(std::min(std::max(value, 0.0), 1.0) * levels));
  for (int plane = 0; plane < step.bits; ++plane) {
    for (int copy = 0; copy < expansion; ++copy) {
      if (plane_bit(step, plane, y, x, c, copy, expansion) == (level >> plane & 1)) return false;
    }
  }
  return true;
}

}  // namespace

void Chain::check(std::vector<double> values, const std::string& what, double tolerance) {
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    Storage& own = *storage_[s];
    const std::string where = what + ", step " + std::to_string(s);
    size_t i = 0;
    for (int y = 0; y < rows_; ++y) {
      for (int x = 0; x < columns_; ++x) {
        for (int c = 0; c < channels_; ++c, ++i) {
          values[i] = next_value(step, values[i], y, x, c);
          const std::string at = where + " at " + std::to_string(y) + " " + std::to_string(x) +
                                 " " + std::to_string(c);
          if (step.kind == StepKind::store) {
            expect(std::fabs(own.view[i] - values[i]) <= tolerance,
                   at + ": " + std::to_string(own.view[i]) + ", not " + std::to_string(values[i]));
          } else if (step.kind == StepKind::sign) {
            const double directed = values[i] * (step.b ? step.b[c] : 1.0);
            expect(own.planes[0].get(y, x, c, 0) == (directed < (step.a ? step.a[c] : 0.0)), at);
          } else if (step.kind == StepKind::quantize) {
            expect(quantized_well(step, values[i], y, x, c, expansion_), at);
          }
        }
        if (step.kind == StepKind::sign) {
          expect(own.planes[0].well_formed(y, x), where + ": copies or unused bits");
        } else if (step.kind == StepKind::quantize) {
          for (int c = channels_; c < padded(channels_); ++c) {
            for (int plane = 0; plane < step.bits; ++plane) {
              expect(!plane_bit(step, plane, y, x, c, 0, expansion_), where + ": unused bits");
            }
          }
        }
      }
    }
    if (step.kind == StepKind::sign) {
      expect(border_is_clear(own.planes[0], rows_, columns_), where + ": wrote the border");
    }
  }
}

namespace {

// Halves, quarters, zeros of both signs.
View some_values(int count, Random& random) {
  View values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const int quarters = random.integer(-12, 12);
    values[i] = quarters == 0 && random.integer(0, 1) ? -0.0f : static_cast<float>(quarters) / 4.0f;
  }
  return values;
}

void run_chain(const Kernels& isa, Chain& chain, int rows, int columns, int channels,
               const std::string& what) {
  Random random(static_cast<uint64_t>(channels));
  const View input = some_values(rows * columns * channels, random);
  Elementwise op{};
  op.input = input.data();
  op.pixel = channels;
  op.row = channels * columns;
  op.extent = {rows, columns, channels};
  op.epilogue = chain.epilogue();
  chain.clear();
  run_whole_and_pieces(isa.elementwise, op, chain, blocks(channels), rows * columns, what);
  chain.check({input.data(), input.data() + input.size()}, what);
}

constexpr int kChannels[] = {1, 3, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 128, 130};

}  // namespace

void test_steps(const Kernels& isa) {
  const int rows = 3, columns = 5;
  for (const int channels : kChannels) {
    const auto run = [&](Chain& chain, const std::string& name) {
      run_chain(isa, chain, rows, columns, channels, name + " c=" + std::to_string(channels));
    };
    std::vector<std::unique_ptr<Chain>> chains;
    const auto chain = [&]() -> Chain& {
      chains.push_back(std::make_unique<Chain>(rows, columns, channels, isa.expansion, 5));
      return *chains.back();
    };
    run(chain().affine(true, true).store(), "affine");
    run(chain().affine(true, false).store(), "scale");
    run(chain().affine(false, true).store(), "bias");
    run(chain().affine(false, false).store(), "identity");
    run(chain().clip(-0.5f, 1.25f).store(), "clip");
    run(chain().clip(0.0f, INFINITY).store(), "relu");
    run(chain().prelu().store(), "prelu");
    for (const bool broadcast : {false, true}) {
      run(chain().arithmetic(StepKind::add, broadcast).store(), "add");
      run(chain().arithmetic(StepKind::subtract, broadcast).store(), "subtract");
      run(chain().arithmetic(StepKind::multiply, broadcast).store(), "multiply");
    }
    run(chain().sign(false, false), "sign");
    run(chain().sign(true, false), "sign threshold");
    run(chain().sign(true, true), "sign threshold direction");
    run(chain().sign(false, true), "sign direction");
    for (int bits = 1; bits <= 8; ++bits) run(chain().quantize(bits), "quantize");
    run(chain()
            .affine(true, true)
            .store()
            .prelu()
            .arithmetic(StepKind::add, false)
            .sign(true, true)
            .clip(-1.0f, 1.0f)
            .quantize(2)
            .store()
            .sign(false, false)
            .affine(false, true)
            .store(),
        "long chain");
  }
}

}  // namespace bnnzoo::test
