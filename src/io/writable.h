// Can a file be written here? Asked before long work whose result goes there at its end.
#pragma once

#include <filesystem>

namespace troupe {

// Throws kEnvironment, as write_file_atomically() would, if no file can be made beside `path`. Leaves nothing.
void check_writable(const std::filesystem::path& path);

}  // namespace troupe
