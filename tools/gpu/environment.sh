# Sourced by check.sh and study.sh in the folder of the programs that pack.sh made: where libraries and MPI are.
export LD_LIBRARY_PATH="$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# Open MPI, if pack.sh had it; ranks may be more than cores, and root's.
if [ -d "$PWD/mpi" ]; then
  export PATH="$PWD/mpi/bin:$PATH" OPAL_PREFIX="$PWD/mpi" OPAL_BINDIR="$PWD/mpi/bin" OPAL_LIBDIR="$PWD/lib" \
    OPAL_PKGLIBDIR="$PWD/mpi/plugins" OPAL_PKGDATADIR="$PWD/mpi/share" OPAL_SYSCONFDIR="$PWD/mpi/etc" \
    PMIX_INSTALL_PREFIX="$PWD/mpi/pmix" PMIX_MCA_mca_base_component_path="$PWD/mpi/pmix/lib/pmix" \
    OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# cuBLASLt, cuDNN and the CUDA runtime that it needs from the packages of PyTorch, where there is no toolkit's.
if [ -z "${TROUPE_CUDA_LIBRARIES:-}" ]; then
  TROUPE_CUDA_LIBRARIES=$(python3 - <<'PYTHON'
import glob, site, sys
folders = site.getsitepackages() + [site.getusersitepackages()] + sys.path
print(':'.join(sorted({found.rsplit('/', 1)[0] for folder in folders if folder
                       for name in ('libcublasLt.so.1?', 'libcudnn.so.9', 'libcudart.so.1?')
                       for found in glob.glob(f'{folder}/nvidia/*/lib/{name}')})))
PYTHON
)
  export TROUPE_CUDA_LIBRARIES
fi
