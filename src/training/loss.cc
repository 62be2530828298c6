#include "loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bnnzoo::training {
namespace {

using Row = std::vector<double>;

// log softmax(logits / temperature)
void log_softmax(const float* logits, double temperature, Row* row) {
  const double largest = static_cast<double>(*std::max_element(logits, logits + row->size()));
  double sum = 0;
  for (size_t c = 0; c < row->size(); ++c) {
    (*row)[c] = (static_cast<double>(logits[c]) - largest) / temperature;
    sum += std::exp((*row)[c]);
  }
  for (double& value : *row) value -= std::log(sum);
}

}  // namespace

Loss cross_entropy(const Objective& objective, const float* logits, const int32_t* labels,
                   const float* teacher, int64_t count, int64_t classes, float* gradient) {
  const double hard = teacher == nullptr ? 1 : 1 - objective.distillation;
  const double soft = teacher == nullptr ? 0 : objective.distillation;
  const double t = objective.temperature, n = static_cast<double>(count);
  const double spread = objective.smoothing / static_cast<double>(classes);
  Row row(static_cast<size_t>(classes)), softened(row), taught(row);
  Loss loss = {0, 0};
  for (int64_t i = 0; i < count; ++i, logits += classes, gradient += classes) {
    log_softmax(logits, 1, &row);
    loss.correct += std::max_element(logits, logits + classes) - logits == labels[i];
    for (int64_t c = 0; c < classes; ++c) {
      const double target = spread + (c == labels[i] ? 1 - objective.smoothing : 0);
      const double value = row[static_cast<size_t>(c)];
      loss.mean -= hard * target * value / n;
      gradient[c] = static_cast<float>(hard * (std::exp(value) - target) / n);
    }
    if (soft == 0) continue;
    log_softmax(logits, t, &softened);
    log_softmax(teacher + i * classes, t, &taught);
    for (int64_t c = 0; c < classes; ++c) {
      const double target = std::exp(taught[static_cast<size_t>(c)]);
      const double value = softened[static_cast<size_t>(c)];
      loss.mean -= soft * t * t * target * value / n;
      gradient[c] += static_cast<float>(soft * t * (std::exp(value) - target) / n);
    }
  }
  return loss;
}

}  // namespace bnnzoo::training
