#include <hwloc.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "base/rank_place.h"

namespace troupe {
namespace {

struct Freed {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
  void operator()(hwloc_bitmap_s* bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Topology = std::unique_ptr<hwloc_topology, Freed>;
using Bitmap = std::unique_ptr<hwloc_bitmap_s, Freed>;

Topology loaded(const std::vector<int>& allowed, const char* synthetic) {
  hwloc_topology_t made = nullptr;
  if (hwloc_topology_init(&made) != 0) return nullptr;
  Topology topology(made);
  if (synthetic && hwloc_topology_set_synthetic(made, synthetic) != 0) return nullptr;
  if (hwloc_topology_load(made) != 0) return nullptr;
  if (synthetic) return topology;
  const Bitmap mask(hwloc_bitmap_alloc());
  for (const int cpu : allowed) hwloc_bitmap_set(mask.get(), static_cast<unsigned>(cpu));
  return hwloc_topology_restrict(made, mask.get(), 0) == 0 ? std::move(topology) : nullptr;
}

}  // namespace

bool has_hwloc() { return true; }

std::optional<RankPlace> place_of(const LocalRank& rank, const std::vector<int>& allowed, const char* synthetic) {
  const Topology topology = loaded(allowed, synthetic);
  if (!topology) return std::nullopt;
  const int all_nodes = hwloc_get_nbobjs_by_type(topology.get(), HWLOC_OBJ_NUMANODE);
  hwloc_obj_t root = hwloc_get_root_obj(topology.get());
  std::vector<hwloc_cpuset_t> shares(static_cast<size_t>(rank.ranks));
  if (all_nodes < 1 ||
      hwloc_distrib(topology.get(), &root, 1, shares.data(), static_cast<unsigned>(rank.ranks), INT_MAX, 0) != 0)
    return std::nullopt;
  std::vector<Bitmap> owned;
  for (hwloc_cpuset_t share : shares) owned.emplace_back(share);
  const hwloc_cpuset_t own = shares[static_cast<size_t>(rank.rank)];
  const Bitmap nodes(hwloc_bitmap_alloc()), cpus(hwloc_bitmap_alloc());
  hwloc_cpuset_to_nodeset(topology.get(), own, nodes.get());
  hwloc_cpuset_from_nodeset(topology.get(), cpus.get(), nodes.get());
  RankPlace place{.cpus = {},
                  .cores = std::max(1, hwloc_get_nbobjs_inside_cpuset_by_type(topology.get(), own, HWLOC_OBJ_CORE)),
                  .nodes = hwloc_bitmap_weight(nodes.get()),
                  .all_nodes = all_nodes};
  for (int cpu = hwloc_bitmap_first(cpus.get()); cpu >= 0; cpu = hwloc_bitmap_next(cpus.get(), cpu))
    place.cpus.push_back(cpu);
  if (place.cpus.empty()) return std::nullopt;
  return place;
}

}  // namespace troupe
