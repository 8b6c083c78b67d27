// The commit that the program was built from. Defined in a file that the build writes (cmake/commit.cmake).
#pragma once

namespace troupe::cli {

extern const char* const kCommit;

}  // namespace troupe::cli
