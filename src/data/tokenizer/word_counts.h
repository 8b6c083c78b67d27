// How often each word occurs: a hash table whose keys lie one after the other in one block. For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class WordCounts {
 public:
  WordCounts();
  void add(std::string_view word, int64_t times = 1);

  size_t size() const { return size_; }
  // Calls visit(word, count) for each distinct word, in no particular order.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const Entry& entry : entries_)
      if (entry.count > 0) visit(std::string_view(bytes_).substr(entry.offset, entry.size), entry.count);
  }

 private:
  struct Entry {
    uint64_t hash;
    uint64_t offset;
    uint64_t size;
    int64_t count = 0;  // 0: free
  };
  void grow();

  std::vector<Entry> entries_;
  std::string bytes_;
  size_t size_ = 0;
};

}  // namespace troupe
