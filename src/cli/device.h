// --device: where the model of a command lies and runs.
#pragma once

#include <span>
#include <string>

namespace CLI {
class App;
class Option;
}

namespace troupe {
class Communicator;
struct ModelConfig;
}  // namespace troupe

namespace troupe::cli {

// What --device says where it is not given.
inline constexpr const char* kDeviceVariable = "TROUPE_DEVICE";

// Adds --device. No card is opened before choose_device(): a process that runs no model needs none.
CLI::Option* add_device_flag(CLI::App& command);

// Whether a card was named, so that there is no way but to take it.
bool wants_card();

// Before the first op of a command that runs models: unless a device was named, takes a GPU if one works and the
// command can run there (`refusal`: why it cannot, or ""), and says so; says why not where there is one. Throws kUsage
// if a card was named and the command refuses. Of several ranks, which all make this call, each takes a card of its
// machine in turn, or all take processors.
void choose_device(const std::string& refusal = "", Communicator* ranks = nullptr);
// choose_device() for a model, of which an op may refuse, or for all that a command runs.
void choose_device_for(const ModelConfig& config, Communicator* ranks = nullptr);
void choose_device_for(std::span<const ModelConfig> models, Communicator* ranks = nullptr);
// For a command that runs none, but says what one would take: the same device, though a card that was named need not be
// there.
void assume_device(const ModelConfig& config);

}  // namespace troupe::cli
