// The Python module `bnnzoo.runtime._engine`: a narrow interface that checks its arguments.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"
#include "program.h"
#include "require.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bnnzoo {
namespace {

template <class T>
using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T>
using OptionalArray = std::optional<Array<T>>;

template <class T>
Span<const T> span(const Array<T>& array) {
  return {array.data(), array.size()};
}

template <class T>
Span<const T> span(const OptionalArray<T>& array) {
  return array ? span(*array) : Span<const T>{nullptr, 0};
}

// An epilogue under construction; it keeps the arrays alive until the program has copied them.
class EpilogueBuilder {
 public:
  void add(StepKind kind, const OptionalArray<float>& a, const OptionalArray<float>& b) {
    specs.push_back({kind, 0, span(a), span(b), 0, 0, {}});
    for (const auto& array : {a, b}) {
      if (array) kept_.push_back(*array);
    }
  }
  void affine(const OptionalArray<float>& scale, const OptionalArray<float>& bias) {
    add(StepKind::affine, scale, bias);
  }
  void clip(float low, float high) { specs.push_back({StepKind::clip, 0, {}, {}, low, high, {}}); }
  void prelu(const Array<float>& alpha) { add(StepKind::prelu, alpha, std::nullopt); }
  void combine(const std::string& kind, const View& view) {
    specs.push_back({binary_kind(kind), 0, {}, {}, 0, 0, view});
  }
  void store(const View& view) { specs.push_back({StepKind::store, 0, {}, {}, 0, 0, view}); }
  void sign(const View& view, const OptionalArray<float>& threshold,
            const OptionalArray<float>& direction) {
    add(StepKind::sign, threshold, direction);
    specs.back().view = view;
  }
  void quantize(const View& view, int32_t bits) {
    specs.push_back({StepKind::quantize, bits, {}, {}, 0, 0, view});
  }

  EpilogueSpec specs;

 private:
  static StepKind binary_kind(const std::string& kind) {
    if (kind == "add") return StepKind::add;
    if (kind == "subtract") return StepKind::subtract;
    require(kind == "multiply", "combine", "must be add, subtract or multiply");
    return StepKind::multiply;
  }

  std::vector<Array<float>> kept_;
};

const Kernels& find_kernels(const std::string& name) {
  for (const Kernels* const* kernels = available_kernels(); *kernels != nullptr; ++kernels) {
    if (name == (*kernels)->name) return **kernels;
  }
  throw std::invalid_argument("isa must be one of isas().");
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Kernels* const* kernels = available_kernels(); *kernels != nullptr; ++kernels) {
    names.emplace_back((*kernels)->name);
  }
  return names;
}

// operands: (offset, strides) of the result and of its inputs.
StridedLoop loop_of(const std::vector<int64_t>& shape,
                    const std::vector<std::vector<int64_t>>& strides,
                    const std::vector<int64_t>& offsets, size_t operands) {
  require(!shape.empty() && shape.size() <= StridedLoop::kMaxAxes, "loop", "must have 1 to 8 axes");
  require(strides.size() == operands && offsets.size() == operands, "loop",
          "must have an offset and strides per operand");
  StridedLoop loop{};
  loop.axes = static_cast<int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), loop.shape.begin());
  std::copy(offsets.begin(), offsets.end(), loop.offsets.begin());
  for (size_t i = 0; i < operands; ++i) {
    require(strides[i].size() == shape.size(), "loop", "must have a stride per axis");
    std::copy(strides[i].begin(), strides[i].end(), loop.strides[i].begin());
  }
  return loop;
}

Unary unary_of(const std::string& name) {
  if (name == "copy") return Unary::copy;
  if (name == "sigmoid") return Unary::sigmoid;
  require(name == "tanh", "function", "must be copy, sigmoid or tanh");
  return Unary::tanh;
}

Binary binary_of(const std::string& name) {
  if (name == "add") return Binary::add;
  if (name == "subtract") return Binary::subtract;
  require(name == "multiply", "function", "must be add, subtract or multiply");
  return Binary::multiply;
}

// Python before 3.14 ends a thread that requests the interpreter's lock while the interpreter ends.
// glibc does that by unwinding the stack, which aborts in nanobind's noexcept functions, and
// crashes where this module has an unwinder of its own, as from zig. Here the stack seems to end at
// this function, so that nothing of this module is unwound. On other architectures the thread waits
// until the process ends, as in Python 3.14.
[[gnu::noinline]] void restore_thread(PyThreadState* state) {
#if defined(__linux__) && defined(__x86_64__)
  asm volatile(".cfi_undefined rip");
#elif defined(__linux__) && defined(__aarch64__)
  asm volatile(".cfi_undefined x30");
#endif
  PyEval_RestoreThread(state);
  asm volatile("");  // no tail call, which would replace this function on the stack
}

// Releases the interpreter's lock during its lifetime.
class LockReleased {
 public:
  LockReleased() : state_(PyEval_SaveThread()) {}
  ~LockReleased() {
    try {
      restore_thread(state_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
  LockReleased(const LockReleased&) = delete;
  LockReleased& operator=(const LockReleased&) = delete;

 private:
  PyThreadState* const state_;
};

using Output = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

// inputs: one (images, ...) each; outputs: the same, written. Returns nanoseconds per operation,
// all 0 unless `profile`.
std::vector<int64_t> run(Engine& engine, const std::vector<Array<float>>& inputs,
                         const std::vector<Output>& outputs, bool profile) {
  const Program& program = engine.program();
  require(inputs.size() == program.inputs().size(), "inputs", "must be one per input");
  require(inputs[0].ndim() > 0, "input", "must have a batch axis");
  const auto images = static_cast<int64_t>(inputs[0].shape(0));
  const auto holds = [&](size_t size, const Program::Port& port) {
    return static_cast<int64_t>(size) / port.floats() == images &&
           static_cast<int64_t>(size) % port.floats() == 0;
  };
  std::vector<const float*> given;
  for (size_t i = 0; i < inputs.size(); ++i) {
    require(holds(inputs[i].size(), program.inputs()[i]), "input", "must have the program's shape");
    given.push_back(inputs[i].data());
  }
  require(outputs.size() == program.outputs().size(), "outputs", "must be one per output");
  std::vector<float*> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    require(holds(outputs[i].size(), program.outputs()[i]), "output",
            "must have the program's shape");
    results.push_back(outputs[i].data());
  }
  std::vector<int64_t> nanoseconds(program.operations().size());
  LockReleased released;
  engine.run(given, images, results, profile ? nanoseconds.data() : nullptr);
  return nanoseconds;
}

void bind_records(nb::module_& m) {
  nb::class_<View>(m, "View").def(nb::init<int64_t, int64_t, int64_t, int64_t>(), "offset"_a,
                                  "row"_a, "pixel"_a, "plane"_a = 0);
  nb::class_<Extent>(m, "Extent")
      .def(nb::init<int32_t, int32_t, int32_t>(), "rows"_a, "columns"_a, "channels"_a);
  nb::class_<Window>(m, "Window")
      .def(nb::init<int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t>(),
           "height"_a, "width"_a, "pool_h"_a, "pool_w"_a, "stride_h"_a, "stride_w"_a, "top"_a,
           "left"_a);
  nb::class_<LevelsSpec>(m, "Levels").def(nb::init<int64_t, int64_t>(), "offset"_a, "size"_a);
  nb::class_<EpilogueBuilder>(m, "Epilogue")
      .def(nb::init<>())
      .def("affine", &EpilogueBuilder::affine, "scale"_a.none().noconvert(),
           "bias"_a.none().noconvert())
      .def("clip", &EpilogueBuilder::clip, "low"_a, "high"_a)
      .def("prelu", &EpilogueBuilder::prelu, "alpha"_a.noconvert())
      .def("combine", &EpilogueBuilder::combine, "kind"_a, "view"_a)
      .def("store", &EpilogueBuilder::store, "view"_a)
      .def("sign", &EpilogueBuilder::sign, "view"_a, "threshold"_a.none().noconvert(),
           "direction"_a.none().noconvert())
      .def("quantize", &EpilogueBuilder::quantize, "view"_a, "bits"_a);
}

void bind_kernels(nb::class_<Program>& program) {
  program
      .def(
          "bconv2d",
          [](Program& self, const View& input, int32_t planes, int32_t c_in,
             const Array<int32_t>& offsets, const Array<uint64_t>& words, const Array<float>& scale,
             const Array<float>& bias, const OptionalArray<int32_t>& row_class,
             const OptionalArray<int32_t>& column_class, const Extent& output,
             const EpilogueBuilder& epilogue) {
            self.bconv2d({input, planes, c_in, span(offsets), span(words), span(scale), span(bias),
                          span(row_class), span(column_class)},
                         output, epilogue.specs);
          },
          "input"_a, "planes"_a, "c_in"_a, "offsets"_a.noconvert(), "words"_a.noconvert(),
          "scale"_a.noconvert(), "bias"_a.noconvert(), "row_class"_a.none().noconvert(),
          "column_class"_a.none().noconvert(), "output"_a, "epilogue"_a)
      .def(
          "conv2d",
          [](Program& self, const View& input, const Array<int64_t>& offsets, int32_t run_length,
             const Array<float>& kernel, const Extent& output, const EpilogueBuilder& epilogue) {
            self.conv2d({input, span(offsets), run_length, span(kernel)}, output, epilogue.specs);
          },
          "input"_a, "offsets"_a.noconvert(), "run_length"_a, "kernel"_a.noconvert(), "output"_a,
          "epilogue"_a)
      .def(
          "pooled_conv2d",
          [](Program& self, const View& input, const Array<int64_t>& offsets, int32_t run_length,
             const Array<float>& kernel, const Extent& map, const EpilogueBuilder& inner,
             const Window& window, bool maximum, const Extent& output,
             const EpilogueBuilder& epilogue) {
            self.pooled_conv2d(Conv2dSpec{input, span(offsets), run_length, span(kernel)}, map,
                               inner.specs, window, maximum, output, epilogue.specs);
          },
          "input"_a, "offsets"_a.noconvert(), "run_length"_a, "kernel"_a.noconvert(), "map"_a,
          "inner"_a, "window"_a, "maximum"_a, "output"_a, "epilogue"_a)
      .def(
          "depthwise_conv2d",
          [](Program& self, const View& input, const Array<int64_t>& offsets,
             const Array<float>& kernel, const Extent& output, const EpilogueBuilder& epilogue) {
            self.depthwise_conv2d({input, span(offsets), 1, span(kernel)}, output, epilogue.specs);
          },
          "input"_a, "offsets"_a.noconvert(), "kernel"_a.noconvert(), "output"_a, "epilogue"_a)
      .def(
          "pool2d",
          [](Program& self, const View& input, const Window& window, bool maximum,
             const Extent& output, const EpilogueBuilder& epilogue) {
            self.pool2d(input, window, maximum, output, epilogue.specs);
          },
          "input"_a, "window"_a, "maximum"_a, "output"_a, "epilogue"_a)
      .def(
          "bmax_pool2d",
          [](Program& self, const View& input, const Window& window, const Array<uint64_t>& mask,
             const Extent& output,
             const View& result) { self.bmax_pool2d(input, window, span(mask), output, result); },
          "input"_a, "window"_a, "mask"_a.noconvert(), "output"_a, "result"_a)
      .def(
          "elementwise",
          [](Program& self, const View& input, const Extent& extent,
             const EpilogueBuilder& epilogue) { self.elementwise(input, extent, epilogue.specs); },
          "input"_a, "extent"_a, "epilogue"_a);
}

void bind_int8_kernels(nb::class_<Program>& program) {
  program
      .def("levels", &Program::levels, "input"_a, "extent"_a, "levels"_a, "top"_a, "bottom"_a,
           "left"_a, "right"_a)
      .def(
          "int8_conv2d",
          [](Program& self, const LevelsSpec& levels, const View& input,
             const Array<int64_t>& offsets, int32_t run_length, const Array<int8_t>& kernel,
             const Array<float>& scale, const Extent& output, const EpilogueBuilder& epilogue) {
            self.int8_conv2d({levels, input, span(offsets), run_length, span(kernel), span(scale)},
                             output, epilogue.specs);
          },
          "levels"_a, "input"_a, "offsets"_a.noconvert(), "run_length"_a, "kernel"_a.noconvert(),
          "scale"_a.noconvert(), "output"_a, "epilogue"_a)
      .def(
          "pooled_int8_conv2d",
          [](Program& self, const LevelsSpec& levels, const View& input,
             const Array<int64_t>& offsets, int32_t run_length, const Array<int8_t>& kernel,
             const Array<float>& scale, const Extent& map, const EpilogueBuilder& inner,
             const Window& window, bool maximum, const Extent& output,
             const EpilogueBuilder& epilogue) {
            self.pooled_conv2d(
                Int8Conv2dSpec{levels, input, span(offsets), run_length, span(kernel), span(scale)},
                map, inner.specs, window, maximum, output, epilogue.specs);
          },
          "levels"_a, "input"_a, "offsets"_a.noconvert(), "run_length"_a, "kernel"_a.noconvert(),
          "scale"_a.noconvert(), "map"_a, "inner"_a, "window"_a, "maximum"_a, "output"_a,
          "epilogue"_a);
}

void bind_plain(nb::class_<Program>& program) {
  program
      .def(
          "strided_unary",
          [](Program& self, const std::string& function, const std::vector<int64_t>& shape,
             const std::vector<int64_t>& offsets,
             const std::vector<std::vector<int64_t>>& strides) {
            self.strided_unary(unary_of(function), loop_of(shape, strides, offsets, 2));
          },
          "function"_a, "shape"_a, "offsets"_a, "strides"_a)
      .def(
          "strided_binary",
          [](Program& self, const std::string& function, const std::vector<int64_t>& shape,
             const std::vector<int64_t>& offsets,
             const std::vector<std::vector<int64_t>>& strides) {
            self.strided_binary(binary_of(function), loop_of(shape, strides, offsets, 3));
          },
          "function"_a, "shape"_a, "offsets"_a, "strides"_a)
      .def(
          "fill",
          [](Program& self, float value, const std::vector<int64_t>& shape, int64_t offset,
             const std::vector<int64_t>& strides) {
            self.fill(value, loop_of(shape, {strides}, {offset}, 1));
          },
          "value"_a, "shape"_a, "offset"_a, "strides"_a)
      .def(
          "resize2d",
          [](Program& self, const View& input, const Extent& from, const Array<int32_t>& rows,
             const Array<int32_t>& next_rows, const Array<float>& row_weights,
             const Array<int32_t>& columns, const Array<int32_t>& next_columns,
             const Array<float>& column_weights, const View& output, const Extent& to) {
            self.resize2d(input, from, {span(rows), span(next_rows), span(row_weights)},
                          {span(columns), span(next_columns), span(column_weights)}, output, to);
          },
          "input"_a, "from_extent"_a, "rows"_a.noconvert(), "next_rows"_a.noconvert(),
          "row_weights"_a.noconvert(), "columns"_a.noconvert(), "next_columns"_a.noconvert(),
          "column_weights"_a.noconvert(), "output"_a, "to_extent"_a)
      .def("softmax", &Program::softmax, "input"_a, "output"_a, "extent"_a)
      .def("dequantize", &Program::dequantize, "input"_a, "planes"_a, "levels"_a, "output"_a,
           "extent"_a)
      .def("reshape", &Program::reshape, "input"_a, "from_extent"_a, "output"_a, "to_extent"_a)
      .def("reshape_bits", &Program::reshape_bits, "input"_a, "from_extent"_a, "output"_a,
           "to_extent"_a, "planes"_a)
      .def("slice_bits", &Program::slice_bits, "input"_a, "from_extent"_a, "first"_a, "output"_a,
           "to_extent"_a, "planes"_a);
}

}  // namespace
}  // namespace bnnzoo

NB_MODULE(_engine, m) {
  using namespace bnnzoo;
  m.doc() = "The native engine of bnnzoo.runtime; bnnzoo.runtime.planner writes its programs.";
  // A daemon thread keeps its network until the process ends, and the runtime must not print.
  nb::set_leak_warnings(false);
  m.attr("MAGNITUDE_PARTS") = kMagnitudeParts;
  m.def("isas", &isas, "Names of the instruction sets of this CPU that have kernels, best first.");
  m.def(
      "expansion", [](const std::string& isa) { return find_kernels(isa).expansion; }, "isa"_a,
      "How many times each byte of a bits view is repeated.");
  m.def(
      "level_bytes", [](const std::string& isa) { return find_kernels(isa).level_bytes; }, "isa"_a,
      "Bytes per level of an 8-bit input.");
  bind_records(m);
  nb::class_<Program> program(m, "Program");
  program
      .def(
          "__init__",
          [](Program* self, const std::string& isa, int64_t arena_bytes) {
            new (self) Program(find_kernels(isa), arena_bytes);
          },
          "isa"_a, "arena_bytes"_a)
      .def("add_input", &Program::add_input, "view"_a, "extent"_a)
      .def("add_output", &Program::add_output, "view"_a, "extent"_a)
      .def(
          "fill_bits",
          [](Program& self, int64_t offset, int64_t pixels, const Array<uint64_t>& words) {
            self.fill_bits(offset, pixels, span(words));
          },
          "offset"_a, "pixels"_a, "words"_a.noconvert())
      .def("join_last", &Program::join_last)
      .def("__len__", [](const Program& self) { return self.operations().size(); });
  bind_kernels(program);
  bind_int8_kernels(program);
  bind_plain(program);
  nb::class_<Engine>(m, "Engine")
      .def(
          "__init__",
          [](Engine* self, std::shared_ptr<Program> program, int32_t threads) {
            require(threads >= 1 && threads <= 1024, "threads", "must be from 1 to 1024");
            new (self) Engine(std::move(program), threads);
          },
          "program"_a, "threads"_a)
      .def_prop_ro("threads", &Engine::threads)
      .def("run", &run, "inputs"_a.noconvert(), "outputs"_a.noconvert(), "profile"_a = false);
}
