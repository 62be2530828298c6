// The Python module `bnnzoo.training.native._network`: an interface that checks its arguments.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../denormals.h"
#include "../require.h"
#include "convolution.h"
#include "loss.h"
#include "network.h"
#include "operations.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bnnzoo::training {
namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<nb::numpy, float>;

constexpr int64_t kMaxSize = int64_t{1} << 31;
constexpr int64_t kUpdated = 1 << 15;  // parameters that one thread updates at a time

const bnnzoo::Kernels& binary_kernels(const std::string& isa) {
  for (const bnnzoo::Kernels* const* kernels = available_kernels(); *kernels != nullptr;
       ++kernels) {
    if (isa == (*kernels)->name) return **kernels;
  }
  throw std::invalid_argument("isa must be one of this CPU.");
}

const Kernels& float_kernels(const std::string& isa) {
#if defined(__x86_64__)
  if (isa == "avx2") return avx2_kernels;
  if (isa.rfind("avx512", 0) == 0) return avx512_kernels;
#endif
  static_cast<void>(isa);
  return portable_kernels;
}

Shape shape_of(int64_t rows, int64_t columns, int64_t channels) {
  require(rows > 0 && columns > 0 && channels > 0, "shape", "must be positive");
  require(rows < kMaxSize && columns < kMaxSize && channels < kMaxSize &&
              rows * columns < kMaxSize && rows * columns * channels < kMaxSize,
          "shape", "must be below 2^31 numbers");
  return {rows, columns, channels};
}

// What is checked before an operation is added.
class Checked {
 public:
  explicit Checked(Network& network) : network_(network) {
    require(!network.is_finished(), "network", "must not be finished");
  }

  const Shape& tensor(int32_t index) const {
    require(index >= 0 && index < network_.tensors(), "tensor", "must be one of the network");
    return network_.tensor(index).shape;
  }
  // -1 is none.
  void parameters(int64_t offset, int64_t count, bool optional = true) const {
    if (optional && offset == -1) return;
    const auto size = static_cast<int64_t>(network_.parameters.size());
    require(offset >= 0 && offset <= size - count, "parameters", "must be of the network");
  }
  void state(int64_t offset, int64_t count) const {
    const auto size = static_cast<int64_t>(network_.state.size());
    require(offset >= 0 && offset <= size - count, "state", "must be of the network");
  }
  static void same(const Shape& a, const Shape& b) {
    require(a.rows == b.rows && a.columns == b.columns && a.channels == b.channels, "output",
            "must have the input's shape");
  }
  // Windows of an output pixel begin inside the border, and reach into the image.
  static void windows(const Shape& in, const Shape& out, int64_t h, int64_t w, int64_t stride_h,
                      int64_t stride_w, int64_t top, int64_t left) {
    require(h > 0 && w > 0 && stride_h > 0 && stride_w > 0, "window", "must be positive");
    require(top >= 0 && left >= 0 && top < h && left < w, "border",
            "must be smaller than the window");
    require((out.rows - 1) * stride_h - top < in.rows &&
                (out.columns - 1) * stride_w - left < in.columns,
            "windows", "must reach into the image");
  }

 private:
  Network& network_;
};

InputFunction function_of(const std::string& name, float a, float b) {
  const std::pair<const char*, InputKind> known[] = {
      {"identity", InputKind::identity},
      {"sign", InputKind::sign},
      {"approx_sign", InputKind::approx_sign},
      {"hard_tanh", InputKind::hard_tanh},
      {"relu", InputKind::relu},
      {"error_decay", InputKind::error_decay},
      {"swish_sign", InputKind::swish_sign},
  };
  for (const auto& [kind, value] : known) {
    if (name == kind) return {value, a, b};
  }
  throw std::invalid_argument("function must be a known one.");
}

KernelKind kernel_kind(const std::string& name) {
  const std::pair<const char*, KernelKind> known[] = {
      {"real", KernelKind::real},
      {"sign", KernelKind::sign},
      {"magnitude_sign", KernelKind::magnitude_sign},
      {"given", KernelKind::given},
      {"given_signs", KernelKind::given_signs},
  };
  for (const auto& [kind, value] : known) {
    if (name == kind) return value;
  }
  throw std::invalid_argument("kernel must be a known kind.");
}

void add_convolution(Network& network, int32_t input, int32_t output,
                     const std::vector<int64_t>& kernel, const std::vector<int64_t>& strides,
                     const std::vector<int64_t>& border, float border_value,
                     const InputFunction& function, const std::string& kind, float limit,
                     bool scale_gradient, int64_t weights, int64_t quantized) {
  const Checked checked(network);
  require(kernel.size() == 2 && strides.size() == 2 && border.size() == 2, "kernel",
          "must have two axes");
  const Shape &in = checked.tensor(input), &out = checked.tensor(output);
  Checked::windows(in, out, kernel[0], kernel[1], strides[0], strides[1], border[0], border[1]);
  const int64_t count = kernel[0] * kernel[1] * in.channels * out.channels;
  checked.parameters(weights, count, false);
  const KernelKind chosen = kernel_kind(kind);
  if (chosen == KernelKind::given || chosen == KernelKind::given_signs) {
    checked.state(quantized, count);
  }
  network.append(make_convolution(
      network, {input, output, kernel[0], kernel[1], strides[0], strides[1], border[0], border[1],
                border_value, function, chosen, limit, scale_gradient, weights, quantized}));
}

void add_pool(Network& network, int32_t input, int32_t output, const std::vector<int64_t>& pool,
              const std::vector<int64_t>& strides, const std::vector<int64_t>& border,
              bool maximum) {
  const Checked checked(network);
  require(pool.size() == 2 && strides.size() == 2 && border.size() == 2, "pool",
          "must have two axes");
  const Shape &in = checked.tensor(input), &out = checked.tensor(output);
  Checked::windows(in, out, pool[0], pool[1], strides[0], strides[1], border[0], border[1]);
  require(in.channels == out.channels, "output", "must have the input's channels");
  network.append(make_pool(network, {input, output, pool[0], pool[1], strides[0], strides[1],
                                     border[0], border[1], maximum}));
}

int64_t images_of(const Network& network, const Array<const float>& images) {
  const int64_t floats = network.tensor(0).shape.floats();
  const auto size = static_cast<int64_t>(images.size());
  require(network.is_finished(), "network", "must be finished");
  require(size > 0 && size % floats == 0, "images", "must have the input's shape");
  require(size / floats <= network.batch(), "images", "must be at most one batch");
  return size / floats;
}

// Returns the loss and the number of correct images; computes the gradients.
std::pair<double, int64_t> train(Network& network, int32_t output, const Array<const float>& images,
                                 const Array<const int32_t>& labels, double smoothing,
                                 const std::optional<Array<const float>>& teacher,
                                 double distillation, double temperature) {
  const int64_t count = images_of(network, images);
  const int64_t classes = network.tensor(output).shape.floats();
  require(static_cast<int64_t>(labels.size()) == count, "labels", "must be one per image");
  require(!teacher || static_cast<int64_t>(teacher->size()) == count * classes, "teacher",
          "must have the output's shape");
  require(network.output_gradient() != nullptr, "output", "must depend on parameters");
  nb::gil_scoped_release released;
  network.forward(images.data(), count, true);
  const Loss loss =
      cross_entropy({smoothing, distillation, temperature}, network.output(), labels.data(),
                    teacher ? teacher->data() : nullptr, count, classes, network.output_gradient());
  network.backward();
  return {loss.mean, loss.correct};
}

Output predict(Network& network, int32_t output, const Array<const float>& images) {
  const int64_t count = images_of(network, images);
  const auto classes = static_cast<size_t>(network.tensor(output).shape.floats());
  const size_t size = static_cast<size_t>(count) * classes;
  auto* numbers = new float[size];
  const nb::capsule owner(numbers, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  {
    nb::gil_scoped_release released;
    network.forward(images.data(), count, false);
    std::memcpy(numbers, network.output(), size * sizeof(float));
  }
  const size_t shape[] = {static_cast<size_t>(count), classes};
  return Output(numbers, 2, shape, owner);
}

// Parameters from `offset` on, and an optimizer's numbers for all parameters.
template <class Update>
void update(Network& network, int64_t offset, int64_t count, const std::vector<size_t>& slots,
            const Update& one) {
  const auto size = static_cast<int64_t>(network.parameters.size());
  require(count >= 0 && offset >= 0 && offset <= size - count, "parameters",
          "must be of the network");
  for (const size_t slot : slots) {
    require(slot == network.parameters.size(), "slot", "must have a number per parameter");
  }
  nb::gil_scoped_release released;
  auto body = [&](int64_t part) {
    const DenormalsAsZero scope;
    const int64_t first = offset + part * kUpdated;
    one(first, std::min(kUpdated, offset + count - first));
  };
  network.pool().run((count + kUpdated - 1) / kUpdated, body);
}

void adam(Network& network, int64_t offset, int64_t count, const Array<float>& means,
          const Array<float>& squares, float rate, float rest1, float rest2, float epsilon,
          float decay, float limit, float scale) {
  const AdamStep step = {rate, rest1, rest2, epsilon, decay, limit, scale};
  update(network, offset, count, {means.size(), squares.size()}, [&](int64_t first, int64_t n) {
    network.kernels.adam(step, network.parameters.data() + first, network.gradients.data() + first,
                         means.data() + first, squares.data() + first, n);
  });
}

void sgd(Network& network, int64_t offset, int64_t count, const Array<float>& velocities,
         float rate, float momentum, float decay, float limit, float scale) {
  const SgdStep step = {rate, momentum, decay, limit, scale};
  update(network, offset, count, {velocities.size()}, [&](int64_t first, int64_t n) {
    network.kernels.sgd(step, network.parameters.data() + first, network.gradients.data() + first,
                        velocities.data() + first, n);
  });
}

Output view(const nb::object& self, std::vector<float> Network::* member) {
  Network& network = nb::cast<Network&>(self);
  require(network.is_finished(), "network", "must be finished");
  std::vector<float>& numbers = network.*member;
  const size_t shape[] = {numbers.size()};
  return Output(numbers.data(), 1, shape, self);
}

void bind_operations(nb::class_<Network>& network) {
  network
      .def("convolution", &add_convolution, "input"_a, "output"_a, "kernel"_a, "strides"_a,
           "border"_a, "border_value"_a, "function"_a, "kind"_a, "limit"_a, "scale_gradient"_a,
           "weights"_a, "quantized"_a)
      .def(
          "batch_norm",
          [](Network& self, int32_t input, int32_t output, float epsilon, float momentum,
             int64_t gamma, int64_t beta, int64_t moving) {
            const Checked checked(self);
            const Shape& shape = checked.tensor(input);
            Checked::same(shape, checked.tensor(output));
            checked.parameters(gamma, shape.channels);
            checked.parameters(beta, shape.channels);
            checked.state(moving, 2 * shape.channels);
            self.append(
                make_batch_norm(self, {input, output, epsilon, momentum, gamma, beta, moving}));
          },
          "input"_a, "output"_a, "epsilon"_a, "momentum"_a, "gamma"_a, "beta"_a, "moving"_a)
      .def(
          "slopes",
          [](Network& self, int32_t input, int32_t output, int64_t shift, int64_t positive,
             int64_t negative, int64_t offset) {
            const Checked checked(self);
            const Shape& shape = checked.tensor(input);
            Checked::same(shape, checked.tensor(output));
            for (const int64_t parameter : {shift, positive, negative, offset}) {
              checked.parameters(parameter, shape.channels);
            }
            self.append(make_slopes(self, {input, output, shift, positive, negative, offset}));
          },
          "input"_a, "output"_a, "shift"_a, "positive"_a, "negative"_a, "offset"_a)
      .def(
          "function",
          [](Network& self, int32_t input, int32_t output, const InputFunction& function) {
            const Checked checked(self);
            Checked::same(checked.tensor(input), checked.tensor(output));
            self.append(make_function(self, input, output, function));
          },
          "input"_a, "output"_a, "function"_a)
      .def(
          "adaptive_sign",
          [](Network& self, int32_t input, int32_t output, int64_t scale, int64_t center) {
            const Checked checked(self);
            Checked::same(checked.tensor(input), checked.tensor(output));
            checked.parameters(scale, 1, false);
            checked.parameters(center, 1, false);
            self.append(make_adaptive_sign(self, input, output, scale, center));
          },
          "input"_a, "output"_a, "scale"_a, "center"_a)
      .def(
          "add",
          [](Network& self, const std::vector<int32_t>& inputs, int32_t output) {
            const Checked checked(self);
            require(inputs.size() >= 2, "inputs", "must be two or more");
            for (const int32_t input : inputs) {
              Checked::same(checked.tensor(input), checked.tensor(output));
            }
            self.append(make_add(self, inputs, output));
          },
          "inputs"_a, "output"_a)
      .def(
          "concatenate",
          [](Network& self, const std::vector<int32_t>& inputs, int32_t output) {
            const Checked checked(self);
            const Shape& out = checked.tensor(output);
            int64_t channels = 0;
            for (const int32_t input : inputs) {
              const Shape& in = checked.tensor(input);
              Checked::same({in.rows, in.columns, out.channels}, out);
              channels += in.channels;
            }
            require(channels == out.channels, "output", "must have the channels of all inputs");
            self.append(make_concatenate(self, inputs, output));
          },
          "inputs"_a, "output"_a)
      .def(
          "pad",
          [](Network& self, int32_t input, int32_t output, int64_t top, int64_t left,
             int64_t channels) {
            const Checked checked(self);
            const Shape &in = checked.tensor(input), &out = checked.tensor(output);
            require(top >= 0 && left >= 0 && channels >= 0 && in.rows + top <= out.rows &&
                        in.columns + left <= out.columns && in.channels + channels <= out.channels,
                    "output", "must hold the input");
            self.append(make_pad(self, {input, output, top, left, channels}));
          },
          "input"_a, "output"_a, "top"_a, "left"_a, "channels"_a)
      .def("pool", &add_pool, "input"_a, "output"_a, "pool"_a, "strides"_a, "border"_a,
           "maximum"_a);
}

void bind_network(nb::module_& m) {
  nb::class_<InputFunction>(m, "Function")
      .def(
          "__init__",
          [](InputFunction* self, const std::string& name, float a, float b) {
            new (self) InputFunction(function_of(name, a, b));
          },
          "name"_a, "a"_a = 1.0f, "b"_a = 1.0f);
  nb::class_<Network> network(m, "Network");
  network
      .def(
          "__init__",
          [](Network* self, const std::string& isa, int32_t threads, int64_t batch) {
            require(threads >= 1 && threads <= 1024, "threads", "must be from 1 to 1024");
            require(batch >= 1 && batch < kMaxSize, "batch", "must be positive");
            new (self) Network(binary_kernels(isa), float_kernels(isa), threads, batch);
          },
          "isa"_a, "threads"_a, "batch"_a)
      .def(
          "tensor",
          [](Network& self, int64_t rows, int64_t columns, int64_t channels) {
            const Checked checked(self);
            return self.add_tensor(shape_of(rows, columns, channels));
          },
          "rows"_a, "columns"_a, "channels"_a)
      .def(
          "view",
          [](Network& self, int32_t tensor, int64_t rows, int64_t columns, int64_t channels) {
            const Checked checked(self);
            const Shape shape = shape_of(rows, columns, channels);
            require(checked.tensor(tensor).floats() == shape.floats(), "view",
                    "must have the tensor's size");
            return self.add_view(tensor, shape);
          },
          "tensor"_a, "rows"_a, "columns"_a, "channels"_a)
      .def(
          "add_parameters",
          [](Network& self, int64_t count) {
            const Checked checked(self);
            require(count > 0 && count < kMaxSize, "count", "must be positive");
            return self.add_parameters(count);
          },
          "count"_a)
      .def(
          "add_state",
          [](Network& self, int64_t count) {
            const Checked checked(self);
            require(count > 0 && count < kMaxSize, "count", "must be positive");
            return self.add_state(count);
          },
          "count"_a)
      .def(
          "finish",
          [](Network& self, int32_t output) {
            const Checked checked(self);
            checked.tensor(output);
            self.finish(output);
          },
          "output"_a)
      .def("train", &train, "output"_a, "images"_a.noconvert(), "labels"_a.noconvert(),
           "smoothing"_a, "teacher"_a.none().noconvert(), "distillation"_a, "temperature"_a)
      .def("predict", &predict, "output"_a, "images"_a.noconvert())
      .def("adam", &adam, "offset"_a, "count"_a, "means"_a.noconvert(), "squares"_a.noconvert(),
           "rate"_a, "rest1"_a, "rest2"_a, "epsilon"_a, "decay"_a, "limit"_a, "scale"_a)
      .def("sgd", &sgd, "offset"_a, "count"_a, "velocities"_a.noconvert(), "rate"_a, "momentum"_a,
           "decay"_a, "limit"_a, "scale"_a)
      .def_prop_ro("parameters", [](nb::object self) { return view(self, &Network::parameters); })
      .def_prop_ro("gradients", [](nb::object self) { return view(self, &Network::gradients); })
      .def_prop_ro("state", [](nb::object self) { return view(self, &Network::state); })
      .def_prop_ro("isa", [](const Network& self) { return self.kernels.name; })
      .def_prop_ro("threads", &Network::lanes);
  bind_operations(network);
}

}  // namespace
}  // namespace bnnzoo::training

NB_MODULE(_network, m) {
  m.doc() = "Networks that are trained natively; bnnzoo.training.native builds them.";
  nanobind::set_leak_warnings(false);
  bnnzoo::training::bind_network(m);
}
