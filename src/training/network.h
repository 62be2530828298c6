// A network that is trained: tensors, operations with a gradient, and their schedule.
//
// The images of a batch are divided among lanes, one per thread, always in the same way, and a lane
// runs its images in blocks that fit into the cache. Only batch norm needs all images at once, so
// that operations between two batch norms run one after another on the same block. Sums over images
// are kept per lane and added in order: results depend on the number of lanes, not on timing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "../aligned_buffer.h"
#include "../kernels/kernels.h"
#include "../thread_pool.h"
#include "kernels.h"

namespace bnnzoo::training {

struct Shape {
  int64_t rows, columns, channels;

  int64_t pixels() const { return rows * columns; }
  int64_t floats() const { return pixels() * channels; }
};

// Images of one lane that are computed together.
struct Block {
  int32_t lane;
  int64_t first, count;
};

// The numbers of a tensor: of every image of a batch, or of a block per lane if no other part of
// the schedule reads them.
struct Storage {
  bool local = false;
  int64_t offset = 0;  // floats: of the batch's memory, or of the lane's
  int64_t floats = 0;  // per image
};

struct Tensor {
  Shape shape;
  int32_t root;           // the tensor whose numbers these are; itself, unless it is a view
  int32_t gradient_root;  // the tensor whose gradient's numbers these are
  bool differentiable;    // depends on a parameter
  Storage value, gradient;
};

class Network;

class Operation {
 public:
  Operation(std::vector<int32_t> inputs, int32_t output)
      : inputs(std::move(inputs)), output(output), adds(this->inputs.size()) {}
  virtual ~Operation() = default;

  virtual void forward(const Block& block, bool training) = 0;
  virtual void backward(const Block& block) = 0;

  // Batch norm: sums over the images, in the part of the schedule before, and what follows from
  // them.
  virtual bool needs_batch() const { return false; }
  virtual void collect(const Block&) {}
  virtual void finish_collecting(int64_t, bool) {}
  virtual void collect_gradients(const Block&) {}
  virtual void finish_collecting_gradients(int64_t) {}

  // Once per step: parameters for the forward and backward pass, and the gradients of parameters
  // from those of the lanes. Both in parts, which run in parallel.
  virtual int64_t parts() const { return 1; }
  virtual void prepare(int64_t, bool) {}
  virtual void finish_preparing() {}  // after every part
  virtual void finish_gradients(int64_t) {}

  virtual bool needs_input() const { return false; }  // in the backward pass
  virtual bool has_parameters() const { return false; }
  virtual bool passes_gradient() const { return false; }  // the input's is the output's, unchanged
  virtual int64_t workspace(int64_t) const { return 0; }  // floats for a block of so many images
  virtual int64_t wanted_images() const { return 1; }     // in a block, if there are so many
  virtual void reserve(int32_t) {}                        // memory for so many lanes

  const std::vector<int32_t> inputs;
  const int32_t output;
  std::vector<bool> adds;    // whether the gradient of an input is added to what is there
  std::vector<bool> shares;  // whether it is already there: its memory is that of the output's
};

// One call of an operation in a part of the schedule.
struct Call {
  Operation* operation;
  bool collects;
};

struct Phase {
  std::vector<Call> calls;
  std::vector<Operation*> collected;  // finished after it
  int64_t images = 1;                 // per block
};

class Network {
 public:
  // At most `batch` images at once.
  Network(const bnnzoo::Kernels& binary, const Kernels& kernels, int32_t threads, int64_t batch);

  // Tensor 0 is the input. Operations are added in order, then `finish` is called once.
  int32_t add_tensor(const Shape& shape);
  int32_t add_view(int32_t tensor, const Shape& shape);
  int64_t add_parameters(int64_t count);
  int64_t add_state(int64_t count);
  void append(std::unique_ptr<Operation> operation);
  void finish(int32_t output);

  // Computes the output. `images` is read again by `backward`.
  void forward(const float* images, int64_t count, bool training);
  // Computes the gradients of the parameters from that of the output.
  void backward();
  float* output();           // (count, classes)
  float* output_gradient();  // the same; written by the caller

  // For operations: the numbers of a block's images.
  const float* value(int32_t tensor, const Block& block);
  float* result(int32_t tensor, const Block& block);
  float* gradient(int32_t tensor, const Block& block);  // null if nothing needs it
  float* workspace(int32_t lane) { return floats_of(workspaces_[static_cast<size_t>(lane)]); }
  const Tensor& tensor(int32_t index) const { return tensors_[static_cast<size_t>(index)]; }
  int32_t tensors() const { return static_cast<int32_t>(tensors_.size()); }
  int32_t lanes() const { return pool_.threads(); }
  int64_t batch() const { return batch_; }
  bool is_finished() const { return finished_; }
  ThreadPool& pool() { return pool_; }

  const bnnzoo::Kernels& binary;
  const Kernels& kernels;
  std::vector<float> parameters, gradients;  // of the same layout
  std::vector<float> state;                  // moving means and variances, given kernels

 private:
  static float* floats_of(const AlignedBuffer& buffer) {
    return reinterpret_cast<float*>(buffer.data());
  }
  void schedule_forward();
  void schedule_backward();
  void share_gradients();
  void place(bool values);
  float* at(const Storage& storage, const Block& block, bool values);
  void run(const std::vector<Phase>& phases, bool forward, bool training);
  template <class Body>
  void run_parts(const Body& run_part);

  ThreadPool pool_;
  const int64_t batch_;
  const float* images_ = nullptr;
  int64_t count_ = 0;  // of the last forward pass
  int32_t output_ = 0;
  bool finished_ = false;
  std::vector<Tensor> tensors_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Phase> forward_, backward_;
  std::vector<AlignedBuffer> memory_;      // of the batch: values, gradients
  std::vector<AlignedBuffer> scratch_;     // per lane, of values, then of gradients
  std::vector<AlignedBuffer> workspaces_;  // per lane
};

}  // namespace bnnzoo::training
