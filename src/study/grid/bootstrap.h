// Replicates of a grid's losses: what they would be with other documents and other seeds. Keyed: a replicate is a
// function of its number and of names alone.
//   Documents of a domain are drawn with replacement, as many as there are, the same for all points.
//   To each point's nll a deviation of seeds is added, drawn from the residuals of its family: what the seeds of points
//   with three or more differ from their mean by. One draw decides for all domains of a point.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "study/grid/grid_tables.h"

namespace troupe {

inline constexpr int64_t kReplicates = 2000, kSeedsForResiduals = 3;

// One point of the grid with what its seeds have in common.
struct MeanPoint {
  size_t point = 0;         // into Grid::points
  std::string run;          // its first finished one
  int64_t seeds = 0;        // that did not diverge
  std::vector<double> nll;  // by text: domains in the order of GridResults, then mean_in, then mean_out if there is one
};

struct TextNames {
  std::vector<std::string> names;
  std::vector<bool> held_out;
};
TextNames texts_of(const GridResults& results);

// Seeds averaged; points of which every run diverged, or none is finished, are left out.
std::vector<MeanPoint> mean_points(const GridResults& results);

// Of one family: as many for every text, in the order of points and seeds.
struct SeedResiduals {
  std::string family;
  std::vector<std::vector<double>> by_text;  // [text][draw]; no draws without a point of enough seeds

  size_t draws() const { return by_text.empty() ? 0 : by_text.front().size(); }
  double deviation(size_t text) const;  // their root mean square
};
std::vector<SeedResiduals> seed_residuals(const GridResults& results);

// [text][replicate][point of `points`]. Throws kData if runs were scored on different documents.
using Replicates = std::vector<std::vector<std::vector<double>>>;
Replicates make_replicates(const GridResults& results, const std::vector<MeanPoint>& points,
                           const std::vector<SeedResiduals>& residuals);

}  // namespace troupe
