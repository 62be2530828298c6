// count_block (see binary_kernels.h) over the planes and over as many units as 16-bit counts can
// hold. Included inside an anonymous namespace, where it needs
//
//     constexpr int32_t kTotalUnits   units after which a 16-bit count may overflow
//     struct Total                    counts of a block, 16 bits each
//     template <int pixels>
//     void count_units(const uint8_t* const* inputs, const int32_t* offsets, int32_t units,
//                      const uint8_t* weights, Total (&totals)[pixels])
//     void put_total(int32_t* counts, const Total&, int32_t plane, bool first)

template <int pixels>
BNNZOO_NOINLINE void count_block(const Bconv2d& op, const uint8_t* const* inputs,
                                 const uint8_t* weights, int, int32_t* counts) {
  for (int32_t plane = 0; plane < op.planes; ++plane) {
    const uint8_t* of_plane[pixels];
    for (int p = 0; p < pixels; ++p) of_plane[p] = inputs[p] + plane * op.plane;
    for (int32_t unit = 0; unit < op.units; unit += kTotalUnits) {
      const int32_t units = smaller(op.units - unit, kTotalUnits);
      const uint8_t* from = weights + int64_t{unit} * 8 * kBlock;
      Total totals[pixels];
      count_units(of_plane, op.offsets + unit, units, from, totals);
      const bool first = plane == 0 && unit == 0;
#pragma GCC unroll 8
      for (int p = 0; p < pixels; ++p) put_total(counts + p * kBlock, totals[p], plane, first);
    }
  }
}
