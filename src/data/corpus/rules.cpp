#include "data/corpus/rules.h"

#include <xxhash.h>

#include <algorithm>
#include <unordered_map>

#include "base/threads.h"
#include "base/utf8.h"
#include "data/corpus/near_duplicates.h"
#include "data/corpus/ngrams.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

using Reports = std::map<std::string, DomainReport>;

void count(DomainReport::Counts& counts, const CorpusDocument& document) {
  ++counts.documents;
  counts.bytes += static_cast<int64_t>(document.text.size());
}

uint64_t text_hash(const CorpusDocument& document) { return XXH3_64bits(document.text.data(), document.text.size()); }

// Removes documents[i] where drop[i]; counts them under `member` of their domain.
void remove(std::vector<CorpusDocument>& documents, const std::vector<uint8_t>& drop,
            DomainReport::Counts DomainReport::*member, Reports& reports) {
  size_t kept = 0;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (drop[i]) {
      count(reports[documents[i].domain].*member, documents[i]);
    } else {
      if (kept != i) documents[kept] = std::move(documents[i]);
      ++kept;
    }
  }
  documents.resize(kept);
}

// Of equal texts the first one in training stays, else the first one.
void drop_exact_duplicates(std::vector<CorpusDocument>& documents, Reports& reports) {
  std::unordered_map<uint64_t, std::vector<size_t>> seen;
  std::vector<uint8_t> drop(documents.size());
  for (const bool training : {true, false}) {
    for (size_t i = 0; i < documents.size(); ++i) {
      if ((documents[i].split == Split::kTrain) != training) continue;
      std::vector<size_t>& same = seen[text_hash(documents[i])];
      drop[i] = std::any_of(same.begin(), same.end(), [&](size_t j) { return documents[j].text == documents[i].text; });
      if (!drop[i]) same.push_back(i);
    }
  }
  remove(documents, drop, &DomainReport::exact_duplicates, reports);
}

// Of a held-out domain the documents with the smallest hashes stay, up to the first that fills it.
void drop_beyond_cap(std::vector<CorpusDocument>& documents, const RuleOptions& options, Reports& reports) {
  if (options.max_heldout_bytes <= 0) return;
  std::map<std::string, std::vector<std::pair<uint64_t, size_t>>> domains;
  for (size_t i = 0; i < documents.size(); ++i)
    if (documents[i].split == Split::kHeldOut) domains[documents[i].domain].emplace_back(text_hash(documents[i]), i);
  std::vector<uint8_t> drop(documents.size());
  for (auto& [domain, members] : domains) {
    std::sort(members.begin(), members.end());
    int64_t bytes = 0;
    for (const auto& [hash, i] : members) {
      drop[i] = bytes >= options.max_heldout_bytes;
      bytes += static_cast<int64_t>(documents[i].text.size());
    }
  }
  remove(documents, drop, &DomainReport::beyond_cap, reports);
}

void drop_near_duplicates(std::vector<CorpusDocument>& documents, const RuleOptions& options, Reports& reports) {
  std::vector<Shingles> shingles(documents.size());
  parallel_chunks(static_cast<int64_t>(documents.size()), 64, [&](int64_t begin, int64_t end) {
    for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      if (documents[i].split == Split::kTrain) shingles[i] = shingle(word_hashes(documents[i].text));
  });
  NearDuplicateIndex index(options.near_duplicate);
  std::vector<uint8_t> drop(documents.size());
  for (size_t i = 0; i < documents.size(); ++i) {
    if (documents[i].split != Split::kTrain) continue;
    drop[i] = index.find(shingles[i]).has_value();
    if (!drop[i]) index.add(std::move(shingles[i]));
  }
  remove(documents, drop, &DomainReport::near_duplicates, reports);
}

// How many n-grams each document of `subjects` has, and how many of them stand in another document that `against` is
// true for. Subjects count against each other if `against` holds for them.
struct Overlap {
  int64_t ngrams = 0, shared = 0;
  bool exceeds(double share) const { return static_cast<double>(shared) > share * static_cast<double>(ngrams); }
};

template <class Against>
std::vector<Overlap> overlaps(const std::vector<CorpusDocument>& documents, const std::vector<size_t>& subjects,
                              int words, const Against& against) {
  std::vector<std::vector<uint64_t>> hashes(subjects.size());
  parallel_chunks(static_cast<int64_t>(subjects.size()), 16, [&](int64_t begin, int64_t end) {
    for (size_t k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k)
      hashes[k] = ngram_hashes(word_hashes(documents[subjects[k]].text), words);
  });
  size_t total = 0;
  for (const auto& list : hashes) total += list.size();
  SharedHashes known(total);
  std::vector<uint8_t> is_subject(documents.size());
  for (size_t k = 0; k < subjects.size(); ++k) {
    is_subject[subjects[k]] = 1;
    // Subjects that are not compared with each other share one owner.
    const uint32_t owner = against(documents[subjects[k]]) ? static_cast<uint32_t>(k) : UINT32_MAX;
    for (const uint64_t hash : hashes[k]) known.insert(hash, owner);
  }
  parallel_chunks(static_cast<int64_t>(documents.size()), 64, [&](int64_t begin, int64_t end) {
    for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      if (!is_subject[i] && against(documents[i]))
        for (const uint64_t hash : ngram_hashes(word_hashes(documents[i].text), words)) known.mark(hash);
  });
  std::vector<Overlap> result(subjects.size());
  for (size_t k = 0; k < subjects.size(); ++k) {
    result[k].ngrams = static_cast<int64_t>(hashes[k].size());
    result[k].shared =
        std::count_if(hashes[k].begin(), hashes[k].end(), [&](uint64_t hash) { return known.marked(hash); });
  }
  return result;
}

constexpr auto is_training = [](const CorpusDocument& document) { return document.split == Split::kTrain; };

// Candidates are the documents with the smallest hashes, ten times as many bytes as will be chosen: enough to find
// those that overlap little, without counting the n-grams of all.
void choose_validation(std::vector<CorpusDocument>& documents, const RuleOptions& options, Reports& reports) {
  struct Candidate {
    uint64_t hash;
    size_t index;
  };
  std::map<std::string, std::vector<Candidate>> domains;
  std::map<std::string, int64_t> bytes, wanted;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (!is_training(documents[i])) continue;
    domains[documents[i].domain].push_back({text_hash(documents[i]), i});
    bytes[documents[i].domain] += static_cast<int64_t>(documents[i].text.size());
  }
  std::vector<size_t> subjects;
  for (auto& [domain, candidates] : domains) {
    const double all = static_cast<double>(bytes[domain]);
    wanted[domain] =
        static_cast<int64_t>(std::clamp(static_cast<double>(options.min_valid_bytes), options.valid_share * all,
                                        std::max(options.valid_share, options.max_valid_share) * all));
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return a.hash != b.hash ? a.hash < b.hash : a.index < b.index;
    });
    size_t take = 0;
    for (int64_t sum = 0; take < candidates.size() && sum < 10 * wanted[domain]; ++take)
      sum += static_cast<int64_t>(documents[candidates[take].index].text.size());
    candidates.resize(take);
    for (const Candidate& candidate : candidates) subjects.push_back(candidate.index);
  }
  const std::vector<Overlap> overlap = overlaps(documents, subjects, options.overlap_words, is_training);
  size_t k = 0;
  for (const auto& [domain, candidates] : domains) {
    int64_t chosen = 0;
    for (const Candidate& candidate : candidates) {
      CorpusDocument& document = documents[candidate.index];
      const bool unseen = !overlap[k++].exceeds(options.max_overlap);
      if (chosen >= wanted[domain]) continue;
      if (!unseen) {
        count(reports[domain].passed_over, document);
      } else {
        document.split = Split::kValid;
        chosen += static_cast<int64_t>(document.text.size());
      }
    }
  }
}

void split_by_hash(std::vector<CorpusDocument>& documents, const RuleOptions& options) {
  for (CorpusDocument& document : documents)
    if (is_training(document) && valid_position(document.text) < options.valid_share) document.split = Split::kValid;
}

// Drops held-out documents, and reports what overlap remains in these and in validation.
void drop_overlapping(std::vector<CorpusDocument>& documents, const RuleOptions& options, Reports& reports) {
  std::vector<size_t> unseen;
  for (size_t i = 0; i < documents.size(); ++i)
    if (!is_training(documents[i])) unseen.push_back(i);
  const std::vector<Overlap> overlap = overlaps(documents, unseen, options.overlap_words, is_training);
  std::vector<uint8_t> drop(documents.size());
  for (size_t k = 0; k < unseen.size(); ++k) {
    const CorpusDocument& document = documents[unseen[k]];
    drop[unseen[k]] = overlap[k].exceeds(options.max_overlap);
    if (drop[unseen[k]]) continue;
    DomainReport& report = reports[document.domain];
    report.ngrams[static_cast<size_t>(document.split)] += overlap[k].ngrams;
    report.shared_ngrams[static_cast<size_t>(document.split)] += overlap[k].shared;
  }
  remove(documents, drop, &DomainReport::overlapping, reports);
}

}  // namespace

std::map<std::string, DomainReport> apply_rules(std::vector<CorpusDocument>& documents, const RuleOptions& options) {
  Reports reports;
  for (const CorpusDocument& document : documents) count(reports[document.domain].parsed, document);
  drop_exact_duplicates(documents, reports);
  drop_beyond_cap(documents, options, reports);
  drop_near_duplicates(documents, options, reports);
  if (options.validation == Validation::kByHash)
    split_by_hash(documents, options);
  else
    choose_validation(documents, options, reports);
  drop_overlapping(documents, options, reports);
  for (const CorpusDocument& document : documents)
    count(reports[document.domain].kept[static_cast<size_t>(document.split)], document);
  return reports;
}

double valid_position(std::string_view text) {
  return static_cast<double>(XXH3_64bits(text.data(), text.size()) >> 11) * 0x1p-53;
}

std::string clean_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (find_invalid_utf8(text)) return {};
  std::string clean;
  clean.reserve(text.size());
  int blank_lines = 0;
  for_each_line(text, [&](std::string_view line) {
    const size_t start = clean.size();
    for (const char c : line) {
      if (c == '\b') {  // overstrike: the character before it goes, with all of its bytes
        if (clean.size() > start) clean.resize(clean.size() - last_character(clean).size());
      } else if (static_cast<unsigned char>(c) >= 0x20 || c == '\t') {
        if (c != '\x7F') clean += c;
      }
    }
    while (clean.size() > start && (clean.back() == ' ' || clean.back() == '\t')) clean.pop_back();
    blank_lines = clean.size() == start ? blank_lines + 1 : 0;
    if (blank_lines <= 1 && !(clean.empty())) clean += '\n';
  });
  while (clean.ends_with('\n')) clean.pop_back();
  return clean;
}

}  // namespace troupe::corpus
