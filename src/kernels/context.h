// What an implementation of an op is given besides its task: memory that outlives the call, so that steps do not
// allocate. A context serves one call at a time; every thread that calls ops has one.
#pragma once

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/buffer.h"

namespace troupe {

class Context {
 public:
  explicit Context(Memory& memory = active_memory()) : memory_(&memory) {}

  // Memory of the context, given back at the end of the scope. Undefined contents; 64-byte aligned.
  class Lease {
   public:
    Lease(Context& context, int64_t bytes) : context_(context) {
      if (context_.leases_ == context_.blocks_.size()) context_.blocks_.emplace_back(*context_.memory_);
      Buffer<std::byte>& block = context_.blocks_[context_.leases_++];
      block.reserve(bytes);
      data_ = block.data();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { --context_.leases_; }

    std::byte* data() const { return data_; }
    template <class T>
    T* as() const {
      return reinterpret_cast<T*>(data_);
    }

   private:
    Context& context_;
    std::byte* data_ = nullptr;
  };

  // A lease of `bytes` for every thread of the parallel region that follows; own() is that of the calling one.
  class LeasePerThread {
   public:
    LeasePerThread(Context& context, int64_t bytes)
        : slice_((bytes + kPage - 1) / kPage * kPage),
          nested_(omp_in_parallel()),
          lease_(context, slice_ * (nested_ ? 1 : omp_get_max_threads())) {}
    std::byte* own() const { return lease_.data() + (nested_ ? 0 : slice_ * omp_get_thread_num()); }

   private:
    static constexpr int64_t kPage = 4096;
    int64_t slice_;
    bool nested_;  // then the region is the calling thread alone
    Lease lease_;
  };

  // That an op runs; calls watch(true) and watch(false) around the outermost one, if there is a watch.
  class Running {
   public:
    Running(Context& context, void (*watch)(bool)) : context_(context), watch_(watch) {
      if (context_.running_++ == 0 && watch_) watch_(true);
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() {
      if (--context_.running_ == 0 && watch_) watch_(false);
    }

   private:
    Context& context_;
    void (*watch_)(bool);
  };

  // Held for leases, given back or not.
  int64_t bytes() const {
    int64_t sum = 0;
    for (const Buffer<std::byte>& block : blocks_) sum += block.bytes();
    return sum;
  }

  // In the memory of the device in use.
  static Context& of_this_thread() {
    static thread_local std::unique_ptr<Context> context;
    if (!context || context->memory_ != &active_memory()) context = std::make_unique<Context>();
    return *context;
  }

 private:
  Memory* memory_;
  std::vector<Buffer<std::byte>> blocks_;  // one for each depth of leases: an op may call another one
  size_t leases_ = 0;
  int64_t running_ = 0;
};

}  // namespace troupe
