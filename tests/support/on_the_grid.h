// Whole models on the emulated grid, in memory that is closed to all but running ops.
#pragma once

#include "base/device.h"
#include "fenced_memory.h"
#include "kernels/cuda/emulator.h"
#include "tensor/memory.h"

namespace troupe::test {

// Ops run on the emulated grid, in fenced memory, until the end of the scope; in a program that opened a GPU, there.
class OnTheGrid {
 public:
  explicit OnTheGrid(bool backwards = false) {
    if (cuda::machine() && cuda::machine()->stream()) {
      cuda::use_machine(*cuda::machine());
      return;
    }
    cuda::emulator().run_backwards(backwards);
    cuda::emulator().set_reach([](const void* data) { return fenced_.holds(data); });
    cuda::set_machine(&cuda::emulator());
    use_device(Device::kCuda);
    use_memory(fenced_);
  }
  ~OnTheGrid() {
    fenced_.open();
    cuda::emulator().set_reach(nullptr);
    use_device(Device::kCpu);
    use_memory(host_memory());
  }
  Memory& memory() { return active_memory(); }
  void close() { fenced_.close(); }
  void open() { fenced_.open(); }

 private:
  static inline FencedMemory fenced_;  // contexts of threads have memory of it, too
};

}  // namespace troupe::test
