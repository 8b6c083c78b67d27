// The files of a tokenizer that travel together: tokenizer.json and what Hugging Face transformers keeps beside it.
#pragma once

namespace troupe {

inline constexpr const char *kTokenizerFile = "tokenizer.json", *kTokenizerConfigFile = "tokenizer_config.json",
                            *kChatTemplateFile = "chat_template.jinja";
inline constexpr const char* kTokenizerFiles[] = {kTokenizerFile, kTokenizerConfigFile, kChatTemplateFile};

}  // namespace troupe
