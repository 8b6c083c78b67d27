#include "data/text/reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/utf8.h"
#include "data/text/byte_source.h"
#include "data/text/json_line.h"
#include "data/text/line_reader.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// `where` says file, line if there is one, and what was expected.
void skip_or_stop(SkipReason reason, const std::string& where, const TextOptions& options, TextStats& stats) {
  if (reason != SkipReason::kEmpty && options.on_bad == OnBad::kStop)
    fail(ErrorCode::kData, "{} (--on-bad skip counts and passes over {})", where,
         reason == SkipReason::kUnreadable ? "what cannot be read" : "such documents");
  stats.skip(reason).add(where);
}

// Delivers documents, counts skips, and stops where the options say so.
class Delivery {
 public:
  Delivery(const std::string& source, const TextOptions& options, const DocumentSink& sink, TextStats& stats)
      : source_(source), options_(options), sink_(sink), stats_(stats) {}

  void document(std::string text, int64_t line, std::string meta) {
    if (text.find_first_not_of(" \t\r\n\f\v") == std::string::npos) {
      skip(SkipReason::kEmpty, line, "expected text, got an empty document");
      return;
    }
    if (text.find('\0') != text.npos) stats_.nul_documents.add(fmt::format("{}:{}", source_, line));
    ++stats_.documents;
    stats_.bytes += static_cast<int64_t>(text.size());
    sink_(Document{std::move(text), source_, line, std::move(meta)});
  }

  void skip(SkipReason reason, int64_t line, const std::string& message) {
    skip_or_stop(reason, fmt::format("{}:{}: {}", source_, line, message), options_, stats_);
  }

 private:
  const std::string& source_;
  const TextOptions& options_;
  const DocumentSink& sink_;
  TextStats& stats_;
};

std::string too_long_message(size_t length, const TextOptions& options, std::string_view what) {
  return fmt::format("expected a {} of at most {} bytes, got {} or more (--max-document-bytes raises the limit)", what,
                     options.max_document_bytes, length);
}

constexpr const char* kUtf16Message = "expected UTF-8, got UTF-16 (convert it: iconv -f UTF-16 -t UTF-8)";

bool opens_utf16(std::string_view line, int64_t number) {
  return number == 1 && (line.starts_with("\xFF\xFE") || line.starts_with("\xFE\xFF"));
}

std::optional<std::string> invalid_utf8_message(std::string_view line, int64_t number) {
  const auto at = find_invalid_utf8(line);
  if (!at) return std::nullopt;
  if (opens_utf16(line, number)) return kUtf16Message;
  return fmt::format("expected UTF-8, got byte 0x{:02X} at byte {} of line {}", static_cast<unsigned char>(line[*at]),
                     *at + 1, number);
}

enum class Next { kLine, kEnd, kDamage };

// Damage of the stream (a truncated zstd frame) is counted like any other, and ends the file.
Next next_line(LineReader& lines, Delivery& delivery) {
  try {
    return lines.next() ? Next::kLine : Next::kEnd;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    delivery.skip(SkipReason::kDamagedFile, lines.number(), error.what());
    return Next::kDamage;
  }
}

void read_json_lines(LineReader& lines, const TextOptions& options, Delivery& delivery) {
  JsonLineParser parser;
  JsonLineParser::Failure failure{};
  while (next_line(lines, delivery) == Next::kLine) {
    const int64_t number = lines.number();
    if (lines.too_long()) {
      delivery.skip(SkipReason::kTooLong, number, too_long_message(lines.length(), options, "line"));
      continue;
    }
    if (lines.line().find_first_not_of(" \t\r") == std::string_view::npos) {
      delivery.skip(SkipReason::kEmpty, number, "expected a JSON object, got a blank line");
      continue;
    }
    if (opens_utf16(lines.line(), number)) {
      delivery.skip(SkipReason::kInvalidUtf8, number, kUtf16Message);
      continue;
    }
    std::string text, meta;
    if (!parser.parse(lines.line(), failure) || !parser.get(options.field, text, failure) ||
        (!options.meta_field.empty() && !parser.get(options.meta_field, meta, failure))) {
      delivery.skip(failure.reason, number, failure.message);
      continue;
    }
    delivery.document(std::move(text), number, std::move(meta));
  }
}

// Plain text: gathers lines into one document, which a bad line spoils as a whole.
class PlainDocument {
 public:
  explicit PlainDocument(Delivery& delivery) : delivery_(delivery) {}

  void add(const LineReader& lines, const TextOptions& options) {
    if (!open_) {
      open_ = true;
      first_line_ = lines.number();
    } else if (!bad_) {
      text_ += '\n';
    }
    if (bad_) return;
    if (lines.too_long() || text_.size() + lines.length() > options.max_document_bytes) {
      spoil(SkipReason::kTooLong, too_long_message(text_.size() + lines.length(), options, "document"));
    } else if (auto message = invalid_utf8_message(lines.line(), lines.number())) {
      spoil(SkipReason::kInvalidUtf8, *message);
    } else {
      text_.append(lines.line());
    }
  }

  void finish() {
    if (open_ && !bad_) delivery_.document(std::move(text_), first_line_, {});
    open_ = bad_ = false;
    text_.clear();
  }

 private:
  void spoil(SkipReason reason, const std::string& message) {
    bad_ = true;
    text_ = {};
    delivery_.skip(reason, first_line_, message);
  }

  Delivery& delivery_;
  std::string text_;
  int64_t first_line_ = 0;
  bool open_ = false, bad_ = false;
};

void read_plain_text(LineReader& lines, const TextOptions& options, Delivery& delivery) {
  PlainDocument document(delivery);
  Next next;
  while ((next = next_line(lines, delivery)) == Next::kLine) {
    const bool blank = !lines.too_long() && lines.line().find_first_not_of(" \t\r\f\v") == std::string_view::npos;
    if (blank && options.split == Split::kBlankLine)
      document.finish();
    else
      document.add(lines, options);
  }
  if (next == Next::kEnd) document.finish();  // after damage the last document is incomplete
}

struct Input {
  std::string path;
  TextFormat format;
};

std::optional<TextFormat> format_of(std::string_view path) {
  for (const std::string_view compressed : {".zst", ".gz"}) {
    if (!path.ends_with(compressed)) continue;
    path.remove_suffix(compressed.size());
    break;
  }
  if (path.ends_with(".txt")) return TextFormat::kText;
  if (path.ends_with(".jsonl") || path.ends_with(".ndjson")) return TextFormat::kJsonl;
  return std::nullopt;
}

constexpr std::string_view kKinds = ".txt, .jsonl or .ndjson, each also with .zst or .gz";

// Why a file of this name is not read, and what to do.
std::string not_read(std::string_view path) {
  constexpr std::pair<std::string_view, std::string_view> kPrograms[] = {
      {".bz2", "bzip2 -dc"}, {".xz", "xz -dc"}, {".lz4", "lz4 -dc"}, {".lzma", "xz -dc"}, {".br", "brotli -dc"}};
  for (const auto& [suffix, program] : kPrograms)
    if (path.ends_with(suffix))
      return fmt::format("{}, which is not read ({} {} | troupe ... -)", suffix, program, path);
  return "another kind of name (pipe it in and name the input -)";
}

// Which file or folder is it, whatever its name?
using Inode = std::pair<dev_t, ino_t>;

std::optional<Inode> inode(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? std::optional(Inode(info.st_dev, info.st_ino)) : std::nullopt;
}

// The files below one folder. Links are followed, but each folder is walked once, so that no loop of links is endless
// and no text is read twice because of one: first what is there itself, then what only links lead to.
class FolderWalk {
 public:
  FolderWalk(const TextOptions& options, TextStats& stats) : options_(options), stats_(stats) {}

  std::vector<std::string> files(const std::string& top) {
    enter(top);
    while (!links_.empty()) {
      const std::string link = *links_.begin();
      links_.erase(links_.begin());
      if (!enter(link)) stats_.repeated_links.add(link);
    }
    for (const std::string& link : file_links_) {
      if (const auto file = inode(link); file && !read_.insert(*file).second)
        stats_.repeated_links.add(link);
      else
        files_.push_back(link);
    }
    std::sort(files_.begin(), files_.end());
    return std::move(files_);
  }

 private:
  // False if this folder was walked before, under whatever name.
  bool enter(const std::string& folder) {
    if (const auto known = inode(folder); known && !walked_.insert(*known).second) return false;
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      entries.push_back(*it);
    std::sort(entries.begin(), entries.end());
    for (const fs::directory_entry& entry : entries) add(entry);
    if (error)
      skip_or_stop(SkipReason::kUnreadable, fmt::format("{}: cannot list this folder: {}", folder, error.message()),
                   options_, stats_);
    return true;
  }

  void add(const fs::directory_entry& entry) {
    const std::string path = entry.path().string();
    std::error_code error;
    const fs::file_status status = entry.status(error);
    if (entry.is_symlink() && (error || !fs::exists(status))) {
      const std::string target = fs::read_symlink(entry.path(), error).string();
      stats_.dangling_links.add(fmt::format("{} -> {}", path, target));
    } else if (fs::is_directory(status)) {
      if (entry.is_symlink())
        links_.insert(path);
      else
        enter(path);
    } else if (error || (fs::is_regular_file(status) && format_of(path))) {
      if (entry.is_symlink()) {
        file_links_.insert(path);
        return;
      }
      files_.push_back(path);  // an error shows again, with its reason, when the file is opened
      if (const auto file = inode(path)) read_.insert(*file);
    } else {
      stats_.ignored_files.add(path);
    }
  }

  const TextOptions& options_;
  TextStats& stats_;
  std::vector<std::string> files_;
  std::set<std::string> links_;       // to folders, in order; still to be followed
  std::set<std::string> file_links_;  // to files, in order
  std::set<Inode> walked_, read_;     // folders, files
};

// A whole corpus as `troupe corpus build` makes it is no text: what is held out would train, or be scored with the rest.
void refuse_corpus(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / "manifest.json", error) || !fs::is_directory(folder / "train", error)) return;
  for (const char* unseen : {"valid", "heldout"})
    if (fs::is_directory(folder / unseen, error))
      fail(ErrorCode::kUsage, "{}: expected text to train on or to score, got a corpus with both (name {}, or {}, or each)",
           folder.string(), (folder / "train").string(), (folder / unseen).string());
}

void list_folder(const std::string& folder, const TextOptions& options, std::vector<Input>& inputs, TextStats& stats) {
  refuse_corpus(folder);
  const size_t before = inputs.size();
  const int64_t unreadable = stats.skip(SkipReason::kUnreadable).count;
  for (std::string& path : FolderWalk(options, stats).files(folder)) {
    const TextFormat format = format_of(path).value_or(TextFormat::kText);
    inputs.push_back({std::move(path), format});
  }
  if (inputs.size() == before && stats.skip(SkipReason::kUnreadable).count == unreadable)
    fail(ErrorCode::kData, "{}: expected {} files in this folder, got none{}", folder, kKinds,
         stats.dangling_links.count  ? " (a link to nothing: " + stats.dangling_links.first + ")"
         : stats.ignored_files.count ? " (another kind: " + stats.ignored_files.first + ")"
                                     : "");
}

std::vector<Input> list_inputs(const std::vector<std::string>& names, const TextOptions& options, TextStats& stats) {
  std::vector<Input> inputs;
  for (const std::string& name : names) {
    std::error_code error;
    const fs::file_status status = fs::status(name, error);
    if (name == "-") {
      inputs.push_back({name, options.stdin_format});
    } else if (fs::is_directory(status)) {
      list_folder(name, options, inputs, stats);
    } else if (!fs::exists(status)) {
      std::error_code no_link;
      const fs::path target = fs::read_symlink(name, no_link);
      fail(ErrorCode::kData, "{}: expected a file or a folder, got {}", name,
           !no_link                               ? fmt::format("a link to {}, which is not there", target.string())
           : status.type() == fs::file_type::none ? error.message()
                                                  : "nothing of this name");
    } else if (const auto format = format_of(name)) {
      inputs.push_back({name, *format});
    } else {
      fail(ErrorCode::kUsage, "{}: expected {}, got {}", name, kKinds, not_read(name));
    }
  }
  std::set<Inode> seen;
  for (const Input& input : inputs) {
    if (!options.meta_field.empty() && input.format == TextFormat::kText)
      fail(ErrorCode::kUsage, "{}: expected JSON lines, which have a field {}, got plain text", input.path,
           options.meta_field);
    if (const auto file = inode(input.path); file && input.path != "-" && !seen.insert(*file).second)
      stats.repeated_files.add(input.path);
  }
  return inputs;
}

}  // namespace

int64_t TextStats::total_skipped() const {
  int64_t total = 0;
  for (const Skip& skip : skipped) total += skip.count;
  return total;
}

std::string TextStats::report() const {
  std::string text =
      fmt::format("{}, {} from {}; {} skipped", counted(documents, "document"), counted(bytes, "byte"),
                                 counted(files, "file"), total_skipped());
  for (const auto& [name, reason] : EnumNames<SkipReason>::values)
    if (skip(reason).count)
      text += fmt::format("\n  skipped {} {}, first: {}", skip(reason).count, name, skip(reason).first);
  const auto line = [&](const Skip& skip, const char* did, const char* noun, const char* which) {
    if (skip.count) text += fmt::format("\n  {} {} {}, first: {}", did, counted(skip.count, noun), which, skip.first);
  };
  line(ignored_files, "ignored", "file", "of other kinds");
  line(dangling_links, "passed over", "link", "to nothing");
  line(repeated_links, "passed over", "link", "to what is read anyway");
  line(repeated_files, "read again", "file", "given more than once");
  line(nul_documents, "kept NUL bytes in", "document", "(is it text?)");
  if (crlf_files) text += "\n  read CRLF line ends as LF in " + counted(crlf_files, "file");
  if (byte_order_mark_files) text += "\n  dropped the byte-order mark of " + counted(byte_order_mark_files, "file");
  return text;
}

void read_documents(ByteSource& bytes, const std::string& source, TextFormat format, const TextOptions& options,
                    const DocumentSink& sink, TextStats& stats) {
  LineReader lines(bytes, options.max_document_bytes);
  Delivery delivery(source, options, sink, stats);
  ++stats.files;
  const int64_t before = stats.documents;
  (format == TextFormat::kJsonl ? read_json_lines : read_plain_text)(lines, options, delivery);
  const int64_t documents = stats.documents - before;
  if (format == TextFormat::kText && options.split == Split::kBlankLine && documents >= kManyParagraphs)
    stats.many_paragraphs.add(fmt::format("{}: {} documents, as each blank line ends one", source, documents));
  stats.crlf_files += lines.had_crlf();
  stats.byte_order_mark_files += lines.had_byte_order_mark();
}

void check_inputs(const std::vector<std::string>& inputs, const TextOptions& options) {
  TextStats stats;
  list_inputs(inputs, options, stats);
}

TextStats for_each_document(const std::vector<std::string>& inputs, const TextOptions& options,
                            const DocumentSink& sink) {
  TextStats stats;
  for (const Input& input : list_inputs(inputs, options, stats)) {
    std::unique_ptr<ByteSource> bytes;
    try {
      bytes = open_maybe_compressed(input.path);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kData) throw;
      skip_or_stop(SkipReason::kUnreadable, error.what(), options, stats);
      continue;
    }
    read_documents(*bytes, input.path == "-" ? "stdin" : input.path, input.format, options, sink, stats);
  }
  if (const TextStats::Skip& many = stats.many_paragraphs; many.count)
    log::warning("{}{} (--split file makes a file one document)", many.first,
                 many.count > 1 ? "; likewise " + counted(many.count - 1, "more file") : "");
  return stats;
}

}  // namespace troupe
