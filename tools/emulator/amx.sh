#!/bin/bash
# Runs the tests of the AMX kernels on the instructions themselves where no processor has them: in Bochs, an x86
# emulator, under Debian's Linux kernel, which grants the use of tiles as on hardware. It shows that results
# are correct and says nothing about speed.
#
# Usage: tools/emulator/amx.sh BOCHS BUILD [WORK]
#   BOCHS  source tree of Bochs (the folder with configure and cpu/); copied, not changed
#   BUILD  build folder of Troupe with the targets parity_kernels_tests, parity_ops_tests and unit_model_tests
#   WORK   folder for what is built, 400 MB (default: BUILD/emulator); Bochs and packages there are used again
# Downloads Debian packages into WORK and installs none. Exit code 0: every test passed.
set -euo pipefail
usage() { sed -n '2,/^set/{/^set/d;s/^# \?//;p}' "$0" >&2; exit 2; }
fail() { echo "error: $*" >&2; exit 4; }
[ $# -ge 2 ] || usage
here=$(cd "$(dirname "$0")" && pwd) source=$(realpath "$1") build=$(realpath "$2") work=$(realpath -m "${3:-$2/emulator}")
programs=("$build"/tests/{parity_kernels_tests,parity_ops_tests,unit_model_tests})
for program in "$source/configure" "${programs[@]}"; do
  [ -x "$program" ] || fail "$program: expected a program (see tools/emulator/amx.sh without arguments)"
done
mkdir -p "$work"

# The patch adds what Linux asks for before it lets programs use tiles (XFD), repairs how XSAVE stores them and hides
# FSRM, with which the kernel does not boot.
if [ ! -x "$work/bochs/bochs" ]; then
  echo "building Bochs in $work/bochs"
  rm -rf "$work/bochs"
  cp -r "$source" "$work/bochs"
  cd "$work/bochs"
  patch -s -p1 <"$here/bochs.patch"
  (CXXFLAGS=-O3 ./configure --enable-cpu-level=6 --enable-x86-64 --enable-avx --enable-evex --enable-amx \
    --enable-all-optimizations --enable-long-phy-address --with-nogui --disable-docbook &&
    nice -n 5 make -j"$(nproc)") >build.log 2>&1 || fail "Bochs: $work/bochs/build.log ends with: $(tail -3 build.log)"
fi

# A kernel, a shell and a boot loader.
if [ ! -d "$work/packages" ]; then
  rm -rf "$work/deb"
  mkdir -p "$work/deb/files"
  cd "$work/deb"
  kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image.*\)/\1/p')
  apt-get download -qq "$kernel" busybox-static isolinux syslinux-common genisoimage cpio
  for package in *.deb; do dpkg-deb -x "$package" files; done
  mv files "$work/packages"
  rm -rf "$work/deb"
fi

root=$work/root image=$work/image
rm -rf "$root" "$image"
mkdir -p "$root"/{bin,proc,sys,dev,tmp} "$image"
cp "$work/packages/bin/busybox" "$root/bin"
install "$here/guest.sh" "$root/init"
for program in "${programs[@]}"; do
  strip -o "$root/bin/${program##*/}" "$program"
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library"; done
done
(cd "$root" && find . | "$work/packages/bin/cpio" -o -H newc --quiet | gzip -1 >"$image/initrd")
cp "$work"/packages/boot/vmlinuz-* "$image/linux"
cp "$work"/packages/usr/lib/{ISOLINUX/isolinux.bin,syslinux/modules/bios/ldlinux.c32} "$image"
cat >"$image/isolinux.cfg" <<'CFG'
default linux
label linux
  kernel linux
  append initrd=initrd console=ttyS0 nokaslr mitigations=off no_timer_check quiet
CFG
"$work/packages/usr/bin/genisoimage" -quiet -o "$work/image.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
  -boot-load-size 4 -boot-info-table "$image"
rm -rf "$root" "$image"

cat >"$work/bochsrc" <<CFG
cpu: model=sapphire_rapids, exclude_features="waitpkg,sca_mitigations", ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=1024, host=1024
romimage: file=$work/bochs/bios/BIOS-bochs-latest, options=fastboot
vgaromimage: file=$work/bochs/bios/VGABIOS-lgpl/VGABIOS-lgpl-latest.bin
ata0: enabled=1
ata0-master: type=cdrom, path=$work/image.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/output
display_library: nogui
log: $work/bochs.log
error: action=ignore
info: action=ignore
panic: action=fatal
CFG
: >"$work/output"
nice -n 5 "$work/bochs/bochs" -q -f "$work/bochsrc" >"$work/screen" 2>&1 </dev/null &
tail -n +1 -f --pid=$! "$work/output" | sed -u 's/\r$//'
tr -d '\r' <"$work/output" | grep -q '^== failed: 0$'
