#include "train/chat_template.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "eval/tasks/python_text.h"

namespace troupe {
namespace {

// Its text; "" if there is none. Line ends that the program spells \n are line ends.
std::string template_of(const TokenizerConfig& config) {
  std::string text = config.chat_template;
  if (text.empty() && !config.json.empty()) {
    const auto object = nlohmann::json::parse(config.json, nullptr, false);
    if (object.is_object() && object.contains("chat_template") && object["chat_template"].is_string())
      text = object["chat_template"].get<std::string>();
  }
  for (size_t at = 0; (at = text.find("\\n", at)) != text.npos; ++at) text.replace(at, 2, "\n");
  return text;
}

// What stands between `before` and `after` as a text of the template, not as an expression.
std::string literal_between(const std::string& text, std::string_view before, std::string_view after) {
  for (size_t at = 0; (at = text.find(before, at)) != text.npos;) {
    at += before.size();
    const size_t end = text.find(after, at);
    if (end == text.npos) return "";
    const std::string found = text.substr(at, end - at);
    if (!found.empty() && found.find_first_of("'\"{}") == found.npos) return found;
  }
  return "";
}

}  // namespace

ChatTemplate::ChatTemplate(const TokenizerConfig& config, const std::string& where, const std::string& model)
    : bos_(config.bos_token), eos_(config.eos_token) {
  const std::string text = template_of(config);
  const auto has = [&](std::string_view part) { return text.find(part) != text.npos; };
  const auto refuse = [&](std::string_view got) {
    fail(ErrorCode::kData,
         "{}: messages: expected a model with a chat template of ChatML (<|im_start|>), Llama 2, Llama 3 or Mistral, got "
         "{} {} (give \"prompt\" and \"completion\")",
         where, model, got);
  };
  if (text.empty()) refuse("without one");
  if (has("<|im_start|>")) {
    if (has("<think>") || has("reasoning")) refuse("with one of ChatML that rewrites thoughts");
    kind_ = ChatKind::kChatMl;
    usual_system_ = literal_between(text, "<|im_start|>system\n", "<|im_end|>");
  } else if (has("<|start_header_id|>")) {
    if (has("Cutting Knowledge") || has("date_string")) refuse("with one of Llama 3 that tells the date");
    kind_ = ChatKind::kLlama3;
  } else if (has("[INST]") && has("<<SYS>>")) {
    kind_ = ChatKind::kLlama2;
  } else if (has("'[INST] ' + message['content'] + ' [/INST]'")) {
    kind_ = ChatKind::kMistral;
    if (has("{{ message['content'] + eos_token + ' ' }}") || has("{{ message['content'] + eos_token + ' '}}"))
      after_ = " ";
    else if (has("{{ ' ' + message['content'] + eos_token }}") || has("{{ ' ' + message['content'] + eos_token}}"))
      before_answer_ = " ";
    else if (!has("{{ message['content'] + eos_token}}") && !has("{{ message['content'] + eos_token }}"))
      refuse("with one of [INST] of another kind");
  } else {
    refuse("with one of another kind");
  }
  if ((kind_ == ChatKind::kLlama2 || kind_ == ChatKind::kMistral) && (bos_.empty() || eos_.empty()))
    refuse("with one that needs bos_token and eos_token in tokenizer_config.json");
  if (kind_ == ChatKind::kLlama3 && bos_.empty()) refuse("with one that needs bos_token in tokenizer_config.json");
}

std::vector<ChatPart> ChatTemplate::parts(std::span<const ChatMessage> messages, const std::string& where) const {
  std::vector<ChatPart> parts;
  const bool by_turns = kind_ == ChatKind::kLlama2 || kind_ == ChatKind::kMistral;
  std::string system;  // Llama 2: goes into the first question
  if (kind_ == ChatKind::kMistral) parts.push_back({bos_});
  if (kind_ == ChatKind::kChatMl && !usual_system_.empty() && messages.front().role != "system")
    parts.push_back({fmt::format("<|im_start|>system\n{}<|im_end|>\n", usual_system_)});
  for (size_t i = 0, turn = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    const bool answer = role == "assistant";
    if (!by_turns) {
      const bool llama = kind_ == ChatKind::kLlama3;
      const std::string opening =
          llama ? fmt::format("{}<|start_header_id|>{}<|end_header_id|>\n\n", i == 0 ? bos_ : "", role)
                : fmt::format("<|im_start|>{}\n", role);
      parts.push_back({opening});
      parts.push_back({llama ? std::string(python::strip(content)) + "<|eot_id|>" : content + "<|im_end|>", answer});
      if (!llama) parts.push_back({"\n"});
      continue;
    }
    const bool takes_system = kind_ == ChatKind::kLlama2 && i == 0;
    if (takes_system && role == "system") {
      system = fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n", content);
      continue;
    }
    const std::string_view expected = turn++ % 2 == 0 ? "user" : "assistant";
    if (role != expected)
      fail(ErrorCode::kData, "{}: messages: expected the role {}{}, as the model's template has them, got {}", where,
           expected, takes_system ? " or system" : "", role);
    if (kind_ == ChatKind::kMistral)
      parts.push_back({answer ? before_answer_ + content + eos_ + after_ : fmt::format("[INST] {} [/INST]", content), answer});
    else
      parts.push_back(
          {answer ? fmt::format(" {} {}", python::strip(content), eos_)
                  : fmt::format("{}[INST] {} [/INST]", bos_, python::strip(std::exchange(system, "") + content)),
           answer});
  }
  return parts;
}

}  // namespace troupe
