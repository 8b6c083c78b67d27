#include "kernels/table.h"

#include "base/error.h"

namespace troupe {

namespace isa_generic {
extern const KernelTable table;
}
#ifdef TROUPE_X86_KERNELS
namespace isa_avx2 {
extern const KernelTable table;
}
namespace isa_avx512 {
extern const KernelTable table;
}
namespace isa_avx512bf16 {
extern const KernelTable table;
}
namespace isa_amx {
extern const KernelTable table;
}
#endif

const KernelTable& kernels(Isa isa) {
  if (isa > detected_isa()) fail(ErrorCode::kInternal, "kernels: this machine lacks {}", name_of_enum(isa));
  switch (isa) {
#ifdef TROUPE_X86_KERNELS
    case Isa::kAvx2:
      return isa_avx2::table;
    case Isa::kAvx512:
      return isa_avx512::table;
    case Isa::kAvx512Bf16:
      return isa_avx512bf16::table;
    case Isa::kAmx:
      return isa_amx::table;
#endif
    default:
      return isa_generic::table;
  }
}

const KernelTable& kernels() {
  static const KernelTable& active = kernels(active_isa());
  return active;
}

}  // namespace troupe
