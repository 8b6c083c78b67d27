// All ranks of a test program; see ranks_main.cpp.
#pragma once

#include "dist/communicator.h"

namespace troupe::test {

Communicator& world();

}  // namespace troupe::test
