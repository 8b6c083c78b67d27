// Choosing among the implementations of an op. Each op keeps an ordered list, most specialised first, scalar reference
// last; an entry's refusal() says why it cannot run here, or nothing. TROUPE_LOG=dispatch prints every choice.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/isa.h"
#include "base/log.h"

namespace troupe {

using Refusal = std::string();

inline std::string never_refuses() { return {}; }

// For kernels of kernels/table.h that exist at every level.
template <Isa level>
std::string refuses_below() {
  if (active_isa() >= level) return {};
  return fmt::format("the instruction set in use is {}", isa_name(active_isa()));
}

// The first entry that does not refuse. Entry needs `name` and `refusal`.
template <class Entry>
const Entry& choose(std::string_view op, std::span<const Entry> list) {
  for (const Entry& entry : list) {
    const std::string reason = entry.refusal();
    if (reason.empty()) {
      log::topic("dispatch", "{}: {}", op, entry.name);
      return entry;
    }
    log::topic("dispatch", "{}: not {} ({})", op, entry.name, reason);
  }
  fail(ErrorCode::kInternal, "{}: no implementation accepts", op);
}

}  // namespace troupe
