// What kernels of this folder are written in: one source that nvcc compiles for a GPU and the host compiler for the
// emulated grid (emulator.h).
//
// A kernel is a trivial struct of pointers and sizes, handed over by value, with
//     static constexpr int kThreads;   of a block, a multiple of 32
//     struct Shared;                   memory that a block shares, undefined at its start
//     void run(const Block<kThreads>&, Shared&) const;
// run() is a sequence of phases. block.each(body) calls body(thread) for every thread of the block and is over when all
// of them are, so that what a phase writes to shared or global memory is there for the next one; within a phase no
// thread reads what another one writes. Whatever stands between phases is the same for all threads. A PerThread keeps
// a value of each thread from phase to phase, in registers. Barriers in a divergent branch cannot be written; a race
// within a phase shows as other bits when the emulator runs the threads in another order.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define TROUPE_KERNEL __device__ __forceinline__
#else
#define TROUPE_KERNEL inline
#endif

namespace troupe::cuda {

struct Add {
  template <class T>
  TROUPE_KERNEL T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  TROUPE_KERNEL T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
struct Min {
  template <class T>
  TROUPE_KERNEL T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

struct NoShared {};

constexpr int kWarp = 32;

#ifdef __CUDACC__

template <class T, int kThreads>
struct PerThread {
  T value;
  TROUPE_KERNEL T& operator[](int) { return value; }
};

template <int kThreadsOfBlock>
struct Block {
  static constexpr int kThreads = kThreadsOfBlock;

  TROUPE_KERNEL int64_t index() const { return blockIdx.x; }

  template <class Body>
  TROUPE_KERNEL void each(const Body& body) const {
    body(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  template <class T, class Op>
  TROUPE_KERNEL T reduce(PerThread<T, kThreads>& values, Op op) const {
    __shared__ T of_warp[kThreads / kWarp];
    T value = values.value;
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      value = op(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
    __syncthreads();
    T total = of_warp[0];
    for (int warp = 1; warp < kThreads / kWarp; ++warp) total = op(total, of_warp[warp]);
    __syncthreads();
    return total;
  }

  // Of every thread's kCount values the sums, each in the order of reduce().
  template <int kCount>
  TROUPE_KERNEL void sum_each(PerThread<float[kCount], kThreads>& values, float (&totals)[kCount]) const {
    __shared__ float of_warp[kCount][kThreads / kWarp];
    for (int i = 0; i < kCount; ++i) {
      float value = values.value[i];
      for (int distance = kWarp / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
      if (threadIdx.x % kWarp == 0) of_warp[i][threadIdx.x / kWarp] = value;
    }
    __syncthreads();
    for (int i = 0; i < kCount; ++i) {
      totals[i] = of_warp[i][0];
      for (int warp = 1; warp < kThreads / kWarp; ++warp) totals[i] += of_warp[i][warp];
    }
    __syncthreads();
  }
#else

template <class T, int kThreads>
struct PerThread {
  T values[kThreads];
  T& operator[](int thread) { return values[thread]; }
};

template <int kThreadsOfBlock>
struct Block {
  static constexpr int kThreads = kThreadsOfBlock;

  int64_t number = 0;
  bool backwards = false;  // the order in which a phase runs its threads

  int64_t index() const { return number; }

  template <class Body>
  void each(const Body& body) const {
    if (backwards)
      for (int thread = kThreads - 1; thread >= 0; --thread) body(thread);
    else
      for (int thread = 0; thread < kThreads; ++thread) body(thread);
  }

  // In the order of the GPU's: a butterfly within a warp, then warp by warp.
  template <class T, class Op>
  T reduce(PerThread<T, kThreads>& values, Op op) const {
    T total{};
    for (int first = 0; first < kThreads; first += kWarp) {
      T lanes[kWarp], next[kWarp];
      for (int lane = 0; lane < kWarp; ++lane) lanes[lane] = values.values[first + lane];
      for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        for (int lane = 0; lane < kWarp; ++lane) next[lane] = op(lanes[lane], lanes[lane ^ distance]);
        for (int lane = 0; lane < kWarp; ++lane) lanes[lane] = next[lane];
      }
      total = first == 0 ? lanes[0] : op(total, lanes[0]);
    }
    return total;
  }

  template <int kCount>
  void sum_each(PerThread<float[kCount], kThreads>& values, float (&totals)[kCount]) const {
    for (int i = 0; i < kCount; ++i) {
      PerThread<float, kThreads> one;
      for (int thread = 0; thread < kThreads; ++thread) one.values[thread] = values.values[thread][i];
      totals[i] = reduce(one, Add());
    }
  }
#endif

  // Over the values of all threads, in an order fixed by their number; every thread gets it.
  template <class T>
  TROUPE_KERNEL T sum(PerThread<T, kThreads>& values) const {
    return reduce(values, Add());
  }
  template <class T>
  TROUPE_KERNEL T max(PerThread<T, kThreads>& values) const {
    return reduce(values, Max());
  }
  template <class T>
  TROUPE_KERNEL T min(PerThread<T, kThreads>& values) const {
    return reduce(values, Min());
  }
};

// A matrix in the memory of the device.
template <class T>
struct View {
  T* data;
  int64_t rows, cols, stride;

  TROUPE_KERNEL T* row(int64_t i) const { return data + i * stride; }
  TROUPE_KERNEL T& operator()(int64_t i, int64_t j) const { return data[i * stride + j]; }
};

// The view of a tensor/matrix.h Matrix, of which the device only knows the shape.
template <class T, template <class> class Matrix>
View<T> view(const Matrix<T>& matrix) {
  return {matrix.data, matrix.rows, matrix.cols, matrix.stride};
}

constexpr int64_t blocks_of(int64_t count, int64_t per_block) { return (count + per_block - 1) / per_block; }

// Passes over elements: a block takes kElementsPerBlock of them, thread by thread.
constexpr int kElementThreads = 256;
constexpr int64_t kElementsPerBlock = 1024;

template <class Body>
TROUPE_KERNEL void each_element(const Block<kElementThreads>& block, int64_t count, const Body& body) {
  block.each([&](int thread) {
    for (int64_t step = 0; step < kElementsPerBlock; step += kElementThreads) {
      const int64_t i = block.index() * kElementsPerBlock + step + thread;
      if (i < count) body(i);
    }
  });
}

}  // namespace troupe::cuda
