// Pieces of HTML: text, and numbers as people read them.
#pragma once

#include <string>
#include <string_view>

namespace troupe::html {

std::string escaped(std::string_view text);           // bytes that are not UTF-8 and control characters become U+FFFD
std::string number(double value, int decimals);       // "–" unless finite, as in the following
std::string scaled(double value);                     // 1.23M, 45.6B
std::string flops(double value);                      // 142 TFLOPs
std::string duration(double seconds);                 // 3 min 07 s
std::string percent(double share, int decimals = 1);  // 12.5 %

// A whole document: `title` is text, `body` is HTML.
std::string page(const std::string& title, const std::string& body);

}  // namespace troupe::html
