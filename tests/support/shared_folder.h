// A temporary folder that all ranks see.
#pragma once

#include <filesystem>
#include <optional>

#include "ranks.h"
#include "temporary_folder.h"

namespace troupe::test {

class SharedFolder {
 public:
  SharedFolder() {
    if (world().rank() == 0) own_.emplace();
    path_ = world().texts(own_ ? own_->path().string() : "", "test").front();
  }
  ~SharedFolder() { world().any(false, "test"); }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::optional<TemporaryFolder> own_;
  std::filesystem::path path_;
};

}  // namespace troupe::test
