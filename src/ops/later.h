// What an op has for the host may still be on its way from a device when the op returns.
#pragma once

#include <functional>

namespace troupe {

// Waits for it. A task with a place for one gives a device leave to put it there and to leave the value itself as it
// was; empty afterwards: the value is there.
template <class T>
using Later = std::function<T()>;

}  // namespace troupe
