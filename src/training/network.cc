#include "network.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "../denormals.h"
#include "../require.h"

namespace bnnzoo::training {
namespace {

// The tensors of a phase that a block should not exceed: half of a second-level cache.
constexpr int64_t kBlockBytes = 512 * 1024;

constexpr int64_t kNever = -1;

}  // namespace

Network::Network(const bnnzoo::Kernels& binary, const Kernels& kernels, int32_t threads,
                 int64_t batch)
    : binary(binary), kernels(kernels), pool_(threads), batch_(batch) {}

int32_t Network::add_tensor(const Shape& shape) {
  const auto index = static_cast<int32_t>(tensors_.size());
  tensors_.push_back({shape, index, index, false, {}, {}});
  return index;
}

int32_t Network::add_view(int32_t tensor, const Shape& shape) {
  const int32_t index = add_tensor(shape);
  Tensor& view = tensors_.back();
  view.root = this->tensor(tensor).root;
  view.differentiable = this->tensor(tensor).differentiable;
  return index;
}

int64_t Network::add_parameters(int64_t count) {
  const auto offset = static_cast<int64_t>(parameters.size());
  parameters.resize(parameters.size() + static_cast<size_t>(count));
  gradients.resize(parameters.size());
  return offset;
}

int64_t Network::add_state(int64_t count) {
  const auto offset = static_cast<int64_t>(state.size());
  state.resize(state.size() + static_cast<size_t>(count));
  return offset;
}

void Network::append(std::unique_ptr<Operation> operation) {
  Tensor& output = tensors_[static_cast<size_t>(operation->output)];
  output.differentiable = operation->has_parameters();
  for (const int32_t input : operation->inputs) {
    output.differentiable = output.differentiable || tensor(input).differentiable;
  }
  operations_.push_back(std::move(operation));
}

void Network::finish(int32_t output) {
  output_ = tensor(output).root;
  schedule_forward();
  schedule_backward();
  share_gradients();
  place(true);
  place(false);
  int64_t workspace = 0;
  for (const std::vector<Phase>* phases : {&forward_, &backward_}) {
    for (const Phase& phase : *phases) {
      for (const Call& call : phase.calls) {
        workspace = std::max(workspace, call.operation->workspace(phase.images));
      }
    }
  }
  for (int32_t lane = 0; lane < lanes(); ++lane) {
    workspaces_.emplace_back(static_cast<size_t>(workspace) * sizeof(float));
  }
  for (const auto& operation : operations_) operation->reserve(lanes());
  finished_ = true;
}

// An operation is in the phase in which its last input is complete, and batch norm in the one after
// it, with its sums before.
void Network::schedule_forward() {
  std::vector<int64_t> ready(tensors_.size(), 0);
  for (const auto& operation : operations_) {
    int64_t phase = 0;
    for (const int32_t input : operation->inputs) {
      phase = std::max(phase, ready[static_cast<size_t>(tensor(input).root)]);
    }
    const int64_t last = phase + operation->needs_batch();
    if (static_cast<int64_t>(forward_.size()) <= last)
      forward_.resize(static_cast<size_t>(last + 1));
    if (operation->needs_batch()) {
      forward_[static_cast<size_t>(phase)].calls.push_back({operation.get(), true});
      forward_[static_cast<size_t>(phase)].collected.push_back(operation.get());
    }
    forward_[static_cast<size_t>(last)].calls.push_back({operation.get(), false});
    ready[static_cast<size_t>(tensor(operation->output).root)] = last;
  }
}

// The same from the end: an operation is in the phase in which the last of those that take its
// output is.
void Network::schedule_backward() {
  std::vector<int64_t> ready(tensors_.size(), kNever);
  ready[static_cast<size_t>(output_)] = 0;
  for (auto it = operations_.rbegin(); it != operations_.rend(); ++it) {
    Operation* const operation = it->get();
    const int64_t phase = ready[static_cast<size_t>(tensor(operation->output).root)];
    if (phase == kNever || !tensor(operation->output).differentiable) continue;
    const int64_t last = phase + operation->needs_batch();
    if (static_cast<int64_t>(backward_.size()) <= last) {
      backward_.resize(static_cast<size_t>(last + 1));
    }
    if (operation->needs_batch()) {
      backward_[static_cast<size_t>(phase)].calls.push_back({operation, true});
      backward_[static_cast<size_t>(phase)].collected.push_back(operation);
    }
    backward_[static_cast<size_t>(last)].calls.push_back({operation, false});
    for (const int32_t input : operation->inputs) {
      int64_t& at = ready[static_cast<size_t>(tensor(input).root)];
      at = std::max(at, last);
    }
  }
}

// The gradient of a sum is that of each of its terms. A term shares the memory of the sum's if
// nothing is added to it before every operation has read it.
void Network::share_gradients() {
  std::map<const Operation*, int64_t> position;  // of its last call
  std::vector<const Operation*> producer(tensors_.size());
  std::vector<std::vector<const Operation*>> consumers(tensors_.size());
  int64_t calls = 0;
  for (const Phase& phase : backward_) {
    for (const Call& call : phase.calls) {
      position[call.operation] = calls++;
      if (call.collects) continue;
      producer[static_cast<size_t>(tensor(call.operation->output).root)] = call.operation;
      for (const int32_t input : call.operation->inputs) {
        consumers[static_cast<size_t>(tensor(input).root)].push_back(call.operation);
      }
    }
  }
  const auto last_read = [&](int32_t root) {
    const Operation* const reader = producer[static_cast<size_t>(root)];
    return reader == nullptr ? kNever : position[reader];
  };
  std::vector<int64_t> read(tensors_.size());  // of each gradient root
  for (size_t i = 0; i < tensors_.size(); ++i) read[i] = last_read(static_cast<int32_t>(i));
  for (auto it = operations_.rbegin(); it != operations_.rend(); ++it) {
    Operation& sum = **it;
    sum.shares.assign(sum.inputs.size(), false);
    if (!sum.passes_gradient() || position.count(&sum) == 0) continue;
    const int32_t group = tensor(tensor(sum.output).root).gradient_root;
    for (const bool alone : {true, false}) {  // those that nothing is added to come first
      for (size_t i = 0; i < sum.inputs.size(); ++i) {
        const int32_t root = tensor(sum.inputs[i]).root;
        const auto& others = consumers[static_cast<size_t>(root)];
        if (!tensor(root).differentiable || (others.size() == 1) != alone) continue;
        bool after = true;
        int64_t times = 0;
        for (const Operation* other : others) {
          times += other == &sum;
          after = after && (other == &sum || position[other] > read[static_cast<size_t>(group)]);
        }
        if (times > 1 || !after) continue;
        sum.shares[i] = true;
        tensors_[static_cast<size_t>(root)].gradient_root = group;
        int64_t& at = read[static_cast<size_t>(group)];
        at = std::max(at, read[static_cast<size_t>(root)]);
        if (!alone) break;
      }
    }
  }
  std::vector<bool> written(tensors_.size());
  for (const Phase& phase : backward_) {
    for (const Call& call : phase.calls) {
      if (call.collects) continue;
      Operation& operation = *call.operation;
      for (size_t i = 0; i < operation.inputs.size(); ++i) {
        auto has = written[static_cast<size_t>(tensor(operation.inputs[i]).root)];
        operation.adds[i] = has;
        has = true;
      }
    }
  }
}

// Decides where the values, or the gradients, are, and how many images the blocks have.
void Network::place(bool values) {
  std::vector<Phase>& phases = values ? forward_ : backward_;
  const auto group = [&](int32_t index) {
    const int32_t root = tensor(index).root;
    return values ? root : tensor(root).gradient_root;
  };
  std::map<int32_t, std::set<size_t>> touched;  // the phases in which each is read or written
  std::set<int32_t> kept = {group(output_)};
  std::vector<std::set<int32_t>> of_phase(phases.size());
  for (size_t p = 0; p < phases.size(); ++p) {
    int64_t bytes = 1, wanted = 1;
    const auto touch = [&](int32_t index) {
      if (!values && !tensor(index).differentiable) return;
      touched[group(index)].insert(p);
      if (of_phase[p].insert(group(index)).second) {
        bytes += tensor(index).shape.floats() * static_cast<int64_t>(sizeof(float));
      }
    };
    for (const Call& call : phases[p].calls) {
      touch(call.operation->output);
      for (const int32_t input : call.operation->inputs) touch(input);
      wanted = std::max(wanted, call.operation->wanted_images());
    }
    const int64_t most = (batch_ + lanes() - 1) / lanes();
    phases[p].images = std::min(std::max(kBlockBytes / bytes, wanted), most);
  }
  if (values) {
    kept.insert(0);
    for (const auto& operation : operations_) {
      for (const int32_t input : operation->inputs) {
        if (operation->needs_input()) kept.insert(group(input));
      }
    }
  }
  int64_t all = 0, scratch = 0;
  std::vector<int64_t> local(phases.size());
  for (const auto& [index, at] : touched) {
    Tensor& tensor = tensors_[static_cast<size_t>(index)];
    Storage& storage = values ? tensor.value : tensor.gradient;
    storage.floats = tensor.shape.floats();
    storage.local = at.size() == 1 && kept.count(index) == 0;
    // Every tensor begins at a multiple of 64 bytes.
    if (storage.local) {
      int64_t& end = local[*at.begin()];
      storage.offset = end;
      end += padded(storage.floats * phases[*at.begin()].images);
      scratch = std::max(scratch, end);
    } else if (!values || index != 0) {
      storage.offset = all;
      all += padded(storage.floats * batch_);
    }
  }
  memory_.emplace_back(static_cast<size_t>(all) * sizeof(float));
  for (int32_t lane = 0; lane < lanes(); ++lane) {
    scratch_.emplace_back(static_cast<size_t>(scratch) * sizeof(float));
  }
}

float* Network::at(const Storage& storage, const Block& block, bool values) {
  if (storage.local) {
    const auto lane = static_cast<size_t>(block.lane + (values ? 0 : lanes()));
    return floats_of(scratch_[lane]) + storage.offset;
  }
  return floats_of(memory_[values ? 0 : 1]) + storage.offset + block.first * storage.floats;
}

const float* Network::value(int32_t index, const Block& block) {
  const int32_t root = tensor(index).root;
  if (root == 0) return images_ + block.first * tensor(0).shape.floats();
  return at(tensor(root).value, block, true);
}

float* Network::result(int32_t index, const Block& block) {
  return at(tensor(tensor(index).root).value, block, true);
}

float* Network::gradient(int32_t index, const Block& block) {
  const Tensor& root = tensor(tensor(index).root);
  if (!root.differentiable) return nullptr;
  return at(tensor(root.gradient_root).gradient, block, false);
}

void Network::run(const std::vector<Phase>& phases, bool forward, bool training) {
  for (const Phase& phase : phases) {
    auto body = [&](int64_t lane) {
      DenormalsAsZero scope;
      const int64_t end = count_ * (lane + 1) / lanes();
      for (int64_t first = count_ * lane / lanes(); first < end; first += phase.images) {
        const Block block = {static_cast<int32_t>(lane), first,
                             std::min(phase.images, end - first)};
        for (const Call& call : phase.calls) {
          if (forward && !call.collects) call.operation->forward(block, training);
          if (forward && call.collects && training) call.operation->collect(block);
          if (!forward && !call.collects) call.operation->backward(block);
          if (!forward && call.collects) call.operation->collect_gradients(block);
        }
      }
    };
    pool_.run(lanes(), body);
    for (Operation* operation : phase.collected) {
      if (forward) operation->finish_collecting(count_, training);
      if (!forward) operation->finish_collecting_gradients(count_);
    }
  }
}

template <class Body>
void Network::run_parts(const Body& run_part) {
  std::vector<std::pair<Operation*, int64_t>> parts;
  for (const auto& operation : operations_) {
    for (int64_t part = 0; part < operation->parts(); ++part) {
      parts.emplace_back(operation.get(), part);
    }
  }
  auto body = [&](int64_t i) {
    DenormalsAsZero scope;
    run_part(*parts[static_cast<size_t>(i)].first, parts[static_cast<size_t>(i)].second);
  };
  pool_.run(static_cast<int64_t>(parts.size()), body);
}

void Network::forward(const float* images, int64_t count, bool training) {
  images_ = images;
  count_ = count;
  run_parts([&](Operation& operation, int64_t part) { operation.prepare(part, training); });
  auto body = [&](int64_t i) { operations_[static_cast<size_t>(i)]->finish_preparing(); };
  pool_.run(static_cast<int64_t>(operations_.size()), body);
  run(forward_, true, training);
}

void Network::backward() {
  run(backward_, false, true);
  run_parts([&](Operation& operation, int64_t part) { operation.finish_gradients(part); });
}

float* Network::output() { return result(output_, {0, 0, count_}); }
float* Network::output_gradient() { return gradient(output_, {0, 0, count_}); }

}  // namespace bnnzoo::training
