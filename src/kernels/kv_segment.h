// Keys and values that follow each other in memory; a sequence's past is a list of such pieces.
#pragma once

#include "tensor/matrix.h"

namespace troupe {

template <class T>
struct KvSegment {
  Matrix<const T> k_LGC, v_LGC;  // [L, G C], the same number of rows
};

}  // namespace troupe
