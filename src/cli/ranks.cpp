#include "cli/ranks.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <new>
#include <optional>
#include <thread>

#include "base/isa.h"
#include "base/log.h"
#include "base/log_prefix.h"
#include "base/log_settings.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "cli/color.h"
#include "cli/output.h"
#include "cli/validators.h"
#include "dist/mpi.h"
#include "io/provenance.h"

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

// What the bits of results depend on is the same on all ranks.
void require_equal_ranks(Communicator& ranks) {
  const std::vector<std::string> all =
      ranks.texts(fmt::format("{}, {} kernels", program_version(), name_of_enum(active_isa())), "the program");
  for (size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0])
      throw SharedError(ErrorCode::kEnvironment,
                        fmt::format("ranks: expected the program of rank 0 on all ({}), got another on rank {} ({}; "
                                    "TROUPE_ISA chooses kernels that all machines have)",
                                    all[0], r, all[r]));
}

}  // namespace

void describe_shared_evaluation(const Communicator* ranks) {
  if (ranks)
    log::info("ranks: {} ({}), {} each; each has the whole model and takes batches of its own", ranks->size(), ranks->name(),
              counted(num_threads(), "thread"));
}

void add_watchdog_flag(CLI::App& command, double& seconds) {
  command
      .add_option("--watchdog", seconds,
                  "of several ranks (mpirun): end all when one does not answer for so many seconds; 0 waits for ever")
      ->type_name("SECONDS")
      ->transform(number(0.0, 1e9));
}

void require_one_process(const char* command) {
  if (const int ranks = launched_ranks(); ranks > 1)
    fail(ErrorCode::kUsage,
         "troupe {}: expected one process, got {} started together (train, finetune, study, eval ppl and eval tasks share "
         "their work among ranks)", command,
         ranks);
}

void run_on_ranks(double watchdog_s, const std::function<void(Communicator* ranks)>& work) {
  const std::unique_ptr<Communicator> world = start_world({.watchdog_s = watchdog_s});
  if (world->size() == 1) return work(nullptr);
  std::optional<log::Prefix> prefix;
  if (world->rank() > 0) {
    log::set_quiet(true);
    silence_output();
    prefix.emplace(fmt::format("rank {} of {}", world->rank(), world->size()));
  }
  try {
    require_equal_ranks(*world);
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
