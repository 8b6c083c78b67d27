// What readers of released sets hand on: a document's text and where in its file it stands ("" if it is all of it).
#pragma once

#include <functional>
#include <string>

namespace troupe::corpus {

using TextVisitor = std::function<void(std::string text, const std::string& place)>;

inline constexpr size_t kMaxReleasedBytes = 1u << 28;  // of one document or record, 256 MiB

}  // namespace troupe::corpus
