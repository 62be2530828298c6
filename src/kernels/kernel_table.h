// The table of an instruction set: of the kernels that its file has included before this header.

constexpr Kernels kernel_table(const char* name,
                               decltype(Kernels::int8_conv2d) int8_kernel = int8_conv2d) {
  return {
      name,
      kBlockBytes / 8,
      kBlock,
      kLevelBytes,
      weights_bytes,
      pack_weights,
      real_weights_floats,
      pack_real_weights,
      int8_weights_bytes,
      pack_int8_weights,
      bconv2d,
      conv2d,
      magnitudes,
      levels,
      int8_kernel,
      depthwise_conv2d,
      pool2d,
      elementwise,
      bmax_pool2d,
  };
}
