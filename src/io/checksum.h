// Checksums: XXH3-64 (xxHash) against accidents, SHA-256 where the bytes must be the published ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace troupe {

uint64_t xxh3(std::span<const uint8_t> bytes);
uint64_t xxh3(std::string_view bytes);
uint64_t xxh3_of_file(const std::filesystem::path& path);       // throws kData if unreadable
std::string to_hex(uint64_t checksum);                          // 16 lower-case digits
std::string sha256(std::string_view bytes);                     // 64 lower-case hexadecimal digits
std::string sha256_of_file(const std::filesystem::path& path);  // throws kData if unreadable

}  // namespace troupe
