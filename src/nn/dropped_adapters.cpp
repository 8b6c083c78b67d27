#include "nn/dropped_adapters.h"

#include "base/error.h"
#include "base/rng.h"
#include "ops/elementwise.h"

namespace troupe {
namespace {

template <class real>
Dropout dropout_of(const DroppedAdapter<real>& adapter, const RunMode& mode, double multiplier) {
  return {static_cast<float>(adapter.probability), mix_key(mode.key, adapter.key), mode.first_token,
          static_cast<float>(multiplier)};
}

}  // namespace

template <class P>
typename DroppedAdapters<P>::Room DroppedAdapters<P>::room_for(int64_t rows, int64_t rank, int64_t sums) const {
  const int64_t K = map_.in();
  const auto bytes = [](int64_t elements, size_t size) {  // whole cache lines
    return (elements * static_cast<int64_t>(size) + 63) / 64 * 64;
  };
  const int64_t of_sums = bytes(rows * sums, sizeof(real)), of_dropped = bytes(rows * K, sizeof(operand)),
                of_u = bytes(rows * rank, sizeof(operand));
  Buffer<std::byte>& room = *adapters_.front().room;
  room.reserve(of_sums + of_dropped + 2 * of_u);
  std::byte* const at = room.data();
  const auto operands = [&](int64_t offset, int64_t cols) {
    return Matrix<operand>(reinterpret_cast<operand*>(at + offset), rows, cols);
  };
  return {operands(of_sums, K), operands(of_sums + of_dropped, rank), operands(of_sums + of_dropped + of_u, rank),
          Matrix<real>(reinterpret_cast<real*>(at), rows, sums)};
}

template <class P>
void DroppedAdapters<P>::multiply_dropped(const DroppedAdapter<real>& adapter, Matrix<const operand> x,
                                          const RunMode& mode, const Room& room) const {
  run(DropRows<P>{x, dropout_of(adapter, mode, adapter.scale), room.dropped});
  const LinearBank<P> a(1, adapter.rank, map_.in(), adapter.a, nullptr);
  run(LinearForward<P>{a, room.dropped, {}, {.out_operand = room.u}});
}

template <class P>
void DroppedAdapters<P>::turn_back(const DroppedAdapter<real>& adapter, Matrix<const operand> dy,
                                   const Room& room) const {
  const LinearBank<P> b(1, adapter.rows, adapter.rank, adapter.b, nullptr);
  run(LinearBackwardInput<P>{b, dy.columns_from(adapter.first_row, adapter.rows), {}, {.out_operand = room.du}});
}

template <class P>
void DroppedAdapters<P>::forward(Matrix<const operand> x, const RunMode& mode,
                                 const ForwardEpilogue<P>& epilogue) const {
  const Room room = room_for(x.rows, adapters_.front().rank, map_.out());
  run(LinearForward<P>{map_, x, {}, {.out_real = room.sums}});
  for (const DroppedAdapter<real>& adapter : adapters_) {
    multiply_dropped(adapter, x, mode, room);
    const LinearBank<P> b(1, adapter.rows, adapter.rank, adapter.b, nullptr);
    const Matrix<real> sums = room.sums.columns_from(adapter.first_row, adapter.rows);
    run(LinearForward<P>{b, room.u, {}, {.out_real = sums, .residual = sums}});
  }
  run(StoreForward<P>{room.sums, epilogue});
}

template <class P>
void DroppedAdapters<P>::backward_input(Matrix<const operand> dy, const RunMode& mode,
                                        const BackwardEpilogue<P>& epilogue) const {
  TROUPE_ASSERT(mode.training);
  const bool is_sum = epilogue.out_real && epilogue.activation == Activation::kNone;
  const Room room = room_for(dy.rows, adapters_.front().rank, is_sum ? 0 : map_.in());
  const Matrix<real> sums = is_sum ? epilogue.out_real : room.sums;
  run(LinearBackwardInput<P>{map_, dy, {}, {.out_real = sums}});
  for (const DroppedAdapter<real>& adapter : adapters_) {
    turn_back(adapter, dy, room);
    const LinearBank<P> a(1, map_.in(), adapter.rank, adapter.a_turned, nullptr);
    run(LinearForward<P>{
        a, room.du, {}, {.out_real = sums, .residual = sums, .dropout = dropout_of(adapter, mode, 1.0)}});
  }
  if (!is_sum) run(StoreBackwardInput<P>{sums, epilogue});
}

template <class P>
void DroppedAdapters<P>::add_gradients(Matrix<const operand> dy, Matrix<const operand> x, const RunMode& mode) const {
  TROUPE_ASSERT(mode.training);
  const Room room = room_for(x.rows, adapters_.front().rank, 0);
  for (const DroppedAdapter<real>& adapter : adapters_) {
    multiply_dropped(adapter, x, mode, room);
    turn_back(adapter, dy, room);
    const LinearBank<P> a(1, adapter.rank, map_.in(), nullptr, nullptr);
    const LinearBank<P> b(1, adapter.rows, adapter.rank, nullptr, nullptr);
    run(LinearBackwardWeight<P>{a, room.du, room.dropped, {}, adapter.da, nullptr});
    run(LinearBackwardWeight<P>{b, dy.columns_from(adapter.first_row, adapter.rows), room.u, {}, adapter.db, nullptr});
  }
}

template class DroppedAdapters<F64>;
template class DroppedAdapters<F32>;
template class DroppedAdapters<Bf16>;

}  // namespace troupe
