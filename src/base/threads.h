// Data parallelism over fixed chunks. Results never depend on the number of threads: work is cut the same way whatever
// the number, and reductions add chunk results in chunk order.
#pragma once

#include <omp.h>

#include <cstdint>
#include <exception>
#include <mutex>

namespace troupe {

inline int num_threads() { return omp_get_max_threads(); }

// Calls body(i) for i in [0, count), dynamically scheduled. An exception in a body reaches the caller (the first one).
template <class Body>
void parallel_for(int64_t count, const Body& body) {
  if (count <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) {
    try {
      body(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

// Calls body(begin, end) on consecutive ranges of `chunk` items: the cut depends on `chunk` alone.
template <class Body>
void parallel_chunks(int64_t count, int64_t chunk, const Body& body) {
  parallel_for((count + chunk - 1) / chunk, [&](int64_t i) {
    const int64_t begin = i * chunk;
    body(begin, begin + chunk < count ? begin + chunk : count);
  });
}

}  // namespace troupe
