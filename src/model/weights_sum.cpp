#include "model/weights_sum.h"

#include "io/checksum.h"

namespace troupe {

void WeightsSum::add(const std::string& name, std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  const uint64_t of_values = xxh3({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  sum_ += xxh3(std::string_view(name + " " + to_hex(of_values)));  // a sum has no order
}

std::string WeightsSum::text() const { return to_hex(sum_); }

}  // namespace troupe
