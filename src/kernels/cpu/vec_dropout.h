// Dropout factors for a vector of elements: the mask of kernels/dropout.h, element by element. Include only from
// cpu/*.cpp.
#pragma once

#include <cstdint>

#include "kernels/cpu/vec_math.h"
#include "kernels/cpu/vec_philox.h"
#include "kernels/dropout.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// The factor 0 or multiplier / (1 - p) of a random word.
class DropoutFactor {
 public:
  explicit DropoutFactor(const Dropout& dropout) : kept_(dropout.multiplier / (1.0f - dropout.probability)) {
    // (word >> 8) * 2^-24 < p, as integers: word >> 8 < ceil(p 2^24)
    const double scaled = static_cast<double>(dropout.probability) * 0x1.0p24;
    const uint32_t whole = static_cast<uint32_t>(scaled);
    threshold_ = whole + (static_cast<double>(whole) < scaled ? 1u : 0u);
  }
  TROUPE_INLINE Vec operator()(VecUint word) const {
    return (word >> 8) < VecUint{} + threshold_ ? Vec{} : broadcast(kept_);
  }

 private:
  uint32_t threshold_;
  float kept_;
};

// Factors of `count` consecutive elements of a mask into out[0 .. count).
inline void dropout_factors(const Dropout& dropout, uint64_t first, int64_t count, float* out) {
  const DropoutFactor factor(dropout);
  const uint64_t skipped = first & 3;  // elements of the first counter that come before `first`
  const int64_t step = skipped ? kPhiloxStep - 4 : kPhiloxStep;
  for (int64_t done = 0; done < count; done += step) {
    const PhiloxWords w = philox_words(dropout.key, (first - skipped + static_cast<uint64_t>(done)) >> 2);
    float block[kPhiloxStep];
    for (int k = 0; k < 4; ++k) store(block + k * kWidth, factor(w.word[k]));
    const int64_t used = count - done < step ? count - done : step;
    std::memcpy(out + done, block + skipped, static_cast<size_t>(used) * sizeof(float));
  }
}

// The number of element (row, col) of an output of `width` columns, as Dropout::scale counts.
TROUPE_INLINE uint64_t element_of(const Dropout& dropout, int64_t row, int64_t col, int64_t width) {
  return static_cast<uint64_t>((dropout.first_row + row) * width + col);
}

// body(i, n, factors) for the vectors of `count` elements from `first` on, as for_vectors.
template <class Body>
TROUPE_INLINE void for_dropped_vectors(const Dropout& dropout, uint64_t first, int64_t count, const Body& body) {
  if (dropout.probability <= 0.0f) {
    const Vec multiplier = broadcast(dropout.multiplier);
    for_vectors(
        count, [&](int64_t i, int64_t n) __attribute__((always_inline)) { body(i, n, multiplier); });
    return;
  }
  constexpr int64_t kPiece = 16 * kPhiloxStep;
  float factors[kPiece];
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t size = count - begin < kPiece ? count - begin : kPiece;
    dropout_factors(dropout, first + static_cast<uint64_t>(begin), size, factors);
    for_vectors(
        size, [&](int64_t i, int64_t n) __attribute__((always_inline)) { body(begin + i, n, load_n(factors + i, n)); });
  }
}

}  // namespace
}  // namespace troupe::TROUPE_ISA_NAMESPACE
