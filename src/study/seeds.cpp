#include "study/seeds.h"

#include <cmath>

#include "eval/statistics.h"

namespace troupe {

double Spread::mean() const { return mean_of(values).value; }
double Spread::deviation() const {
  return mean_of(values).standard_error * std::sqrt(static_cast<double>(values.size()));
}
double Spread::half_interval() const {
  return half_interval95(mean_of(values).standard_error, static_cast<int64_t>(values.size()));
}
Verdict Spread::verdict() const { return verdict_of(mean(), half_interval()); }

std::vector<SeedResult> spread_over_seeds(const std::vector<std::vector<ModelResult>>& by_seed) {
  std::vector<SeedResult> results;
  for (size_t m = 0; m < by_seed.front().size(); ++m)
    for (const DomainResult& domain : by_seed.front()[m].domains) {
      SeedResult& result = results.emplace_back(SeedResult{.model = by_seed.front()[m].name,
                                                           .baseline = by_seed.front()[0].name,
                                                           .domain = domain,
                                                           .nll = {},
                                                           .difference = {}});
      for (const std::vector<ModelResult>& models : by_seed) {
        const DomainResult *own = models[m].find(domain), *baseline = models[0].find(domain);
        result.nll.values.push_back(own ? own->nll : kNan);
        if (m > 0) result.difference.values.push_back(own && baseline ? own->nll - baseline->nll : kNan);
      }
    }
  return results;
}

}  // namespace troupe
