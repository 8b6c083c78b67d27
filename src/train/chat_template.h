// How a model writes a conversation. Published templates are programs in Jinja, of which there is no interpreter here:
// the kinds that are known are told by what they put around messages, and every other one is refused.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer_config.h"

namespace troupe {

struct ChatMessage {
  std::string role, content;
};

// A part of the text; what the assistant says, with what ends it, counts.
struct ChatPart {
  std::string text;
  bool counts = false;
};

enum class ChatKind {
  kChatMl,   // <|im_start|>user\nTEXT<|im_end|>\n: SmolLM2, Qwen2.5
  kLlama2,   // <s>[INST] <<SYS>>\nTEXT\n<</SYS>>\n\nTEXT [/INST] TEXT </s>
  kLlama3,   // <|start_header_id|>user<|end_header_id|>\n\nTEXT<|eot_id|>
  kMistral,  // <s>[INST] TEXT [/INST]TEXT</s>
};

class ChatTemplate {
 public:
  // Throws kData, "WHERE: messages: ...", for a tokenizer without a template or with one of no known kind; `model` is
  // whose it is.
  ChatTemplate(const TokenizerConfig& config, const std::string& where, const std::string& model);

  ChatKind kind() const { return kind_; }

  // As transformers' apply_chat_template writes it, without a prompt at the end. Throws kData for a role, or an order of
  // roles, that the template has not.
  std::vector<ChatPart> parts(std::span<const ChatMessage> messages, const std::string& where) const;

 private:
  ChatKind kind_;
  std::string bos_, eos_;
  std::string usual_system_;           // ChatML: of a conversation that begins with none
  std::string before_answer_, after_;  // Mistral: around what the assistant says; eos is between
};

}  // namespace troupe
