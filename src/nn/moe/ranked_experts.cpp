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

namespace {

// All of a matrix whose rows lie back to back.
template <class T>
std::span<T> values_of(Matrix<T> matrix) {
  return {matrix.data, static_cast<size_t>(matrix.rows * matrix.cols)};
}

}  // namespace

template <class P>
void RankedScratch<P>::there_and_back(RowExchange& exchange, Matrix<const operand> sent, Matrix<operand> received,
                                      Matrix<real> made, Matrix<real> returned, const RowPlaces& places,
                                      const RowExchange::Work& work) {
  const int64_t D = sent.cols;  // where nothing is received `received` and `made` may be none
  const int64_t there_bytes = D * static_cast<int64_t>(sizeof(operand)),
                back_bytes = D * static_cast<int64_t>(sizeof(real));
  if (active_device() == Device::kCpu)
    return exchange.there_and_back({sent.data, received.data, there_bytes, places.there},
                                   {made.data, returned.data, back_bytes, places.back}, work);
  received_.reserve(exchange.num_received() * D), made_.reserve(exchange.num_received() * D);
  returned_.reserve(returned.rows * D);
  const auto of_rows = [D](Share rows, auto& buffer) {
    return buffer.span().subspan(static_cast<size_t>(rows.begin * D), static_cast<size_t>(rows.size() * D));
  };
  const auto on_device = [&](Share rows, std::span<const int64_t> offsets) {
    copy<operand>(of_rows(rows, received_), values_of(received.rows_from(rows.begin, rows.size())));
    work(rows, offsets);
    copy<real>(values_of(made.rows_from(rows.begin, rows.size())), of_rows(rows, made_));
  };
  exchange.there_and_back({to_host<operand>(values_of(sent), sent_).data(), received_.data(), there_bytes, places.there},
                          {made_.data(), returned_.data(), back_bytes, places.back}, on_device);
  copy<real>(of_rows({0, returned.rows}, returned_), values_of(returned));
}

template <class P>
void RankedScratch<P>::gather_logits(Communicator& ranks, Matrix<const real> own_TE, std::span<const int64_t> tokens) {
  const std::span<const real> own = to_host<real>(values_of(own_TE), made_);
  from_host<real>(values_of(logits_TE), [&](std::span<real> all) {
    ranks.gather(own.data(), all.data(), tokens, own_TE.cols * static_cast<int64_t>(sizeof(real)), "router logits");
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
