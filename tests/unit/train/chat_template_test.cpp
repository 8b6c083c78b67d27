// Conversations as the templates of published models write them: the texts are those that Jinja makes of the templates.
#include "train/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

constexpr const char* kSmolLm2 =
    R"({% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>)"
    R"(system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %)"
    R"(}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% )"
    R"(if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %})";
constexpr const char* kLlama3 =
    R"({% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header)"
    R"(_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if l)"
    R"(oop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if a)"
    R"(dd_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %})";
constexpr const char* kLlama2 =
    R"({% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message )"
    R"(= messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false)"
    R"( %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % )"
    R"(2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') )"
    R"(}}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + sys)"
    R"(tem_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = message['content'] )"
    R"(%}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST)"
    R"(]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif)"
    R"( %}{% endfor %})";
constexpr const char* kMistral01 =
    R"({{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 ==)"
    R"( 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%)"
    R"( endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif )"
    R"(message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% else %}{{ raise_except)"
    R"(ion('Only user and assistant roles are supported!') }}{% endif %}{% endfor %})";
constexpr const char* kMistral02 =
    R"({{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 ==)"
    R"( 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%)"
    R"( endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif )"
    R"(message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('On)"
    R"(ly user and assistant roles are supported!') }}{% endif %}{% endfor %})";

std::string written(const char* text, std::vector<ChatMessage> messages, const std::string& system = "") {
  if (!system.empty()) messages.insert(messages.begin(), {"system", system});
  std::string whole;
  for (const ChatPart& part :
       ChatTemplate({.json = {}, .chat_template = text, .bos_token = "<s>", .eos_token = "</s>"}, "x", "m").parts(messages, "x"))
    whole += part.counts ? "{" + part.text + "}" : part.text;
  return whole;
}

const std::vector<ChatMessage> kTalk = {{"user", " Who? "}, {"assistant", "Me.\n"}, {"user", "Why?"}, {"assistant", "So."}};

TEST(ChatTemplate, WritesWhatJinjaWrites) {
  EXPECT_EQ(written(kSmolLm2, kTalk),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\n Who? <|im_end|>\n<|im_start|>assistant\n{Me.\n<|im_end|>}\n"
            "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n{So.<|im_end|>}\n");
  EXPECT_EQ(written(kSmolLm2, kTalk, "Be brief."),
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\n Who? <|im_end|>\n<|im_start|>assistant\n{Me.\n<|im_end|>}\n"
            "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n{So.<|im_end|>}\n");
  EXPECT_EQ(written(kLlama3, kTalk, "Be brief."),
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n{Me.<|eot_id|>}"
            "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n{So.<|eot_id|>}");
  // What Python calls white space.
  EXPECT_EQ(written(kLlama3, {{"user", "\u00a0 Who?\u2003\n"}}),
            "<s><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>");
  EXPECT_EQ(written(kLlama2, {{"user", "\u00a0Who?"}, {"assistant", "Me.\u00a0"}}, "Be brief."),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n\u00a0Who? [/INST]{ Me. </s>}");
  EXPECT_EQ(written(kLlama2, kTalk), "<s>[INST] Who? [/INST]{ Me. </s>}<s>[INST] Why? [/INST]{ So. </s>}");
  EXPECT_EQ(written(kLlama2, kTalk, "Be brief."),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Who? [/INST]{ Me. </s>}<s>[INST] Why? [/INST]{ So. </s>}");
  EXPECT_EQ(written(kMistral01, kTalk), "<s>[INST]  Who?  [/INST]{Me.\n</s> }[INST] Why? [/INST]{So.</s> }");
  EXPECT_EQ(written(kMistral02, kTalk), "<s>[INST]  Who?  [/INST]{Me.\n</s>}[INST] Why? [/INST]{So.</s>}");
}

TEST(ChatTemplate, RefusesWhatItDoesNotKnow) {
  using testing::HasSubstr;
  const auto refusal = [](const std::string& text, const std::string& bos = "<s>") {
    return test::error_of(
        [&] { ChatTemplate({.json = {}, .chat_template = text, .bos_token = bos, .eos_token = "</s>"}, "a.jsonl:1", "m"); },
        ErrorCode::kData);
  };
  EXPECT_THAT(refusal(""), HasSubstr("a.jsonl:1: messages: expected a model with a chat template of ChatML"));
  EXPECT_THAT(refusal(""), HasSubstr("got m without one"));
  EXPECT_THAT(refusal("{{ '<start_of_turn>' + role }}"), HasSubstr("got m with one of another kind"));
  EXPECT_THAT(refusal("<|im_start|> <think>"), HasSubstr("ChatML that rewrites thoughts"));
  EXPECT_THAT(refusal("<|start_header_id|> Cutting Knowledge Date"), HasSubstr("Llama 3 that tells the date"));
  EXPECT_THAT(refusal("'[INST] ' + message['content'] + ' [/INST]'"), HasSubstr("[INST] of another kind"));
  EXPECT_THAT(refusal(kLlama2, ""), HasSubstr("needs bos_token and eos_token"));
  const auto order = [](const char* text, const std::vector<ChatMessage>& messages) {
    return test::error_of([&] { written(text, messages); }, ErrorCode::kData);
  };
  EXPECT_THAT(order(kMistral02, {{"system", "a"}}), HasSubstr("x: messages: expected the role user, as the model's template"));
  EXPECT_THAT(order(kLlama2, {{"user", "a"}, {"user", "b"}}), HasSubstr("expected the role assistant"));
}

// In tokenizer_config.json a template is a text of JSON.
TEST(ChatTemplate, IsReadFromTheConfiguration) {
  const TokenizerConfig config{.json = R"({"chat_template": "{{ '<|im_start|>' }}"})", .chat_template = {}, .bos_token = {}, .eos_token = {}};
  EXPECT_EQ(ChatTemplate(config, "x", "m").kind(), ChatKind::kChatMl);
}

}  // namespace
}  // namespace troupe
