# Sourced by quickstart.sh and test.sh: installs Debian packages that are missing, and builds.
# Only Debian's own packages are used; nothing else is downloaded.

# Installs those of the named packages that are not installed yet. Needs root or sudo only if some are missing.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "error: need root or sudo to install: ${missing[*]}" >&2; exit 4; }
    as_root=(sudo)
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null
}

build_packages=(g++ cmake ninja-build pkg-config libdnnl-dev libpcre2-dev nlohmann-json3-dev libsimdjson-dev
  libtomlplusplus-dev libcli11-dev libfmt-dev libspdlog-dev libzstd-dev libxxhash-dev zlib1g-dev libxml2-dev
  libssl-dev libminizip-dev libboost-dev libarchive-dev)
run_packages=(gnuplot-nox apt)
test_packages=(libgtest-dev libgmock-dev zstd python3)

# build PRESET TARGET...: configures and builds below build/PRESET, one job per core.
build() {
  local preset=$1
  shift
  cmake --preset "$preset" -Wno-dev >build-"$preset".log 2>&1 || { cat build-"$preset".log; rm -f build-"$preset".log; exit 1; }
  rm -f build-"$preset".log
  cmake --build --preset "$preset" --parallel "$(nproc)" --target "$@"
}
