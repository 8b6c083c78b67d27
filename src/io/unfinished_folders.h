// Folders that go with what is unfinished (unfinished.h) if they are empty by then: those made on the way to it.
#pragma once

#include <filesystem>

namespace troupe {

void add_unfinished_folder(const std::filesystem::path& folder);
void forget_unfinished_folder(const std::filesystem::path& folder);

}  // namespace troupe
