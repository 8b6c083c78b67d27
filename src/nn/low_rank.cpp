#include "nn/low_rank.h"

namespace troupe {
template <class P>
void add_low_rank_gradients(const LowRank<typename P::real>& adapters, int64_t num_maps,
                            Matrix<const typename P::operand> dy, Matrix<const typename P::operand> x,
                            RowOffsets offsets) {
  using operand = typename P::operand;
  const int64_t R = x.rows, N = adapters.rows, r = adapters.rank, stacked = adapters.stacked, width = stacked * r;
  adapters.room->reserve(2 * R * width * static_cast<int64_t>(sizeof(operand)));
  auto* const room = reinterpret_cast<operand*>(adapters.room->data());
  const Matrix<operand> u(room, R, width), du(room + R * width, R, width);
  const LinearBank<P> a(num_maps, width, x.cols, adapters.a, nullptr);
  run(LinearForward<P>{a, x, offsets, {.out_operand = u}});
  for (int64_t i = 0; i < stacked; ++i) {
    const Matrix<const operand> dy_RN = dy.columns_from(adapters.first_row + i * N, N);
    const Matrix<const operand> u_Rr = u.columns_from(i * r, r);
    const LinearBank<P> b(num_maps, N, r, adapters.b + i * num_maps * N * r, nullptr);
    run(LinearBackwardInput<P>{b, dy_RN, offsets, {.out_operand = du.columns_from(i * r, r)}});
    if (stacked == 1 || num_maps == 1) {
      run(LinearBackwardWeight<P>{b, dy_RN, u_Rr, offsets, adapters.db + i * N * r, nullptr});
      continue;
    }
    const LinearBank<P> one(1, N, r, nullptr, nullptr);  // those of the maps do not lie back to back
    const std::span<const int64_t> here = offsets.here();
    for (int64_t map = 0; map < num_maps; ++map) {
      const int64_t first = here[static_cast<size_t>(map)], rows = here[static_cast<size_t>(map) + 1] - first;
      typename P::real* const db = adapters.db + (map * stacked + i) * N * r;
      if (rows > 0)
        run(LinearBackwardWeight<P>{one, dy_RN.rows_from(first, rows), u_Rr.rows_from(first, rows), {}, db, nullptr});
    }
  }
  run(LinearBackwardWeight<P>{a, du, x, offsets, adapters.da, nullptr});
}

template void add_low_rank_gradients<F64>(const LowRank<double>&, int64_t, Matrix<const double>, Matrix<const double>,
                                          RowOffsets);
template void add_low_rank_gradients<F32>(const LowRank<float>&, int64_t, Matrix<const float>, Matrix<const float>,
                                          RowOffsets);
template void add_low_rank_gradients<Bf16>(const LowRank<float>&, int64_t, Matrix<const bf16>, Matrix<const bf16>,
                                           RowOffsets);

}  // namespace troupe
