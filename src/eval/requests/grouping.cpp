#include "eval/requests/grouping.h"

#include <span>

#include "io/checksum.h"

namespace troupe {
namespace {

// The pieces of a group run one after the other, each with those of other groups: more than this make another group.
constexpr size_t kMaxPieces = 32;

}  // namespace

size_t Grouping::IdsHash::operator()(const std::vector<int32_t>& ids) const {
  return xxh3(std::span(reinterpret_cast<const uint8_t*>(ids.data()), ids.size() * sizeof(int32_t)));
}

void Grouping::add_piece(std::vector<int32_t> context, std::vector<int32_t> continuation, size_t request) {
  std::vector<int32_t> both = context;
  both.push_back(-1);
  both.insert(both.end(), continuation.begin(), continuation.end());
  const auto [place, is_new] = pieces_.try_emplace(std::move(both));
  if (!is_new) {
    groups_[place->second.group].pieces[place->second.piece].requests.push_back(request);
    return;
  }
  const auto [open, opened] = open_groups_.try_emplace(context, groups_.size());
  if (!opened && groups_[open->second].pieces.size() == kMaxPieces) open->second = groups_.size();
  if (open->second == groups_.size()) groups_.push_back({std::move(context), {}});
  Group& group = groups_[open->second];
  place->second = {open->second, group.pieces.size()};
  group.pieces.push_back({std::move(continuation), {request}});
}

bool Grouping::add(const ScoreRequest& request, int64_t limit, size_t index) {
  const std::vector<int32_t>& context = request.context;
  const auto length = static_cast<int64_t>(request.continuation.size());
  const auto room = static_cast<size_t>(std::max<int64_t>(1, limit + 1 - length));
  const bool truncated = context.size() > room;
  std::vector<int32_t> before(truncated ? context.end() - static_cast<std::ptrdiff_t>(room) : context.begin(),
                              context.end());
  if (length <= limit) {
    add_piece(std::move(before), request.continuation, index);
    return truncated;
  }
  std::vector<int32_t> all = before;
  all.insert(all.end(), request.continuation.begin(), request.continuation.end());
  const auto total = static_cast<int64_t>(all.size());
  for (int64_t begin = 1; begin < total;) {
    const int64_t end = std::min(total, begin == 1 ? 1 + limit : begin + (limit + 1) / 2);
    const int64_t from = std::max<int64_t>(0, end - 1 - limit);
    add_piece({all.begin() + from, all.begin() + begin}, {all.begin() + begin, all.begin() + end}, index);
    begin = end;
  }
  return truncated;
}

}  // namespace troupe
