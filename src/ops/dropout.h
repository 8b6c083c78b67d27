// The dropout mask as ops take it; defined with the kernels, which apply it.
#pragma once

#include "kernels/dropout.h"  // IWYU pragma: export
