// The grid emulated on the host, for tests: blocks in parallel, the threads of a block one after the other, phase by
// phase. Memory is the host's. Shared memory starts as a pattern of NaN.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/cuda/machine.h"

namespace troupe::cuda {

class Emulator final : public Machine {
 public:
  std::string description() const override { return "emulated grid"; }
  void* allocate(int64_t bytes) override;
  void free(void* data) noexcept override;
  void copy(const void* src, int64_t src_pitch, void* dst, int64_t dst_pitch, int64_t width, int64_t rows) override;
  // What is fetched is there when it has arrived, and a pattern of NaN before.
  void* allocate_host(int64_t bytes) override;
  int64_t fetch(const void* src, void* dst, int64_t bytes) override;
  void arrive(int64_t fetched) override;
  void launch(KernelId id, int64_t blocks, int threads, const void* kernel, int64_t bytes) override;
  void* stream() override { return nullptr; }
  void asked(std::string_view library, std::span<const void* const> places) override;
  void wait() override {}

  // The order of a phase's threads: results must not depend on it.
  void run_backwards(bool backwards) { backwards_ = backwards; }
  // How often the host waited for what was asked for, by arrive() or, with a reach, by a copy to it.
  int64_t waits() const { return waits_; }
  // Kernels that were launched, and calls of libraries.
  int64_t launches() const { return launches_; }
  // Kernels and libraries are given addresses that it allocated, or for which reaches() is true, or it is an error, as
  // on a GPU whose memory is its own. nullptr: they are given any.
  void set_reach(bool (*reaches)(const void*)) { reaches_ = reaches; }

 private:
  bool may_reach(const void* place);
  void require_reach(std::string_view what, std::span<const void* const> places);

  bool (*reaches_)(const void*) = nullptr;
  std::mutex mutex_;
  std::map<void*, int64_t> blocks_;  // what is allocated, with its bytes
  struct Fetch {
    void* to;
    std::vector<char> bytes;
  };
  std::map<int64_t, Fetch> on_their_way_;  // by number
  int64_t fetches_ = 0;
  std::vector<std::unique_ptr<char[]>> host_blocks_;
  bool backwards_ = false;
  std::atomic<int64_t> waits_ = 0, launches_ = 0;
};

Emulator& emulator();

}  // namespace troupe::cuda
