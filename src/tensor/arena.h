// One block of memory for all activations of a step, planned before the first one. Planning runs the same code twice:
// a first pass over an uncommitted arena only adds up sizes, commit() allocates, the second pass hands out views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/checked.h"
#include "tensor/buffer.h"
#include "tensor/matrix.h"

namespace troupe {

class Arena {
 public:
  struct Entry {
    std::string name;
    int64_t bytes;
  };

  explicit Arena(Memory& memory = host_memory()) : memory_(memory) {}

  template <class T>
  std::span<T> span(const std::string& name, int64_t count) {
    const int64_t bytes = checked_product({count, static_cast<int64_t>(sizeof(T))}, name);
    return {reinterpret_cast<T*>(take(name, bytes)), static_cast<size_t>(count)};
  }
  template <class T>
  Matrix<T> matrix(const std::string& name, int64_t rows, int64_t cols) {
    return Matrix<T>(span<T>(name, checked_product({rows, cols}, name)).data(), rows, cols);
  }

  void restart();  // forgets the plan, keeps the memory
  void commit();   // ends the first pass: makes sure that everything planned fits
  void poison();   // for tests: every byte 0xff, which is NaN in every format
  int64_t bytes() const { return planned_; }
  const std::vector<Entry>& entries() const { return entries_; }  // of the first pass, for printing

 private:
  char* take(const std::string& name, int64_t bytes);

  RawBuffer memory_;
  std::vector<Entry> entries_;
  int64_t planned_ = 0, used_ = 0;
  bool committed_ = false;
};

}  // namespace troupe
