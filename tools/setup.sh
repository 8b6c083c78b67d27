# Sourced by quickstart.sh and test.sh: what the build needs, and the build. Only packages of the distribution are used.
#   root, or sudo                 apt-get installs the packages that are missing
#   neither, or --without-root    apt-get and dpkg-deb unpack them below build/packages, for this checkout alone
#   no Debian or relative of it   goes on with what is there; CMake says what is missing (docs/install.md)
# Sets `arguments` to the arguments without --without-root.
root=$PWD
arguments=()
without_root=
for argument in "$@"; do
  if [ "$argument" = --without-root ]; then without_root=1; else arguments+=("$argument"); fi
done
cmake_flags=()

fail() {
  echo "error: $*" >&2
  exit 4
}

# packages COLUMN NEED...: the packages of these needs in cmake/libraries.txt. Columns: debian fedora arch.
packages() {
  awk -v column="$1" -v needs=" ${*:2} " 'BEGIN { at["debian"] = 5; at["fedora"] = 6; at["arch"] = 7 }
    !/^#/ && NF && index(needs, " " $1 " ") { n = split($at[column], names, ","); for (i = 1; i <= n; ++i) if (!seen[names[i]]++) print names[i] }' \
    "$root/cmake/libraries.txt"
}

# Those of the named packages that are neither installed nor unpacked.
not_there() {
  local package
  for package in "$@"; do
    grep -qsx "$package" "$root/build/packages/unpacked" ||
      dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

can_be_root() {
  [ -z "$without_root" ] || return 1
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || return 1
  if [ -t 0 ]; then sudo -v; else sudo -n true 2>/dev/null; fi
}

# install_packages NEED...: the packages of these needs ("optional" may be lacking, the others must be had).
install_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    other_distribution "$@"
    return 0
  fi
  local needed optional
  mapfile -t needed < <(not_there $(packages debian "${@/optional/}"))
  mapfile -t optional < <(not_there $(packages debian optional))
  [[ " $* " = *" optional "* ]] || optional=()
  if [ $((${#needed[@]} + ${#optional[@]})) -eq 0 ]; then
    :
  elif can_be_root; then
    install_as_root
  else
    local why="neither root nor sudo"
    [ -z "$without_root" ] || why="--without-root"
    if [ ${#optional[@]} -gt 0 ]; then
      echo "Optional and not installed ($why): ${optional[*]} ($(uses "${optional[@]}"))"
    fi
    if [ ${#needed[@]} -gt 0 ]; then
      echo "Not installed ($why): ${needed[*]}"
      echo "An administrator would run: apt-get install --no-install-recommends ${needed[*]} ${optional[*]}"
      unpack_packages "${needed[@]}"
    fi
  fi
  if [ -e "$root/build/packages/unpacked" ]; then use_unpacked; fi
}

# What the named optional packages are for.
uses() {
  local package
  for package in "$@"; do
    awk -v package="$package" '!/^#/ && $5 == package { $1 = $2 = $3 = $4 = $5 = $6 = $7 = ""; sub(/^ */, ""); print package ": " $0 }' \
      "$root/cmake/libraries.txt"
  done | paste -sd ';' | sed 's/;/; /g'
}

# The first of apt's errors in a log.
apt_errors() {
  awk '/^E:/ && n++ < 5; END { exit n == 0 }' "$1" >&2 || cat "$1" >&2
  echo "(all of apt's messages: $1)" >&2
}

# Installs `needed` and as much of `optional` as there is.
install_as_root() {
  local as_root=(env) package available=() log=$root/build/apt.log
  [ "$(id -u)" -eq 0 ] || as_root=(sudo env)
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get update -qq || fail "apt-get update failed (is the network reachable?)"
  for package in "${optional[@]}"; do
    if apt-cache show "$package" >/dev/null 2>&1; then
      available+=("$package")
    else
      echo "Optional and not to be had: $(uses "$package")"
    fi
  done
  echo "Installing $((${#needed[@]} + ${#available[@]})) Debian packages: ${needed[*]} ${available[*]}"
  mkdir -p "$root/build"
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${needed[@]}" "${available[@]}" >"$log" 2>&1 || {
    apt_errors "$log"
    fail "apt-get could not install: ${needed[*]} ${available[*]} (is the network reachable? docs/install.md)"
  }
}

# Unpacks the named packages and what they depend on below build/packages, with package lists of its own. Nothing outside
# of build/ is written.
unpack_packages() {
  local folder=$root/build/packages archive link target candidate
  local tree=$folder/tree
  mkdir -p "$folder/lists/partial" "$folder/archives/partial" "$tree"
  cat >"$folder/apt.conf" <<END
Dir::State::Lists "$folder/lists";
Dir::Cache "$folder";
Dir::Log "$folder";
Debug::NoLocking "true";
APT::Sandbox::User "$(id -un)";
END
  echo "Unpacking them and what they depend on into $tree"
  if ! { APT_CONFIG=$folder/apt.conf apt-get update -qq && APT_CONFIG=$folder/apt.conf apt-get install --download-only \
    -y -qq --no-install-recommends "$@"; } >"$folder/apt.log" 2>&1; then
    apt_errors "$folder/apt.log"
    echo "apt-get could not download them: going on with what is there" >&2
    return 0
  fi
  for archive in "$folder"/archives/*.deb; do
    dpkg-deb -x "$archive" "$tree" || fail "$archive: dpkg-deb could not unpack it"
  done
  # Absolute links, and links to libraries that are installed.
  find "$tree" -xtype l | while read -r link; do
    target=$(basename "$(readlink "$link")")
    for candidate in "$tree"/usr/lib/*/"$target" "$tree"/lib/*/"$target" /usr/lib/*/"$target" /lib/*/"$target"; do
      if [ -e "$candidate" ]; then ln -sf "$candidate" "$link"; break; fi
    done
  done
  find "$tree" -name '*.pc' -exec sed -i "s|=/usr|=$tree/usr|" {} +
  find "$tree" -name libc.so -exec sed -i "s|/usr/lib/[^ ]*/libc_nonshared.a|libc_nonshared.a|" {} +
  rm -rf "$folder/archives"
  printf '%s\n' "$@" >>"$folder/unpacked"
}

# Makes compiler, CMake, pkg-config, apt-get (which `troupe corpus build` asks) and the programs look below build/packages.
# A shell does so with `. build/packages/environment`.
use_unpacked() {
  local folder=$root/build/packages
  local tree=$folder/tree multiarch libraries
  multiarch=$(cd "$tree/usr/lib" && printf '%s\n' *-linux-gnu* | head -1)
  libraries=$tree/usr/lib/$multiarch:$tree/lib/$multiarch
  cat >"$folder/environment" <<END
export APT_CONFIG="$folder/apt.conf"
export PATH="$tree/usr/bin:\$PATH"
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export PKG_CONFIG_PATH="$tree/usr/lib/$multiarch/pkgconfig:$tree/usr/share/pkgconfig\${PKG_CONFIG_PATH:+:\$PKG_CONFIG_PATH}"
export CMAKE_PREFIX_PATH="$tree/usr"
END
  . "$folder/environment"
  # After the headers of the C++ library, which include those of C "next".
  cmake_flags=(-DCMAKE_CXX_FLAGS="-idirafter $tree/usr/include -idirafter $tree/usr/include/$multiarch")
  [ -x "$tree/usr/bin/g++" ] && cmake_flags+=(-DCMAKE_CXX_COMPILER="$tree/usr/bin/g++")
  # Said, since a compiler from the tree takes these folders for the system's.
  cmake_flags+=(-DCMAKE_BUILD_RPATH="${libraries/:/;}")
  cmake_flags+=(-DTROUPE_BUNDLE=ON) # an installed program takes these libraries along
}

# Which command would install what is needed is known for some distributions.
other_distribution() {
  local like=" $(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") "
  echo "No apt-get here: nothing is installed, the build goes on with what is there (docs/install.md)"
  case $like in
    *" fedora "*) echo "An administrator would run: dnf install $(packages fedora "$@" | paste -sd ' ')" ;;
    *" arch "*) echo "An administrator would run: pacman -S --needed $(packages arch "$@" | paste -sd ' ')" ;;
  esac
}

# build PRESET TARGET...: configures and builds below build/PRESET, one job per core.
build() {
  local preset=$1 program version log
  shift
  for program in cmake ninja; do
    command -v "$program" >/dev/null || fail "$program: expected this program, got none in PATH (docs/install.md)"
  done
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/p')
  [ "$(printf '3.25\n%s\n' "$version" | sort -V | head -1)" = 3.25 ] ||
    fail "cmake: expected 3.25 or newer, got $version (pip install cmake has new ones; docs/install.md)"
  log=$(mktemp)
  cmake --preset "$preset" -Wno-dev "${cmake_flags[@]}" >"$log" 2>&1 || {
    cat "$log" >&2
    rm -f "$log"
    fail "the build could not be configured (CMake's message is above)"
  }
  rm -f "$log"
  cmake --build --preset "$preset" --parallel "$(nproc)" --target "$@" || fail "the build failed (messages are above)"
}
