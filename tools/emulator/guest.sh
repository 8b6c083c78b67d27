#!/bin/busybox sh
# The first process inside the emulator (amx.sh): runs the tests, prints to the serial port, turns the machine off.
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t tmpfs tmp /tmp
cd /tmp
export GTEST_COLOR=no OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive # two threads on one processor: tiles have to survive a switch
failed=0
run() {
  echo "== $*"
  "$@" 2>&1
  status=$?
  echo "== exit $status"
  [ $status -eq 0 ] || failed=1
}
losses() { busybox grep -o '"loss":[0-9.]*' "$1/metrics.jsonl" | busybox tr -d '"a-z:' | busybox tr '\n' ' '; }

busybox grep -o -w -E 'amx_[a-z0-9]*' /proc/cpuinfo
export TROUPE_ISA=amx
run parity_kernels_tests --gtest_filter='*amx*'
run parity_ops_tests --gtest_filter='LinearDispatch.*:AttentionParity/1.*:LinearParity/1.*-*.ModelShapes:*.SameBits*'
for isa in amx avx512bf16; do
  TROUPE_ISA=$isa run troupe train /data/run.toml --run $isa
done
echo "losses amx        $(losses amx)"
echo "losses avx512bf16 $(losses avx512bf16)"
echo "$(losses amx) $(losses avx512bf16)" | busybox awk '{
  for (i = 1; i <= 3; ++i) {
    difference = $i - $(i + 3)
    if (!($i > 0 && difference < 1e-3 * $i && -difference < 1e-3 * $i)) exit 1
  }
}' || failed=1
run parity_ops_tests --gtest_filter='LossParity/1.*:LinearParity/1.SameBits*'
echo "== failed: $failed"
busybox poweroff -f
