// Throwing troupe::Error with a formatted message: fail(ErrorCode::kData, "{}: expected {}, got {}", path, a, b).
#pragma once

#include <fmt/core.h>

#include <utility>

#include "troupe/error.h"

namespace troupe {

template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace troupe

// Our own bug, not the user's: active in debug and sanitizer builds; the condition must have no side effect.
#ifdef NDEBUG
#define TROUPE_ASSERT(condition) ((void)0)
#else
#define TROUPE_ASSERT(condition) \
  ((condition) ? (void)0 : troupe::fail(troupe::ErrorCode::kInternal, "{}:{}: {}", __FILE__, __LINE__, #condition))
#endif
