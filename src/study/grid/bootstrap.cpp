#include "study/grid/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"
#include "eval/statistics.h"
#include "io/checksum.h"

namespace troupe {
namespace {

constexpr uint64_t kDocumentsKey = 0xd0c5, kSeedsKey = 0x5eed5;

const DomainResult* find_domain(const RunRecord& record, const StudyDomain& text) {
  for (const DomainResult& domain : record.domains)
    if (domain.name == text.name && domain.held_out == text.held_out) return &domain;
  return nullptr;
}

bool is_usable(const FinishedRun& run) { return run.record.status == RunStatus::kOk && run.record.measured; }

// Appends the means over the domains of each side to a list by domain.
void add_means(std::vector<double>& nll, const std::vector<StudyDomain>& texts) {
  for (const bool held_out : {false, true}) {
    double sum = 0.0;
    int64_t count = 0;
    for (size_t d = 0; d < texts.size(); ++d)
      if (texts[d].held_out == held_out) sum += nll[d], ++count;
    if (count > 0) nll.push_back(sum / static_cast<double>(count));
  }
}

std::vector<double> nll_of(const FinishedRun& run, const std::vector<StudyDomain>& texts) {
  std::vector<double> nll;
  for (const StudyDomain& text : texts) {
    const DomainResult* domain = find_domain(run.record, text);
    nll.push_back(domain ? domain->nll : kNan);
  }
  add_means(nll, texts);
  return nll;
}

std::vector<const FinishedRun*> runs_of(const GridResults& results, size_t point) {
  std::vector<const FinishedRun*> runs;
  for (const FinishedRun& run : results.finals)
    if (run.run.point == point && is_usable(run)) runs.push_back(&run);
  return runs;
}

// Units of one domain, of which nll is the mean over a point's seeds.
struct Units {
  std::vector<double> tokens;
  std::vector<std::vector<double>> nll;  // [point][unit]
};

Units units_of(const GridResults& results, const std::vector<MeanPoint>& points, const StudyDomain& text) {
  Units units;
  for (const MeanPoint& point : points) {
    const auto runs = runs_of(results, point.point);
    std::vector<double>& sums = units.nll.emplace_back();
    for (const FinishedRun* run : runs) {
      const DomainResult* domain = find_domain(run->record, text);
      if (!domain)
        fail(ErrorCode::kData, "{}: expected scores of {}, got none", name(results.grid, run->run), text.name);
      std::vector<double> tokens;
      for (const auto& [nll, count] : domain->documents) tokens.push_back(static_cast<double>(count));
      if (units.tokens.empty()) units.tokens = tokens;
      if (tokens != units.tokens)
        fail(ErrorCode::kData, "{}: {}: expected scores of the documents of the other runs, got others",
             name(results.grid, run->run), text.name);
      sums.resize(tokens.size());
      for (size_t u = 0; u < tokens.size(); ++u)
        sums[u] += std::get<0>(domain->documents[u]) / static_cast<double>(runs.size());
    }
  }
  return units;
}

// [replicate][point]
std::vector<std::vector<double>> draw_documents(const Units& units, const std::string& domain) {
  std::vector<std::vector<double>> replicates(kReplicates, std::vector<double>(units.nll.size()));
  const size_t U = units.tokens.size();
  parallel_for(kReplicates, [&](int64_t r) {
    Rng rng(mix_key(kDocumentsKey, xxh3(domain)), static_cast<uint64_t>(r));
    std::vector<double> counts(U);
    for (size_t i = 0; i < U; ++i) counts[rng.below(U)] += 1.0;
    double tokens = 0.0;
    for (size_t u = 0; u < U; ++u) tokens += counts[u] * units.tokens[u];
    for (size_t p = 0; p < units.nll.size(); ++p) {
      const std::vector<double>& own = units.nll[p];
      double nll = 0.0;
      for (size_t u = 0; u < U; ++u) nll += counts[u] * own[u];
      replicates[static_cast<size_t>(r)][p] = nll / tokens;
    }
  });
  return replicates;
}

}  // namespace

TextNames texts_of(const GridResults& results) {
  TextNames texts;
  bool any_held_out = false;
  for (size_t d = 0; d < results.texts.size(); ++d) {
    texts.names.push_back(results.domains[d]), texts.held_out.push_back(results.texts[d].held_out);
    any_held_out |= results.texts[d].held_out;
  }
  texts.names.push_back(kMeanIn), texts.held_out.push_back(false);
  if (any_held_out) texts.names.push_back(kMeanOut), texts.held_out.push_back(true);
  return texts;
}

std::vector<MeanPoint> mean_points(const GridResults& results) {
  std::vector<MeanPoint> points;
  for (size_t p = 0; p < results.grid.points.size(); ++p) {
    const auto runs = runs_of(results, p);
    if (runs.empty()) continue;
    MeanPoint& mean = points.emplace_back();
    mean.point = p, mean.run = name(results.grid, runs.front()->run), mean.seeds = static_cast<int64_t>(runs.size());
    for (const FinishedRun* run : runs) {
      const std::vector<double> nll = nll_of(*run, results.texts);
      mean.nll.resize(nll.size());
      for (size_t t = 0; t < nll.size(); ++t) mean.nll[t] += nll[t] / static_cast<double>(runs.size());
    }
  }
  return points;
}

double SeedResiduals::deviation(size_t text) const {
  double sum = 0.0;
  for (const double value : by_text[text]) sum += value * value;
  return std::sqrt(sum / static_cast<double>(by_text[text].size()));
}

std::vector<SeedResiduals> seed_residuals(const GridResults& results) {
  const size_t T = texts_of(results).names.size();
  std::vector<SeedResiduals> all;
  for (const GridFamily& family : results.grid.families)
    all.push_back({.family = family.name, .by_text = std::vector<std::vector<double>>(T)});
  for (const MeanPoint& mean : mean_points(results)) {
    if (mean.seeds < kSeedsForResiduals) continue;
    const std::string& family = results.grid.models[results.grid.points[mean.point].model].family;
    const auto own = std::find_if(all.begin(), all.end(), [&](const SeedResiduals& of) { return of.family == family; });
    for (const FinishedRun* run : runs_of(results, mean.point)) {
      const std::vector<double> nll = nll_of(*run, results.texts);
      for (size_t t = 0; t < T; ++t) own->by_text[t].push_back(nll[t] - mean.nll[t]);
    }
  }
  return all;
}

Replicates make_replicates(const GridResults& results, const std::vector<MeanPoint>& points,
                           const std::vector<SeedResiduals>& residuals) {
  const size_t D = results.texts.size(), T = texts_of(results).names.size();
  Replicates replicates(T);
  for (size_t d = 0; d < D; ++d)
    replicates[d] = draw_documents(units_of(results, points, results.texts[d]), results.domains[d]);
  for (size_t t = D; t < T; ++t) replicates[t].assign(kReplicates, std::vector<double>(points.size()));
  for (size_t p = 0; p < points.size(); ++p) {
    const GridPoint& point = results.grid.points[points[p].point];
    const std::string& family = results.grid.models[point.model].family;
    const auto own =
        std::find_if(residuals.begin(), residuals.end(), [&](const SeedResiduals& of) { return of.family == family; });
    const uint64_t key = mix_key(kSeedsKey, xxh3(results.grid.name(point)));
    for (size_t r = 0; r < kReplicates; ++r) {
      std::vector<double> nll;
      for (size_t d = 0; d < D; ++d) nll.push_back(replicates[d][r][p]);
      add_means(nll, results.texts);
      const size_t draw = own->draws() > 0 ? Rng(key, r).below(own->draws()) : 0;
      for (size_t t = 0; t < T; ++t) replicates[t][r][p] = nll[t] + (own->draws() > 0 ? own->by_text[t][draw] : 0.0);
    }
  }
  return replicates;
}

}  // namespace troupe
