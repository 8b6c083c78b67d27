// Four (or eight) neighbouring elements of a row at a time, in one load or store where they start at a multiple of
// their size.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/grid.h"
#include "tensor/bf16.h"

namespace troupe::cuda {

template <class T, int kCount>
struct alignas(kCount * sizeof(T)) Pack {
  T values[kCount];
};

// static_cast<T>(value), which for bf16 is one instruction.
template <class T>
TROUPE_KERNEL T rounded(float value) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, bf16>) {
    bf16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
    return result;
  }
#endif
  return static_cast<T>(value);
}

template <int kCount, class T>
TROUPE_KERNEL bool is_pack(const T* data, int count) {
  return count == kCount && reinterpret_cast<uintptr_t>(data) % sizeof(Pack<T, kCount>) == 0;
}

// All kCount, where is_pack() is known to be true.
template <class T, int kCount>
TROUPE_KERNEL void load_whole(const T* data, float (&out)[kCount]) {
  const Pack<T, kCount> pack = *reinterpret_cast<const Pack<T, kCount>*>(data);
  for (int i = 0; i < kCount; ++i) out[i] = static_cast<float>(pack.values[i]);
}
template <class T, int kCount>
TROUPE_KERNEL void store_whole(T* data, const float (&values)[kCount]) {
  Pack<T, kCount> pack;
  for (int i = 0; i < kCount; ++i) pack.values[i] = rounded<T>(values[i]);
  *reinterpret_cast<Pack<T, kCount>*>(data) = pack;
}

// The first `count` of kCount; those after them are 0.
template <class T, int kCount>
TROUPE_KERNEL void load_pack(const T* data, int count, float (&out)[kCount]) {
  if (is_pack<kCount>(data, count)) {
    load_whole(data, out);
  } else {
    for (int i = 0; i < kCount; ++i) out[i] = i < count ? static_cast<float>(data[i]) : 0.0f;
  }
}

template <class T, int kCount>
TROUPE_KERNEL void store_pack(T* data, int count, const float (&values)[kCount]) {
  if (is_pack<kCount>(data, count)) {
    store_whole(data, values);
  } else {
    for (int i = 0; i < kCount; ++i)  // all steps, so that values stay in registers
      if (i < count) data[i] = rounded<T>(values[i]);
  }
}

template <class T>
TROUPE_KERNEL void load_four(const T* data, int count, float (&out)[4]) {
  load_pack(data, count, out);
}
template <class T>
TROUPE_KERNEL void store_four(T* data, int count, const float (&values)[4]) {
  store_pack(data, count, values);
}

// How many of the four from column d on there are, of `cols`.
TROUPE_KERNEL int four_at(int64_t d, int64_t cols) {
  return d >= cols ? 0 : static_cast<int>(cols - d < 4 ? cols - d : 4);
}

// body(row, first column, count) for packs of kCount of a matrix; a block takes two a thread.
constexpr int64_t kPacksPerBlock = 2 * kElementThreads;

template <int kCount>
constexpr int64_t blocks_of_packs(int64_t rows, int64_t cols) {
  return blocks_of(rows * ((cols + kCount - 1) / kCount), kPacksPerBlock);
}
constexpr int64_t blocks_of_fours(int64_t rows, int64_t cols) { return blocks_of_packs<4>(rows, cols); }

template <int kCount, class Body>
TROUPE_KERNEL void each_pack(const Block<kElementThreads>& block, int64_t rows, int64_t cols, const Body& body,
                             int64_t first_block = 0) {
  const int64_t of_a_row = (cols + kCount - 1) / kCount, all = rows * of_a_row;
  block.each([&](int thread) {
    for (int64_t step = 0; step < kPacksPerBlock; step += kElementThreads) {
      const int64_t i = (block.index() - first_block) * kPacksPerBlock + step + thread;
      if (i >= all) return;
      const int64_t row = all >> 32 ? i / of_a_row : static_cast<uint32_t>(i) / static_cast<uint32_t>(of_a_row);
      const int64_t first = (i - row * of_a_row) * kCount;
      body(row, first, static_cast<int>(cols - first < kCount ? cols - first : kCount));
    }
  });
}
template <class Body>
TROUPE_KERNEL void each_four(const Block<kElementThreads>& block, int64_t rows, int64_t cols, const Body& body,
                             int64_t first_block = 0) {
  each_pack<4>(block, rows, cols, body, first_block);
}

// Matrices of one shape as one row each, if none has a gap between its rows: then no element's row is to be found.
template <class... T>
void flatten(View<T>&... views) {
  if (((views.stride == views.cols) && ...))
    ((views = {views.data, 1, views.rows * views.cols, views.rows * views.cols}), ...);
}

// Loads of a thread that are on their way before it uses the first.
template <int kInputs>
constexpr int kPacksAhead = kInputs > 2 ? 1 : 4 / kInputs;

template <int kCount, int kInputs>
constexpr int64_t blocks_of_map(int64_t rows, int64_t cols) {
  return blocks_of(rows * ((cols + kCount - 1) / kCount), kElementThreads * kPacksAhead<kInputs>);
}

// out = f(in[0], in[1], ...) element by element, of one shape; out may be any of them. body(row, first column, values)
// finds a pack of every one of them in `values`, what is not there 0, and leaves the result in values[0]. Matrices of
// one row are read ahead.
template <int kCount, class Out, class In, int kInputs, class Body>
TROUPE_KERNEL void map_packs(const Block<kElementThreads>& block, const View<Out>& out,
                             const View<const In> (&in)[kInputs], const Body& body) {
  constexpr int kPacks = kPacksAhead<kInputs>;
  const int64_t of_a_row = (out.cols + kCount - 1) / kCount, all = out.rows * of_a_row;
  const int64_t begin = block.index() * (kPacks * kElementThreads);
  const auto starts_pack = [](const auto& view) {
    return reinterpret_cast<uintptr_t>(view.data) % (kCount * sizeof(*view.data)) == 0;
  };
  bool ahead = out.rows == 1 && (begin + kPacks * kElementThreads) * kCount <= out.cols && starts_pack(out);
  for (int k = 0; k < kInputs; ++k) ahead = ahead && starts_pack(in[k]);
  if (!ahead) {
    block.each([&](int thread) {
#pragma unroll 1
      for (int p = 0; p < kPacks; ++p) {
        const int64_t i = begin + p * kElementThreads + thread;
        if (i >= all) return;
        const int64_t row = all >> 32 ? i / of_a_row : static_cast<uint32_t>(i) / static_cast<uint32_t>(of_a_row);
        const int64_t first = (i - row * of_a_row) * kCount;
        const int count = static_cast<int>(out.cols - first < kCount ? out.cols - first : kCount);
        float values[kInputs][kCount];
        for (int k = 0; k < kInputs; ++k) load_pack(&in[k](row, first), count, values[k]);
        body(row, first, values);
        store_pack(&out(row, first), count, values[0]);
      }
    });
    return;
  }
  block.each([&](int thread) {
    Pack<In, kCount> packs[kPacks][kInputs];
    for (int p = 0; p < kPacks; ++p)
      for (int k = 0; k < kInputs; ++k)
        packs[p][k] = reinterpret_cast<const Pack<In, kCount>*>(in[k].data)[begin + p * kElementThreads + thread];
    for (int p = 0; p < kPacks; ++p) {
      const int64_t i = begin + p * kElementThreads + thread;
      float values[kInputs][kCount];
      for (int k = 0; k < kInputs; ++k)
        for (int j = 0; j < kCount; ++j) values[k][j] = static_cast<float>(packs[p][k].values[j]);
      body(0, i * kCount, values);
      store_whole(out.data + i * kCount, values[0]);
    }
  });
}

}  // namespace troupe::cuda
