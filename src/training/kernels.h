// The float kernels of a training step: one table of functions for each instruction set.
//
// Matrices are in panels of 16 columns, (columns / 16, rows, 16), padded with zeros, so that every
// inner loop reads memory in order. Other arrays are (pixels, channels).
#pragma once

#include <cstdint>

namespace bnnzoo::training {

constexpr int64_t kPanel = 16;

constexpr int64_t padded(int64_t channels) { return (channels + kPanel - 1) / kPanel * kPanel; }

// What a convolution does with its input first. `a` and `b` are the settings.
enum class InputKind : int32_t {
  identity,
  sign,         // gradient 1 where |x| <= a
  approx_sign,  // gradient 2 - 2 |x| where |x| <= 1
  hard_tanh,    // clip to [-1, 1]
  relu,
  error_decay,  // sign; gradient a b (1 - tanh(a x)^2)
  swish_sign,   // sign; gradient a (2 - a x tanh(a x / 2)) / (1 + cosh(a x))
};

struct InputFunction {
  InputKind kind = InputKind::identity;
  float a = 1, b = 1;
};

// Adam's settings for one step. `rate` includes the bias corrections.
struct AdamStep {
  float rate, rest1, rest2, epsilon;  // rest = 1 - beta
  float decay;                        // learning rate times weight decay
  float limit;                        // of latent weights after the step
  float scale;                        // of the gradient
};

struct SgdStep {
  float rate, momentum, decay, limit, scale;
};

struct Kernels {
  const char* name;

  // c = a b, or c += a b: a (k / 16, a_rows, 16), of which `rows`; b (panels, k, 16);
  // c (panels, rows, 16).
  void (*multiply)(const float* a, int64_t a_rows, const float* b, float* c, int64_t rows,
                   int64_t panels, int64_t k);
  // c += a^T b: a (a_panels, k, 16), b (panels, k, 16), c (panels, 16 a_panels, 16).
  void (*multiply_transposed)(const float* a, const float* b, float* c, int64_t a_panels,
                              int64_t panels, int64_t k);

  // Winograd's F(2 x 2, 3 x 3), over `tiles` tiles of a row: B^T d B of inputs (4 x 4), A g A^T of
  // gradients (2 x 2), A^T m A of products, whose result is 2 x 2. `image` is (rows, columns,
  // channels), `row` floats per row, channels padded; matrices are (16, channels / 16, all, 16)
  // with 16 floats after each of the 16.
  void (*winograd_input)(const float* image, int64_t row, int64_t channels, int64_t tiles,
                         float* matrix, int64_t all);
  void (*winograd_gradient)(const float* image, int64_t row, int64_t channels, int64_t tiles,
                            float* matrix, int64_t all);
  void (*winograd_output)(const float* matrix, int64_t all, int64_t channels, int64_t tiles,
                          float* image, int64_t row);

  // y = f(x), n numbers.
  void (*apply)(const InputFunction& f, const float* x, float* y, int64_t n);
  // dx = f'(x) dy, or dx +=.
  void (*differentiate)(const InputFunction& f, const float* x, const float* dy, float* dx,
                        int64_t n, bool add);

  // Sums over pixels, in double, for each channel: of x; of (x - mean)^2; of g and g (x - mean).
  void (*sum)(const float* x, int64_t pixels, int64_t channels, double* total);
  void (*sum_squares)(const float* x, const float* mean, int64_t pixels, int64_t channels,
                      double* total);
  void (*sum_products)(const float* g, const float* x, const float* mean, int64_t pixels,
                       int64_t channels, double* sums, double* products);
  // y = a x + b
  void (*affine)(const float* x, const float* a, const float* b, float* y, int64_t pixels,
                 int64_t channels);
  // dx = p g + q x + r, or dx +=
  void (*affine_gradient)(const float* g, const float* x, const float* p, const float* q,
                          const float* r, float* dx, int64_t pixels, int64_t channels, bool add);
  // z = x + shift; y = (z >= 0 ? positive z : negative z) + offset
  void (*slopes)(const float* x, const float* shift, const float* positive, const float* negative,
                 const float* offset, float* y, int64_t pixels, int64_t channels);
  // dx, and sums over pixels: of dx, of g z where z >= 0, of g z elsewhere, of g.
  void (*slopes_gradient)(const float* g, const float* x, const float* shift, const float* positive,
                          const float* negative, float* dx, int64_t pixels, int64_t channels,
                          bool add, double* const* sums);
  // y = x, or y += x
  void (*accumulate)(const float* x, float* y, int64_t n, bool add);
  void (*add)(const float* a, const float* b, float* y, int64_t n);

  void (*adam)(const AdamStep& step, float* w, const float* g, float* m, float* v, int64_t n);
  void (*sgd)(const SgdStep& step, float* w, const float* g, float* m, int64_t n);
};

extern const Kernels portable_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
#endif

}  // namespace bnnzoo::training
