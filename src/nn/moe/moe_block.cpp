#include "nn/moe/moe_block.h"

#include <algorithm>

#include "ops/elementwise.h"
#include "ops/moe_rows.h"
#include "ops/route/policy.h"

namespace troupe {
namespace {

constexpr uint64_t kHashStream = 0x68617368;  // a hash is the same in every run

template <class real>
RowOffsets row_offsets(const Routed<real>& rows) {
  if (rows.routed_there) return {rows.offsets_there.data(), [&rows] { return rows.offsets_here(); }};
  return rows.offsets;
}

}  // namespace

template <class P>
void MoeBlock<P>::Activations::plan(Arena& arena, const MoeSpec& spec, int64_t T) {
  const int64_t D = spec.mlp.d_model, R = router_policy(spec.routing).max_rows(spec.routing, T);
  sublayer.plan(arena, spec.sublayer, T);
  router_in_TD = arena.matrix<real>("moe.router_in", T, D);
  if (spec.routing.input_jitter > 0) jittered_TD = arena.matrix<real>("moe.jittered", T, D);
  routing.plan(arena, spec.routing, T);
  xe_RD = arena.matrix<operand>("moe.xe", R, D);
  mlp.plan(arena, spec.mlp, R);
  ye_RD = arena.matrix<real>("moe.ye", R, D);
  if (spec.shared.d_ff == 0) return;
  shared.plan(arena, spec.shared, T);
  shared_y_TD = arena.matrix<real>("moe.shared_y", T, D);
  if (spec.routing.shared_gate) shared_gate_T1 = arena.matrix<real>("moe.shared_gate", T, 1);
}

template <class P>
MoeBlock<P>::MoeBlock(const MoeSpec& spec, const MoeSlots& slots, const ParameterStore<real>& params)
    : spec_(spec),
      sublayer_(spec.sublayer, slots.norm, params),
      params_(&params),
      router_bias_(slots.router_bias),
      mlp_(spec.mlp, slots.mlp, params) {
  const int64_t E = spec.routing.num_experts, D = spec.mlp.d_model;
  if (spec.routing.has_router()) {
    if (in_operands())
      operand_router_ = Linear<P>(params, {.weight = slots.router, .bias = {}}, 1, E, D);
    else
      router_ = Linear<RouterPrecision>(params, {.weight = slots.router, .bias = {}}, 1, E, D);
  }
  if (has_shared()) shared_ = Mlp<P>(spec.shared, slots.shared, params);
  if (has_shared_gate())
    shared_gate_ = Linear<RouterPrecision>(params, {.weight = slots.shared_gate, .bias = {}}, 1, 1, spec.mlp.d_model);
}

int64_t routing_group_tokens(const MoeConfig& config, const SequenceShape& shape) {
  return config.group_sequences > 0 ? config.group_sequences * shape.S : shape.tokens();
}

template <class P>
RouteRequest MoeBlock<P>::route_request(const Pass<P>& pass) const {
  return {.config = spec_.routing,
          .groups = {routing_group_tokens(spec_.routing, pass.shape), pass.shape.token_valid},
          .capacity = pass.mode.capacity,
          .training = pass.mode.training,
          .key = pass.mode.site_key(spec_.layer, RunMode::kSecondChoice),
          .first_token = pass.mode.first_token,
          .ids_T = pass.ids_T,
          .hash_key = mix_key(kHashStream, static_cast<uint64_t>(spec_.layer)),
          .before = routed_before(pass.mode)};
}

template <class P>
RoutedBefore MoeBlock<P>::routed_before(const RunMode& mode) const {
  if (spec_.routing.balance_over == BalanceOver::kUpdate)
    for (const RouterStats& stats : mode.routed_before)
      if (stats.layer == spec_.layer) return {stats.load_E, stats.tokens};
  return {};
}

template <class P>
Jitter<typename P::real> MoeBlock<P>::jitter(const RunMode& mode, Matrix<real> x_TD) const {
  return {.amount = spec_.routing.input_jitter,
          .key = mode.site_key(spec_.layer, RunMode::kRouterInput),
          .first_row = mode.first_token,
          .x_TD = x_TD};
}

template <class P>
Matrix<typename P::real> MoeBlock<P>::router_logits(const Pass<P>& pass, Activations& acts) const {
  const Matrix<real> logits_TE = pass.scratch.logits_TE;
  if (!spec_.routing.has_router()) return logits_TE;
  if (in_operands()) {
    operand_router_.forward(acts.sublayer.norm.y_TD, {}, {.out_real = logits_TE});
    return logits_TE;
  }
  if (jitters(pass.mode)) {
    run(Copy<real>{acts.router_in_TD, acts.jittered_TD});
    run(jitter(pass.mode, acts.jittered_TD));
  }
  router_.forward(jitters(pass.mode) ? acts.jittered_TD : acts.router_in_TD, {}, {.out_real = logits_TE});
  return logits_TE;
}

template <class P>
void MoeBlock<P>::router_backward(const Pass<P>& pass, const Activations& acts, ParameterStore<real>& grads) const {
  const Matrix<real> dlogits_TE = pass.scratch.logits_TE, dnorm_TD = pass.scratch.dnorm_TD;
  if (!spec_.routing.has_router()) return run(Fill<real>{.x = dnorm_TD});
  route_tokens_backward(pass, acts, dlogits_TE);
  if (in_operands()) {
    const Matrix<operand> dlogits = pass.scratch.dlogits_TE;
    run(DropoutBackward<P>{.dx = dlogits_TE, .dropout = {}, .dy = dlogits});  // only rounds
    operand_router_.backward_weight(dlogits, acts.sublayer.norm.y_TD, {}, grads);
    operand_router_.backward_input(dlogits, {}, {.out_real = dnorm_TD});
    return;
  }
  router_.backward_weight(dlogits_TE, jitters(pass.mode) ? acts.jittered_TD : acts.router_in_TD, {}, grads);
  router_.backward_input(dlogits_TE, {}, {.out_real = dnorm_TD});
  if (jitters(pass.mode)) run(jitter(pass.mode, dnorm_TD));
}

template <class P>
Dropout MoeBlock<P>::out_dropout(const RunMode& mode, const Routed<real>& rows) const {
  const double own = spec_.routing.expert_dropout, probability = own < 0.0 ? spec_.sublayer.dropout : own;
  return mode.dropout(probability, spec_.layer, RunMode::kFfnOut, mode.first_token * rows.num_choices,
                      static_cast<float>(spec_.sublayer.multiplier));
}

template <class P>
bool MoeBlock<P>::routes_whole(const Pass<P>& pass) const {
  return spec_.ranks && pass.shape.whole.B > 0 && spec_.routing.group_sequences == 0;
}

template <class P>
RouteRequest MoeBlock<P>::whole_request(const Pass<P>& pass) const {
  const SequenceShape& own = pass.shape;
  const SequenceShape shape{own.whole.B, own.S, own.whole.token_valid};
  RouteRequest request = route_request(pass);
  request.groups = {routing_group_tokens(spec_.routing, shape), shape.token_valid};
  request.first_token -= own.whole.before * own.S;
  request.ids_T = own.whole.ids_T;
  return request;
}

template <class P>
RouterStats MoeBlock<P>::route_tokens(const Pass<P>& pass, Matrix<const real> logits_TE, Activations& acts) const {
  if (spec_.ranks && !acts.ranked) acts.ranked = std::make_shared<RankedRows<P>>(params_->memory());
  if (spec_.ranks && !pass.scratch.ranked) pass.scratch.ranked = std::make_shared<RankedScratch<P>>(params_->memory());
  if (!routes_whole(pass)) return route<real>(route_request(pass), logits_TE, acts.routing, params_->at(router_bias_));
  const SequenceShape& own = pass.shape;
  RankedScratch<P>& scratch = *pass.scratch.ranked;
  RankedRows<P>& keep = *acts.ranked;
  keep.plan_whole(spec_.routing, own.whole.B * own.S);
  scratch.plan_whole(spec_.routing, own.whole.B * own.S);
  std::vector<int64_t> tokens;
  for (int r = 0; r < spec_.ranks->size(); ++r)
    tokens.push_back(share_of(own.whole.B, r, spec_.ranks->size()).size() * own.S);
  if (spec_.routing.has_router())
    scratch.gather_logits(*spec_.ranks, logits_TE, tokens);
  RouterStats stats = route<real>(whole_request(pass), scratch.logits_TE, keep.whole, params_->at(router_bias_));
  const int64_t first = own.whole.before * own.S;
  keep.part.take(keep.whole.rows, first, first + own.tokens(), acts.routing.rows);
  return stats;
}

template <class P>
void MoeBlock<P>::route_tokens_backward(const Pass<P>& pass, const Activations& acts, Matrix<real> dlogits_TE) const {
  if (!routes_whole(pass))
    return route_backward<real>(route_request(pass), acts.routing, pass.scratch.dweight_R, pass.loss_scale, dlogits_TE);
  RankedScratch<P>& scratch = *pass.scratch.ranked;
  const RankedRows<P>& keep = *acts.ranked;
  keep.part.spread(acts.routing.rows, pass.scratch.dweight_R, scratch.dweight_R);
  route_backward<real>(whole_request(pass), keep.whole, scratch.dweight_R, pass.loss_scale, scratch.dlogits_TE);
  const int64_t first = pass.shape.whole.before * pass.shape.S;
  run(Copy<real>{scratch.dlogits_TE.rows_from(first, pass.shape.tokens()), dlogits_TE});
}

// As many as are worth it, of whole experts; from what all ranks know.
template <class P>
int64_t MoeBlock<P>::num_chunks(const Pass<P>& pass) const {
  constexpr int64_t kMost = 4;
  const SequenceShape& own = pass.shape;
  const int64_t N = spec_.ranks->size(), tokens = own.whole.B > 0 ? own.whole.B * own.S : own.tokens() * N;
  const int64_t bytes = tokens * spec_.routing.top_k / N * spec_.mlp.d_model * static_cast<int64_t>(sizeof(operand));
  const int64_t experts = (spec_.routing.num_experts + N - 1) / N;
  return std::clamp<int64_t>(std::min(bytes / spec_.ranks->message_sizes().chunk_bytes, experts), 1, kMost);
}

template <class P>
void MoeBlock<P>::run_experts(const Pass<P>& pass, Matrix<const operand> xe_RD, Activations& acts,
                              Matrix<real> ye_RD) const {
  const RowOffsets offsets = row_offsets(acts.routing.rows);
  if (!spec_.ranks) return mlp_.forward(xe_RD, offsets, pass.mode, acts.mlp, {.out_real = ye_RD});
  RankedRows<P>& keep = *acts.ranked;
  RankedScratch<P>& scratch = *pass.scratch.ranked;
  keep.exchange.plan(*spec_.ranks, offsets.here(), num_chunks(pass));
  keep.plan_rows(spec_.mlp);
  scratch.plan_rows(spec_.mlp, keep.exchange.num_received());
  scratch.there_and_back(
      keep.exchange, xe_RD, keep.xe_RD, scratch.ye_RD, ye_RD, {"rows to experts", "rows of experts"},
      [&](Share rows, std::span<const int64_t> of_chunk) {
        const auto part = [&](const auto& matrix) { return matrix.rows_from(rows.begin, rows.size()); };
        auto mlp = keep.mlp.rows_from(rows.begin, rows.size());
        mlp_.forward(part(keep.xe_RD), of_chunk, pass.mode, mlp, {.out_real = part(scratch.ye_RD)});
      });
}

template <class P>
void MoeBlock<P>::run_experts_backward(const Pass<P>& pass, Matrix<const operand> dye_RD, const Activations& acts,
                                       Matrix<real> dxe_RD, ParameterStore<real>& grads) const {
  const int64_t own_rows = dye_RD.rows;
  if (!spec_.ranks)
    return mlp_.backward(dye_RD, acts.xe_RD.rows_from(0, own_rows), row_offsets(acts.routing.rows), pass.mode,
                         acts.mlp, pass.scratch.dhidden_RF.rows_from(0, own_rows), dxe_RD, grads);
  RankedRows<P>& keep = *acts.ranked;
  RankedScratch<P>& scratch = *pass.scratch.ranked;
  scratch.there_and_back(
      keep.exchange, dye_RD, scratch.dye_RD, scratch.dxe_RD, dxe_RD, {"gradients to experts", "gradients of experts"},
      [&](Share rows, std::span<const int64_t> of_chunk) {
        const auto part = [&](const auto& matrix) { return matrix.rows_from(rows.begin, rows.size()); };
        mlp_.backward(part(scratch.dye_RD), part(keep.xe_RD), of_chunk, pass.mode,
                      keep.mlp.rows_from(rows.begin, rows.size()), part(scratch.dhidden_RF), part(scratch.dxe_RD),
                      grads);
      });
}

template <class P>
void MoeBlock<P>::forward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> residual_TD,
                          Activations& acts, Matrix<real> out_TD) const {
  sublayer_.input(x_TD, acts.sublayer, acts.router_in_TD);
  RouterStats stats = route_tokens(pass, router_logits(pass, acts), acts);
  stats.layer = spec_.layer;

  const Routed<real>& rows = acts.routing.rows;
  const int64_t R = rows.num_rows();
  const Matrix<operand> xe = acts.xe_RD.rows_from(0, R);
  run(GatherRows<P>{.x_TD = acts.sublayer.norm.y_TD, .rows = rows, .xe_RD = xe});
  run_experts(pass, xe, acts, acts.ye_RD.rows_from(0, R));
  const ForwardEpilogue<P> out = sublayer_.output(acts.sublayer, residual_TD, out_dropout(pass.mode, rows), out_TD);
  run(CombineRows<P>{.residual_TD = out.residual,
                     .ye_RD = acts.ye_RD,
                     .rows = rows,
                     .dropout = out.dropout,
                     .out_TD = out.out_real});
  if (has_shared()) add_shared(pass, acts, out.out_real);
  sublayer_.finish(pass, acts.sublayer, residual_TD, out_TD);
  if (pass.reports) pass.reports->push_back(std::move(stats));
}

template <class P>
void MoeBlock<P>::backward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> dout_TD,
                           const Activations& acts, Matrix<real> dx_TD, ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  const Routed<real>& rows = acts.routing.rows;
  const int64_t R = rows.num_rows();
  const Matrix<operand> dye = scratch.dye_RD.rows_from(0, R);
  const Matrix<real> dxe = scratch.dxe_RD.rows_from(0, R);
  const Matrix<const real> dy_TD = sublayer_.output_gradient(pass, acts.sublayer, dout_TD, grads);
  run(CombineRowsBackward<P>{.dout_TD = dy_TD,
                             .ye_RD = acts.ye_RD,
                             .rows = rows,
                             .dropout = out_dropout(pass.mode, rows),
                             .dye_RD = dye,
                             .dweight_R = scratch.dweight_R});
  run_experts_backward(pass, dye, acts, dxe, grads);
  router_backward(pass, acts, grads);
  run(GatherRowsBackward<P>{.dxe_RD = dxe, .rows = rows, .dx_TD = scratch.dnorm_TD});
  if (has_shared()) shared_backward(pass, acts, dy_TD, grads);
  sublayer_.add_input_gradient(pass, x_TD, acts.sublayer, dx_TD, grads);
}

template <class P>
Dropout MoeBlock<P>::shared_dropout(const RunMode& mode) const {
  return sublayer_.dropout(mode, spec_.layer, RunMode::kSharedOut, mode.first_token);
}

template <class P>
void MoeBlock<P>::add_shared(const Pass<P>& pass, Activations& acts, Matrix<real> out_TD) const {
  shared_.forward(acts.sublayer.norm.y_TD, {}, pass.mode, acts.shared, {.out_real = acts.shared_y_TD});
  if (has_shared_gate()) shared_gate_.forward(acts.router_in_TD, {}, {.out_real = acts.shared_gate_T1});
  run(SharedRows<P>{.y_TD = acts.shared_y_TD,
                    .gate_T1 = acts.shared_gate_T1,
                    .dropout = shared_dropout(pass.mode),
                    .out_TD = out_TD});
}

template <class P>
void MoeBlock<P>::shared_backward(const Pass<P>& pass, const Activations& acts, Matrix<const real> dout_TD,
                                  ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  const Matrix<real> dx_TD = scratch.dshared_TD, dnorm_TD = scratch.dnorm_TD;
  run(SharedRowsBackward<P>{.dout_TD = dout_TD,
                            .y_TD = acts.shared_y_TD,
                            .gate_T1 = acts.shared_gate_T1,
                            .dropout = shared_dropout(pass.mode),
                            .dy_TD = scratch.dy_TD,
                            .dgate_T1 = has_shared_gate() ? scratch.dgate_T1 : Matrix<real>()});
  shared_.backward(scratch.dy_TD, acts.sublayer.norm.y_TD, {}, pass.mode, acts.shared, scratch.dhidden_shared_TF, dx_TD,
                   grads);
  run(Add<real>{dnorm_TD, dx_TD, dnorm_TD});
  if (!has_shared_gate()) return;
  shared_gate_.backward_weight(scratch.dgate_T1, acts.router_in_TD, {}, grads);
  shared_gate_.backward_input(scratch.dgate_T1, {}, {.out_real = dx_TD});
  run(Add<real>{dnorm_TD, dx_TD, dnorm_TD});
}

template class MoeBlock<F64>;
template class MoeBlock<F32>;
template class MoeBlock<Bf16>;

}  // namespace troupe
