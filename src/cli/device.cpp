#include "cli/device.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <set>
#include <string_view>
#include <vector>

#include "base/device.h"
#include "base/error.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/quantity.h"
#include "base/rank_place.h"
#include "dist/communicator.h"
#include "kernels/cuda/cutlass.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/switches.h"
#include "ops/cuda/attention.h"
#include "ops/cuda/cudnn.h"
#include "troupe/config.h"

namespace troupe::cli {
namespace {

constexpr std::string_view kAuto = "auto", kCpu = name_of_enum(Device::kCpu), kCuda = name_of_enum(Device::kCuda);

std::string device_flag;  // "": not given

// After what says which card is used.
void say_what_differs() {
  if (!is_deterministic())
    log::info("{} is 0: attention adds up gradients in any order, so that two runs differ in their last bits",
              cuda::kDeterministicSwitch.name);
}

// That the card which was opened computes as a switch asks.
void require_ways() {
  if (cuda::value_of(cuda::kGroupedSwitch) != cuda::kByCutlass) return;
  if (const std::string reason = cuda::cutlass_unavailable(); !reason.empty())
    fail(ErrorCode::kUsage, "{}: expected 0 or 1, got {}: {}", cuda::kGroupedSwitch.name, cuda::kByCutlass, reason);
}

// The number of a card in "cuda" or "cuda:N"; -1 if it is neither.
int card_number(std::string_view name) {
  if (name == kCuda) return 0;
  if (!name.starts_with(fmt::format("{}:", kCuda))) return -1;
  int number = -1;
  const std::string_view digits = name.substr(kCuda.size() + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() && digits[0] != '-' ? number : -1;
}

// Why it is the name of no device, or "".
std::string problem_of_name(const std::string& name) {
  if (name == kCpu || name == kAuto || card_number(name) >= 0) return {};
  return fmt::format("expected cpu, auto, cuda or cuda:N, got {}", name);
}

struct Wish {
  std::string device;
  const char* said_by;
};

// Throws kUsage also for what the environment says of devices, used or not.
Wish wish() {
  cuda::check_switches();
  if (!device_flag.empty()) return {device_flag, "--device"};
  const char* const value = std::getenv(kDeviceVariable);
  const std::string device = value && *value ? value : std::string(kAuto);
  if (const std::string problem = problem_of_name(device); !problem.empty())
    fail(ErrorCode::kUsage, "{}: {}", kDeviceVariable, problem);
  return {device, kDeviceVariable};
}

}  // namespace

CLI::Option* add_device_flag(CLI::App& command) {
  return command
      .add_option_function<std::string>(
          "--device", [](const std::string& name) { device_flag = name; },
          "where the model lies and runs: auto, a GPU if one works, else the processor; cpu; cuda or cuda:N, that GPU "
          "(of several ranks each takes one of its machine); not given: as TROUPE_DEVICE says")
      ->check(CLI::Validator([](std::string& name) { return problem_of_name(name); }, "", "device"))
      ->type_name("cpu|auto|cuda|cuda:N")
      ->default_str(std::string(kAuto))
      ->trigger_on_parse();
}

bool wants_card() { return card_number(wish().device) >= 0; }

namespace {

[[noreturn]] void refuse(const Wish& wish, const std::string& reason) {
  fail(ErrorCode::kUsage, "{}: expected cpu, got {}: {}", wish.said_by, wish.device, reason);
}

// What there is, or as its problem why nothing can be known.
cuda::Survey survey_or_problem() {
  try {
    return cuda::survey();
  } catch (const Error& error) {
    cuda::Survey found;
    found.problem = error.what();
    return found;
  }
}

void say_no_card(const std::string& problem) { log::info("device: cpu; no GPU is used: {}", problem); }

// Layer norms of more columns than the backward pass has room for; else "".
std::string refuses_wide_norm(const ModelConfig& model) {
  return model.norm == Norm::kLayer && model.d_model > kWidestNorm
             ? fmt::format("layer norms have {} columns, more than {}", model.d_model, kWidestNorm)
             : "";
}

constexpr const char* kPlace = "the device";  // to the watchdog

// What all ranks wish.
Wish wish_of(Communicator& ranks) {
  Wish own;
  ranks.together([&] { own = wish(); }, kPlace);
  const std::vector<std::string> all = ranks.texts(own.device, kPlace);
  for (size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0])
      throw SharedError(ErrorCode::kUsage,
                        fmt::format("--device, {}: expected one device on all ranks, got {} on rank 0 and {} on rank {}",
                                    kDeviceVariable, all[0], all[r], r));
  return own;
}

// Which of the ranks of its machine this one is.
LocalRank local_rank_of(Communicator& ranks) {
  const std::vector<std::string> hosts = ranks.texts(host_name(), kPlace);
  const auto own = hosts.begin() + ranks.rank();
  return {.rank = static_cast<int>(std::count(hosts.begin(), own, *own)),
          .ranks = static_cast<int>(std::count(hosts.begin(), hosts.end(), *own))};
}

// Whether there is none on any rank; the log has the first.
bool no_rank_has(const std::string& own_problem, Communicator& ranks) {
  const std::vector<std::string> problems = ranks.texts(own_problem, kPlace);
  const auto first = std::find_if(problems.begin(), problems.end(), [](const std::string& one) { return !one.empty(); });
  if (first != problems.end()) say_no_card(fmt::format("rank {}: {}", first - problems.begin(), *first));
  return first == problems.end();
}

// Whether auto is a GPU: all ranks see one that works.
bool all_have_cards(Communicator& ranks, const std::string& refusal) {
  cuda::Survey own = survey_or_problem();
  const std::vector<char> lack = ranks.all_of<char>(own.no_card ? 1 : 0, kPlace);
  if (std::find(lack.begin(), lack.end(), 0) == lack.end()) return false;
  return no_rank_has(refusal.empty() ? own.problem : refusal, ranks);
}

// Whether auto stays a GPU: all ranks could open theirs. Else none has one.
bool all_open_cards(const std::function<void()>& open, Communicator& ranks) {
  std::string problem;
  try {
    open();
  } catch (const Error& error) {
    problem = error.what();
  }
  const bool all = no_rank_has(problem, ranks);
  if (!all && problem.empty()) cuda::close_card();
  return all;
}

// Every rank takes a card of its machine, the next one the next.
void choose_card_of_rank(const std::string& refusal, Communicator& ranks) {
  const Wish wish = wish_of(ranks);
  if (wish.device == kCpu || (wish.device == kAuto && !all_have_cards(ranks, refusal))) return;
  const LocalRank here = local_rank_of(ranks);
  std::string name, place;
  const auto open = [&] {
    if (!refusal.empty()) refuse(wish, refusal);
    const bool is_numbered = wish.device != kAuto && wish.device != kCuda;
    if (is_numbered && here.ranks > 1)
      fail(ErrorCode::kUsage, "{}: expected cuda, of which every rank takes a card of its own, got {} for {} ranks of {}",
           wish.said_by, wish.device, here.ranks, host_name());
    const std::vector<cuda::Card> cards = cuda::survey().cards;
    const int number = is_numbered ? card_number(wish.device)
                                   : here.rank % std::max(1, static_cast<int>(cards.size()));
    cuda::open_card(number);
    const cuda::Card& card = cards.at(static_cast<size_t>(number));
    name = card.name, place = fmt::format("{} {}", host_name(), card.place);
  };
  if (wish.device == kAuto) {
    if (!all_open_cards(open, ranks)) return;
  } else {
    ranks.together(open, kPlace);
  }
  ranks.together(require_ways, kPlace);
  const std::vector<std::string> places = ranks.texts(place, kPlace);
  const auto distinct = static_cast<int64_t>(std::set<std::string>(places.begin(), places.end()).size());
  log::info("device: cuda, {}; {} on {}{}", name, counted(int64_t{ranks.size()}, "rank"), counted(distinct, "GPU"),
            distinct < ranks.size() ? ", of which several share one and its memory" : "");
  say_what_differs();
}

}  // namespace

void choose_device(const std::string& refusal, Communicator* ranks) {
  if (ranks) return choose_card_of_rank(refusal, *ranks);
  const Wish wish = cli::wish();
  if (wish.device == kCpu) return;
  if (wish.device != kAuto) {
    if (!refusal.empty()) refuse(wish, refusal);
    if (active_device() == Device::kCuda) return;
    cuda::open_card(card_number(wish.device));
    require_ways();
    return say_what_differs();
  }
  cuda::Survey found = survey_or_problem();
  if (found.no_card) return;
  if (!refusal.empty()) found.problem = refusal;
  try {
    if (found.problem.empty()) cuda::open_card(0);
  } catch (const Error& error) {
    found.problem = error.what();
  }
  if (!found.problem.empty()) return say_no_card(found.problem);
  require_ways();
  log::info("device: cuda:0, {}", found.cards[0].name);
  say_what_differs();
}

void assume_device(const ModelConfig& config) {
  if (wants_card())
    use_device(Device::kCuda);
  else
    choose_device_for(config);
}

void choose_device_for(const ModelConfig& config, Communicator* ranks) { choose_device_for({&config, 1}, ranks); }

void choose_device_for(std::span<const ModelConfig> models, Communicator* ranks) {
  std::string refusal;
  for (const ModelConfig& model : models)
    for (const std::string& reason : {refuses_wide_heads(model.head_width()), refuses_wide_norm(model)})
      if (refusal.empty()) refusal = reason;
  choose_device(refusal, ranks);
}

}  // namespace troupe::cli
