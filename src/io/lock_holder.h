// Who holds a WriterLock, for those who watch and do not write.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "io/writer_lock.h"

namespace troupe {

// "process 123 on HOST since 2026-01-31T12:00:00Z", or nothing if nobody holds the lock of `path`. Not to be asked in a
// loop without pauses: a writer that starts in this very moment is refused.
std::optional<std::string> lock_holder(const std::filesystem::path& path, WriterLock::Place place);

}  // namespace troupe
