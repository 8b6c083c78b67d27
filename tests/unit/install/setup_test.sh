#!/usr/bin/env bash
# tools/setup.sh with programs that only say what they were asked, and cmake/libraries.cmake with libraries that are not.
#   setup_test.sh SOURCE_FOLDER CMAKE
set -euo pipefail
source=$1 cmake=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failures=0
# expect STATUS PATTERN... -- COMMAND...: COMMAND ends with STATUS and its output has every PATTERN (extended expressions).
expect() {
  local status=$1 got=0 pattern patterns=()
  shift
  while [ "$1" != -- ]; do patterns+=("$1"); shift; done
  shift
  "$@" >"$work/output" 2>&1 || got=$?
  [ "$got" -eq "$status" ] || { echo "expected status $status, got $got: $*"; cat "$work/output"; failures=$((failures + 1)); return; }
  for pattern in "${patterns[@]}"; do
    grep -Eq -- "$pattern" "$work/output" || { echo "expected '$pattern' of: $*"; cat "$work/output"; failures=$((failures + 1)); }
  done
}
program() { printf '#!/bin/bash\n%s\n' "$2" >"$work/bin/$1"; chmod +x "$work/bin/$1"; }

# A checkout and a PATH of the shell's own tools, one that has neither apt-get nor cmake.
mkdir -p "$work/bin" "$work/checkout/cmake"
cp "$source/cmake/libraries.txt" "$work/checkout/cmake"
for tool in awk bash basename cat chmod dirname env find grep head id ln mkdir mktemp nproc paste readlink rm sed sort tail; do
  ln -s "$(command -v $tool)" "$work/bin/$tool"
done
setup() { (cd "$work/checkout" && PATH=$work/bin bash -euo pipefail -c ". '$source/tools/setup.sh'"' "${@:2}"; eval "$1"' - "$@" </dev/null); }

expect 0 'No apt-get here' -- setup 'install_packages build optional'
expect 4 'error: cmake: expected this program' -- setup 'build release troupe'
program ninja ''
program cmake 'echo "cmake version 3.22.1"'
expect 4 'error: cmake: expected 3.25 or newer, got 3.22' -- setup 'build release troupe'
program cmake '[ "$1" = --version ] && { echo "cmake version 3.31.0"; exit; }; echo "CMake Error: fmt"; exit 1'
expect 4 'CMake Error: fmt' 'error: the build could not be configured' -- setup 'build release troupe'
expect 0 '^-x -y$' -- setup 'echo "${arguments[@]}"' -x --without-root -y

# Debian: fmt and gnuplot are missing.
program dpkg-query 'case $3 in libfmt-dev | gnuplot-nox) echo "deinstall ok config-files" ;; *) echo "install ok installed" ;; esac'
program apt-cache 'exit 0'
program apt-get 'echo "apt-get $*"'
rm "$work/bin/id"
program id 'echo 0'
expect 0 'Installing 2 Debian packages: libfmt-dev gnuplot-nox' -- setup 'install_packages build optional'
expect 0 'Installing 1 Debian packages: libfmt-dev *$' -- setup 'install_packages build'
program apt-cache 'exit 100'
expect 0 'Optional and not to be had: gnuplot-nox: charts on pages' 'Installing 1 Debian' -- setup 'install_packages build optional'
program apt-get 'case "$*" in *install*) echo "E: no such package" >&2; exit 100 ;; esac'
expect 4 'E: no such package' 'error: apt-get could not install: libfmt-dev' -- setup 'install_packages build optional'

# What the quickstart's corpus needs must be had, too.
program dpkg-query 'case $3 in mandoc | gnuplot-nox) echo "deinstall ok config-files" ;; *) echo "install ok installed" ;; esac'
program apt-get 'echo "apt-get $*"'
expect 0 'Installing 1 Debian packages: mandoc' -- setup 'install_packages build quickstart optional'
expect 0 '^$' -- setup 'install_packages build; echo'
program dpkg-query 'case $3 in libfmt-dev | gnuplot-nox) echo "deinstall ok config-files" ;; *) echo "install ok installed" ;; esac'
program apt-get 'case "$*" in *install*) echo "E: no such package" >&2; exit 100 ;; esac'

# quickstart.sh with a set-up that does nothing and a program that says what it was asked.
quick=$work/quick
mkdir -p "$quick/tools" "$quick/build/release/src/cli"
cp "$source/quickstart.sh" "$quick"
cat >"$quick/tools/setup.sh" <<'END'
arguments=("$@") root=$PWD cmake_flags=()
install_packages() { :; }
build() { echo "build $* ${cmake_flags[*]}"; }
fail() { echo "error: $*" && exit 4; }
END
printf '#!/bin/bash\necho "troupe $*${TROUPE_DEVICE:+ on $TROUPE_DEVICE}"\n' >"$quick/build/release/src/cli/troupe"
chmod +x "$quick/build/release/src/cli/troupe"
cp -r "$quick/build/release" "$quick/build/cuda"
cp "$source/tools/cuda.sh" "$quick/tools"
unset TROUPE_DEVICE
for arguments in '' '--recipe modern' '--recipe=modern'; do
  expect 0 'troupe study configs/quickstart.toml --out runs/quickstart --set a=1$' -- "$quick/quickstart.sh" $arguments --set a=1
done
expect 0 'troupe study configs/quickstart-paper.toml --out runs/quickstart-paper --set a=1$' -- \
  "$quick/quickstart.sh" --set a=1 --recipe paper
expect 0 'troupe study configs/quickstart.toml --out runs/quickstart *$' -- "$quick/quickstart.sh"
expect 2 '^error: --recipe: expected modern or paper, got classic$' -- "$quick/quickstart.sh" --recipe classic
expect 2 '^error: --recipe: expected modern or paper, got nothing$' -- "$quick/quickstart.sh" --set a=1 --recipe

# For a GPU: no driver; a driver and no network; both. What pip was asked for, once.
toolkit=$work/toolkit
cuda() { (PATH=$work/bin TROUPE_CUDA_ROOT=$toolkit exec "$quick/quickstart.sh" --cuda "$@"); }
expect 2 '^error: --fetch-only: expected --cuda' -- "$quick/quickstart.sh" --fetch-only
expect 2 '^error: --cuda: expected no --recipe' -- cuda --recipe paper
program python3 'exit 1'
expect 4 '^error: --cuda: expected a GPU and its driver, got none that works' -- cuda
if grep -q Debian "$work/output"; then echo "without a driver nothing is begun"; failures=$((failures + 1)); fi
expect 4 '^error: pip could not fetch them' -- cuda --fetch-only
program python3 'echo "python3 $*"'
mkdir -p "$toolkit/bin" "$toolkit/include"
touch "$toolkit/bin/nvcc" "$toolkit/include/cuda.h"
chmod +x "$toolkit/bin/nvcc"
expect 0 'pip .* install .*--target .*/build/cuda-toolkit nvidia-cublas==[^ ]* nvidia-cudnn-cu13==[^ ]* nvidia-cudnn-frontend==[^ ]* nvidia-cuda-runtime==[^ ]* nvidia-cuda-nvrtc==[^ ]*$' \
  "^build cuda troupe .*-DTROUPE_CUDA=ON -DTROUPE_NVCC=$toolkit/bin/nvcc " 'All but the study' -- cuda --fetch-only
expect 0 '^troupe study configs/quickstart-cuda.toml --out runs/quickstart-cuda --set a=1 on cuda$' -- cuda --set a=1
if grep -q 'pip' "$work/output"; then echo "what is there is not fetched again"; failures=$((failures + 1)); fi
# Fetched where there was no toolkit, and so with a compiler, and carried to where there is one.
echo "$(cat "$quick/build/cuda-toolkit/wheels") nvidia-cuda-nvcc==0" >"$quick/build/cuda-toolkit/wheels"
expect 0 '^troupe study configs/quickstart-cuda.toml' -- cuda
if grep -q 'pip' "$work/output"; then echo "what was fetched with a compiler does for its own"; failures=$((failures + 1)); fi
rm "$work/bin/python3"
for study in quickstart quickstart-paper quickstart-cuda; do
  [ -f "$source/configs/$study.toml" ] || { echo "expected configs/$study.toml"; failures=$((failures + 1)); }
done

# The same by somebody who may not install.
program id 'echo 1000'
expect 0 'Optional and not installed \(neither root nor sudo\): gnuplot-nox' 'Not installed \(neither root nor sudo\): libfmt-dev' \
  'An administrator would run: apt-get install --no-install-recommends libfmt-dev gnuplot-nox' \
  'going on with what is there' -- setup 'install_packages build optional'
program sudo 'exit 1' # asks for a password, which nobody can type here
expect 0 'neither root nor sudo' -- setup 'install_packages build'
program id 'echo 0'
expect 0 'Not installed \(--without-root\): libfmt-dev' -- setup 'install_packages build' --without-root

# A package that can be downloaded, once: its .pc files and links lead into the tree, and the build looks there.
if command -v dpkg-deb >/dev/null; then
  ln -s "$(command -v dpkg-deb)" "$work/bin/"
  ln -s "$(command -v tar)" "$(command -v touch)" "$(command -v cp)" "$work/bin/"
  mkdir -p "$work/package/DEBIAN" "$work/package/usr/lib/x86_64-linux-gnu/pkgconfig" "$work/package/lib/x86_64-linux-gnu"
  printf 'Package: libfmt-dev\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: text\n' >"$work/package/DEBIAN/control"
  printf 'prefix=/usr\nlibdir=${prefix}/lib\n' >"$work/package/usr/lib/x86_64-linux-gnu/pkgconfig/fmt.pc"
  ln -s /lib/x86_64-linux-gnu/libnone.so.9.1 "$work/package/usr/lib/x86_64-linux-gnu/libnone.so"
  echo library >"$work/package/lib/x86_64-linux-gnu/libnone.so.9.1"
  dpkg-deb -b "$work/package" "$work/libfmt-dev.deb" >/dev/null
  program apt-get 'echo "$*" >>'"$work"'/asked
    case "$*" in *install*) cp '"$work"'/libfmt-dev.deb "$(sed -n "s/^Dir::Cache \"\(.*\)\";/\1/p" "$APT_CONFIG")/archives" ;; esac'
  tree=$work/checkout/build/packages/tree
  expect 0 "Unpacking them .* into $tree" "^prefix=$tree/usr" '^library' "PATH=$tree/usr/bin:" "-idirafter $tree/usr/include" \
    "-DCMAKE_BUILD_RPATH=$tree/usr/lib/x86_64-linux-gnu;$tree/lib/x86_64-linux-gnu" \
    -- setup 'install_packages build; cat build/packages/tree/usr/lib/*/pkgconfig/fmt.pc build/packages/tree/usr/lib/*/libnone.so
      echo "PATH=$PATH ${cmake_flags[*]}"' --without-root
  expect 0 "^$tree/usr/bin:/bin .*$tree/lib/x86_64-linux-gnu:/lib\$" -- \
    sh -c "PATH=/bin LD_LIBRARY_PATH=/lib; . '$work/checkout/build/packages/environment'; echo \$PATH \$LD_LIBRARY_PATH"
  rm "$work/asked"
  expect 0 "PATH=$tree/usr/bin:" -- setup 'install_packages build; echo "PATH=$PATH"' --without-root
  if [ -e "$work/asked" ]; then echo "what is unpacked is not downloaded again"; failures=$((failures + 1)); fi
fi

# What CMake says of libraries.
mkdir "$work/project"
cp "$source/cmake/libraries.cmake" "$work/project"
cat >"$work/project/libraries.txt" <<'END'
build     zlib      99    pkg:zlib             a-dev           b-devel   c   compression
build     nothing   1.5   pkg:no-such-module   d-dev,e-dev     f-devel   g   a library that is not there
build     absent    2     cmake:NoSuchPackage  h-dev           i-devel   j   another
optional  rare      9     pkg:no-such-module   k-dev           l-devel   m   nobody minds
END
cat >"$work/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(check LANGUAGES NONE)
include(libraries.cmake)
if(OLD)
  set(CMAKE_CXX_COMPILER_ID GNU)
  set(CMAKE_CXX_COMPILER_VERSION 11.4.0)
  set(CMAKE_CXX_COMPILER /usr/bin/c++)
  troupe_check_compiler()
endif()
troupe_find_libraries()
END
expect 1 'zlib: expected 99 or newer, got 1\.' 'nothing: expected 1.5 or newer, got none \(Debian, Ubuntu: d-dev,e-dev; Fedora: f-devel; Arch: g\)' \
  'absent: expected 2 or newer, got none' -- "$cmake" -S "$work/project" -B "$work/build"
if grep -q rare "$work/output"; then echo "an optional library is no error"; failures=$((failures + 1)); fi
expect 1 '/usr/bin/c\+\+: expected GCC 12, Clang 14 or newer, got GNU 11.4.0' -- "$cmake" -DOLD=1 -S "$work/project" -B "$work/build"
[ $failures -eq 0 ] && echo "setup: as expected"
