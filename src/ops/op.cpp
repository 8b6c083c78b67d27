#include "ops/op.h"

#include "base/error.h"
#include "base/log.h"

namespace troupe {

std::string describe(const OpName& name) { return fmt::format("{} ({})", name.op, name.numbers); }

std::string reason_against(Device of_row, std::string (*unavailable)(), Device device) {
  if (of_row != device) return fmt::format("the device in use is {}", name_of_enum(device));
  return unavailable ? unavailable() : std::string();
}

bool can_run(const OpName& name, std::string_view row, Device of_row, std::string (*unavailable)(), bool may_refuse,
             Device device) {
  const std::string reason = reason_against(of_row, unavailable, device);
  if (!reason.empty())
    note_refusal(name, row, reason);
  else
    log::topic("dispatch", "{}: {}{}", describe(name), row, may_refuse ? ", unless it refuses a task" : "");
  return reason.empty();
}

void note_refusal(const OpName& name, std::string_view row, std::string_view reason) {
  if (log::topic_enabled("dispatch")) log::topic("dispatch", "{}: not {} ({})", describe(name), row, reason);
}

void fail_without_row(const OpName& name, Device device) {
  if (device != Device::kCpu)
    fail(ErrorCode::kEnvironment, "{}: expected an implementation for {}, got none that takes it (--device cpu)",
         describe(name), name_of_enum(device));
  fail(ErrorCode::kInternal, "{}: no implementation accepts", describe(name));
}

std::string refuses_below(Isa level) {
  if (active_isa() >= level) return {};
  return fmt::format("the instruction set in use is {}", name_of_enum(active_isa()));
}

}  // namespace troupe
