#include "nn/moe/ranked_experts.h"

#include "ops/route/policy.h"

namespace troupe {
namespace {

template <class LayOut>
void plan_twice(Arena& arena, const LayOut& lay_out) {
  arena.restart();
  lay_out();
  arena.commit();
  lay_out();
}

int64_t with_reserve(int64_t rows) { return rows + rows / 4 + 64; }  // so that steps rarely allocate

}  // namespace

template <class P>
void RankedRows<P>::plan_rows(const MlpSpec& spec) {
  if (exchange.num_received() <= room_) return;
  room_ = with_reserve(exchange.num_received());
  plan_twice(rows_, [&] {
    xe_RD = rows_.matrix<typename P::operand>("ranks.xe", room_, spec.d_model);
    mlp.plan(rows_, spec, room_);
  });
}

template <class P>
void RankedRows<P>::plan_whole(const MoeConfig& config, int64_t T) {
  if (T == tokens_) return;
  tokens_ = T;
  plan_twice(whole_arena_, [&] { whole.plan(whole_arena_, config, T); });
}

template <class P>
void RankedScratch<P>::plan_rows(const MlpSpec& spec, int64_t R) {
  if (R <= room_) return;
  room_ = with_reserve(R);
  plan_twice(rows_, [&] {
    ye_RD = rows_.matrix<real>("ranks.ye", room_, spec.d_model);
    dxe_RD = rows_.matrix<real>("ranks.dxe", room_, spec.d_model);
    dye_RD = rows_.matrix<operand>("ranks.dye", room_, spec.d_model);
    dhidden_RF = rows_.matrix<operand>("ranks.dhidden", room_, spec.work_width());
  });
}

template <class P>
void RankedScratch<P>::plan_whole(const MoeConfig& config, int64_t T) {
  if (T == tokens_) return;
  tokens_ = T;
  plan_twice(whole_arena_, [&] {
    logits_TE = whole_arena_.matrix<real>("ranks.logits", T, config.num_experts);
    dlogits_TE = whole_arena_.matrix<real>("ranks.dlogits", T, config.num_experts);
    dweight_R = whole_arena_.span<real>("ranks.dweight", router_policy(config).max_rows(config, T));
  });
}

#define TROUPE_INSTANTIATE(P)    \
  template struct RankedRows<P>; \
  template struct RankedScratch<P>;
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
