// Requests as what runs: continuations of one context become a group, equal requests one piece.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "eval/requests.h"

namespace troupe {

// What runs: a request, or a part of one that is longer than the context.
struct Piece {
  std::vector<int32_t> continuation;
  std::vector<size_t> requests;  // whose answers it adds to; several if requests are equal
  int64_t index = 0;             // among all, in the order in which they run
};

struct Group {
  std::vector<int32_t> context;
  std::vector<Piece> pieces;

  int64_t length() const {
    size_t longest = 0;
    for (const Piece& piece : pieces) longest = std::max(longest, piece.continuation.size());
    return static_cast<int64_t>(context.size() + longest) - 1;
  }
};

class Grouping {
 public:
  // Cuts the request to `limit` inputs: tokens of its context on the left, or, if the continuation alone is longer,
  // pieces with half a context in front. Returns whether tokens of the context were lost.
  bool add(const ScoreRequest& request, int64_t limit, size_t index);
  std::vector<Group> take() { return std::move(groups_); }

 private:
  struct Place {
    size_t group = 0, piece = 0;
  };
  struct IdsHash {
    size_t operator()(const std::vector<int32_t>& ids) const;
  };
  void add_piece(std::vector<int32_t> context, std::vector<int32_t> continuation, size_t request);

  std::vector<Group> groups_;
  std::unordered_map<std::vector<int32_t>, size_t, IdsHash> open_groups_;  // the one of each context that takes more
  std::unordered_map<std::vector<int32_t>, Place, IdsHash> pieces_;        // context, -1, continuation
};

}  // namespace troupe
