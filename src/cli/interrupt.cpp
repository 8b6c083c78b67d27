#include "cli/interrupt.h"

#include <csignal>

namespace troupe::cli {
namespace {

volatile std::sig_atomic_t received = 0;

void on_signal(int signal) {
  received = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  received = 0;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool InterruptGuard::interrupted() const { return received != 0; }

}  // namespace troupe::cli
