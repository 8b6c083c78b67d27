#!/usr/bin/env bash
# What `cmake --install` does with TROUPE_BUNDLE: libraries, licences and README.txt beside the program.
#   bundle_test.sh PROGRAM SOURCE_FOLDER CMAKE OBJDUMP
set -euo pipefail
program=$1 source=$2 cmake=$3 objdump=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir cwd
(cd cwd && DESTDIR="$work/stage" "$cmake" -D CMAKE_INSTALL_PREFIX=/opt/troupe -D program="$program" -D folders= -D version=1.2.3 \
  -D docs=share/doc/troupe -D objdump="$objdump" -D readme="$source/cmake/package_readme.txt.in" -P "$source/cmake/bundle.cmake") >log 2>&1 ||
  { cat log; exit 1; }
fail() { echo "$*"; ls -R stage; exit 1; }
[ -z "$(ls -A cwd)" ] || fail "nothing belongs into the working directory"
root=stage/opt/troupe
grep -q 'Troupe 1.2.3' $root/README.txt || fail "README.txt: expected the version"
grep -Eq 'glibc 2\.[0-9]+ or newer' $root/README.txt || fail "README.txt: expected a version of glibc"
ls $root/lib/troupe | grep -Eq '^(libc|libm|ld-linux.*)\.so' && fail "the C library belongs to the system"
# Every library that the program asks for is there, and comes from there.
mkdir -p lib && cp -a $root/lib/troupe lib/
ldd "$program" | awk '$2 == "=>" { print $1 }' | grep -Ev '^(linux-vdso|libc|libm|libpthread|libdl|librt)\.' | while read -r library; do
  [ -e "lib/troupe/$library" ] || fail "$library: expected in lib/troupe"
done
LD_LIBRARY_PATH=$work/lib/troupe "$program" --version >/dev/null || fail "expected the program to run with them"
echo "bundle: as expected"
