// Muon on the device: the iteration of ops/muon_batch.h, its passes as kernels.
#include "kernels/cuda/muon.h"

#include "ops/cuda/row.h"
#include "ops/muon_batch.h"

namespace troupe {
namespace {

struct DeviceMuonPasses {
  static constexpr Device kDevice = Device::kCuda;

  template <class P>
  void momentum(const MuonUpdate<P>& task, MuonWorkspace<P>& w) const {
    const cuda::MuonPieces pieces{task.count, task.rows * task.cols, kMuonPiece};
    cuda::launch(cuda::MuonMomentumKernel{pieces, static_cast<float>(task.step.momentum),
                                          static_cast<float>((1.0 - task.step.momentum) * task.grad_scale),
                                          task.step.nesterov, task.g.data(), task.m.data(), w.x.data(),
                                          w.squares.data()});
    cuda::launch(cuda::MuonNormKernel{pieces, w.squares.data(), w.x.data()});
  }
  void blend(float alpha, const float* x, float beta, const float* z, int64_t size, float* y) const {
    cuda::launch(cuda::BlendKernel{alpha, x, beta, z, size, y});
  }
  void round(float* values, int64_t size, bf16* room) const {
    cuda::launch(cuda::RoundInPlaceKernel{values, room, size});
  }
};

}  // namespace

template <class P>
void on_cuda(const MuonUpdate<P>& task, Context& context) {
  MuonBatch<P, DeviceMuonPasses>(task, *task.workspace, context).run();
}

template void on_cuda(const MuonUpdate<F32>&, Context&);
template void on_cuda(const MuonUpdate<Bf16>&, Context&);

}  // namespace troupe
