// Several processes at one study: whoever locks a thing does it, the others go on to the next. The system lets go of a
// lock when its holder dies (io/writer_lock.h), and with it the thing is free again.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "io/writer_lock.h"

namespace troupe {

// The lock of `path`, or nothing if another process has it.
std::unique_ptr<WriterLock> try_claim(const std::filesystem::path& path);

// Waits for it; says once for whom, and throws kInterrupted when `interrupted`.
std::unique_ptr<WriterLock> claim(const std::filesystem::path& path, const std::function<bool()>& interrupted);

// A pause that `interrupted` ends.
void wait_a_moment(double seconds, const std::function<bool()>& interrupted);

}  // namespace troupe
