// The Python module `bnnzoo.data._resampling`: a narrow interface that checks its arguments.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "resampling.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bnnzoo {
namespace {

template <class T, int axes>
using Array = nb::ndarray<const T, nb::ndim<axes>, nb::c_contig, nb::device::cpu>;

Taps taps_of(const Array<int64_t, 2>& index, const Array<float, 2>& weight, size_t size) {
  const size_t count = index.shape(0), pixels = index.shape(1);
  if (count == 0 || pixels == 0 || weight.shape(0) != count || weight.shape(1) != pixels) {
    throw std::invalid_argument("taps must have an index per weight");
  }
  const auto last = static_cast<int64_t>(size) - 1;
  if (!std::all_of(index.data(), index.data() + index.size(),
                   [last](int64_t i) { return i >= 0 && i <= last; })) {
    throw std::invalid_argument("taps must be inside the image");
  }
  return {static_cast<int64_t>(count), static_cast<int64_t>(pixels), index.data(), weight.data()};
}

nb::ndarray<nb::numpy, float> resampled(const Array<uint8_t, 3>& image,
                                        const Array<int64_t, 2>& rows,
                                        const Array<float, 2>& row_weights,
                                        const Array<int64_t, 2>& columns,
                                        const Array<float, 2>& column_weights) {
  const Taps down = taps_of(rows, row_weights, image.shape(0));
  const Taps right = taps_of(columns, column_weights, image.shape(1));
  const size_t channels = image.shape(2);
  const auto height = static_cast<size_t>(down.pixels), width = static_cast<size_t>(right.pixels);
  std::vector<float> row(image.shape(1) * channels);
  auto output = std::make_unique<float[]>(height * width * channels);
  {
    nb::gil_scoped_release release;
    resample(image.data(), static_cast<int64_t>(image.shape(1)), static_cast<int64_t>(channels),
             down, right, row.data(), output.get());
  }
  float* result = output.release();
  nb::capsule owner(result, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return nb::ndarray<nb::numpy, float>(result, {height, width, channels}, owner);
}

}  // namespace
}  // namespace bnnzoo

NB_MODULE(_resampling, m) {
  m.def("resample", &bnnzoo::resampled, "image"_a.noconvert(), "rows"_a.noconvert(),
        "row_weights"_a.noconvert(), "columns"_a.noconvert(), "column_weights"_a.noconvert());
}
