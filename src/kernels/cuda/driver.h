// GPUs by the CUDA driver, which is loaded when it is first asked for: the program needs none to start. Kernels come
// from the image that nvcc made (device.cu), if it was there when the program was built.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/machine.h"

namespace troupe::cuda {

struct Card {
  std::string name, place;  // place: on the bus, "0000:01:00.0"
  int64_t memory_bytes = 0;
  int multiprocessors = 0, major = 0, minor = 0;
};

// What is found; `problem` says why there is no card to use ("" if there is).
struct Survey {
  std::string driver;   // "13.0"; "" if none is loaded
  std::string library;  // the path of the driver's library
  std::string kernels;  // for which cards the image was made; "" if the program was built without
  std::vector<Card> cards;
  std::string problem;
  bool no_card = false;  // because there is no driver, or it finds none: nothing to mend
};
Survey survey();

// Opens a card for this process: machine(), active_device() and active_memory() are its from now on. Throws
// kEnvironment if that cannot be, saying why; then nothing is held. May be called once, before the first op.
enum class CardMemory {
  kOwn,      // which the host does not reach
  kManaged,  // which both reach, and every launch is waited for: for tests
};
void open_card(int number, CardMemory memory = CardMemory::kOwn);
// Gives it back before the first op: the processor is used.
void close_card();

}  // namespace troupe::cuda
