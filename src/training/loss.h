// The loss of a classifier, and its gradient.
#pragma once

#include <cstdint>

namespace bnnzoo::training {

// (1 - distillation) cross-entropy + distillation temperature^2 soft cross-entropy, both the mean
// over the images. Targets are 1 - smoothing for the label, and smoothing / classes for every class
// in addition; soft targets are softmax(teacher / temperature).
struct Objective {
  double smoothing = 0, distillation = 0, temperature = 1;
};

struct Loss {
  double mean;
  int64_t correct;  // images whose largest logit, the first of equal ones, is that of their label
};

// logits, teacher, gradient: (count, classes); teacher may be null.
Loss cross_entropy(const Objective& objective, const float* logits, const int32_t* labels,
                   const float* teacher, int64_t count, int64_t classes, float* gradient);

}  // namespace bnnzoo::training
