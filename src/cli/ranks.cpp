#include "cli/ranks.h"

#include <chrono>
#include <cstdlib>
#include <new>
#include <optional>
#include <thread>

#include "base/log_prefix.h"
#include "base/log_settings.h"
#include "base/device.h"
#include "cli/color.h"
#include "dist/mpi.h"

namespace troupe::cli {
namespace {

// Ranks fail of the same cause at the same time: the first one speaks, and its end ends the others before they do.
[[noreturn]] void end_all(Communicator& ranks, const std::string& message, ErrorCode code) {
  if (ranks.rank() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2500 + 200 * ranks.rank()));
  std::fflush(stdout);
  print_error(fmt::format("rank {} of {}: {}", ranks.rank(), ranks.size(), message));
  ranks.abort(static_cast<int>(code));
  std::_Exit(static_cast<int>(code));  // which it does not reach
}

// The first rank says what all know, before any of them ends: a launcher ends the others with the first that fails.
[[noreturn]] void end_together(Communicator& ranks, const Error& error) {
  if (ranks.rank() == 0) {
    std::fflush(stdout);
    print_error(error.what());
  }
  ranks.any(false, "the end");
  throw Quietly{static_cast<int>(error.code())};
}

}  // namespace

void require_one_process(const char* command) {
  if (const int ranks = launched_ranks(); ranks > 1)
    fail(ErrorCode::kUsage,
         "troupe {}: expected one process, got {} started together (train alone shares its work among ranks)", command,
         ranks);
}

void run_on_ranks(double watchdog_s, const std::function<void(Communicator* ranks)>& work) {
  const std::unique_ptr<Communicator> world = start_world({.watchdog_s = watchdog_s});
  if (world->size() == 1) return work(nullptr);
  std::optional<log::Prefix> prefix;
  if (world->rank() > 0) {
    log::set_quiet(true);
    prefix.emplace(fmt::format("rank {} of {}", world->rank(), world->size()));
  }
  try {
    if (active_device() != Device::kCpu)
      throw SharedError(ErrorCode::kUsage, "--device: expected cpu for several ranks, got a GPU (not there yet)");
    work(world.get());
  } catch (const SharedError& error) {
    end_together(*world, error);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) end_together(*world, error);
    end_all(*world, error.what(), error.code());
  } catch (const std::bad_alloc&) {
    end_all(*world, "out of memory", ErrorCode::kEnvironment);
  } catch (const std::exception& error) {
    end_all(*world, error.what(), ErrorCode::kEnvironment);
  }
}

}  // namespace troupe::cli
