// The experts of a layer on several ranks: each rank holds some of them, gets the rows of all ranks for these, and sends
// back what they make. Memory grows with the rows that really come. On a device the host has copies of rows that travel.
#pragma once

#include "dist/row_exchange.h"
#include "nn/mlp.h"
#include "ops/route/part.h"
#include "ops/route/route.h"
#include "ops/transfer.h"
#include "tensor/arena.h"

namespace troupe {

// What a layer keeps of a pass for its way back.
template <class P>
struct RankedRows {
  using real = typename P::real;

  explicit RankedRows(Memory& memory) : rows_(memory), whole_arena_(memory) {}

  RowExchange exchange;
  Matrix<typename P::operand> xe_RD;  // received
  typename Mlp<P>::Activations mlp;
  // Where routing groups span ranks, all ranks route all tokens, each for itself, and take the rows of their own.
  Routing<real> whole;
  RoutedPart<real> part;

  void plan_rows(const MlpSpec& spec);  // after exchange.plan()
  void plan_whole(const MoeConfig& config, int64_t T);
  void poison() { rows_.poison(), whole_arena_.poison(); }

 private:
  Arena rows_, whole_arena_;
  int64_t room_ = 0, tokens_ = 0;
};

// What the two directions of an exchange are called in messages.
struct RowPlaces {
  const char *there, *back;
};

// What lives inside one block's passes: shared by all layers.
template <class P>
struct RankedScratch {
  using real = typename P::real;
  using operand = typename P::operand;

  explicit RankedScratch(Memory& memory) : rows_(memory), whole_arena_(memory) {}

  Matrix<real> ye_RD, dxe_RD;
  Matrix<operand> dye_RD, dhidden_RF;
  Matrix<real> logits_TE, dlogits_TE;  // of all ranks
  std::span<real> dweight_R;

  void plan_rows(const MlpSpec& spec, int64_t R);
  void plan_whole(const MoeConfig& config, int64_t T);
  void poison() { rows_.poison(), whole_arena_.poison(); }

  // RowExchange::there_and_back() of rows that lie where ops read them: `sent` to `received`, and what `work` makes of
  // these, `made`, to `returned`.
  void there_and_back(RowExchange& exchange, Matrix<const operand> sent, Matrix<operand> received, Matrix<real> made,
                      Matrix<real> returned, const RowPlaces& places, const RowExchange::Work& work);
  // Logits of own tokens, to logits_TE; `tokens` counts those of every rank.
  void gather_logits(Communicator& ranks, Matrix<const real> own_TE, std::span<const int64_t> tokens);

 private:
  Arena rows_, whole_arena_;
  int64_t room_ = 0, tokens_ = 0;
  Buffer<operand> sent_{staging_memory()}, received_{staging_memory()};
  Buffer<real> made_{staging_memory()}, returned_{staging_memory()};
};

}  // namespace troupe
