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

busybox grep -o -w -E 'amx_[a-z0-9]*' /proc/cpuinfo
export TROUPE_ISA=amx
run parity_kernels_tests --gtest_filter='*amx*'
run parity_ops_tests --gtest_filter='LinearDispatch.*:AttentionParity/1.*:LinearParity/1.*-*.ModelShapes:*.SameBits*'
run parity_ops_tests --gtest_filter='LossParity/1.*'
run unit_model_tests --gtest_filter='*Precisions*'
echo "== failed: $failed"
busybox sleep 2 # until the serial port has sent it all
busybox poweroff -f
