#!/bin/bash
# Two ranks that see each other by TCP alone, as on two machines: each in a network namespace of its own, with a host name
# and an address, and a link of so many Mbit/s between them. Says what a step takes there and how much of what is sent goes
# meanwhile; then cuts the link in mid-step: both ranks must end within seconds, and the run must go on.
#   tools/ranks/network.sh PROGRAM [MBIT [UPDATES]]        # as root; 400 Mbit/s and 12 updates if not given
# With NETWORK_BEFORE=PROGRAM its steps over the link are timed, too. Works in a folder of its own under TMPDIR, which stays
# if something is wrong.
set -u
program=$(realpath "$1") mbit=${2:-400} updates=${3:-12}
other=${NETWORK_BEFORE:+$(realpath "$NETWORK_BEFORE")}
[ "$(id -u)" = 0 ] || { echo "network.sh: expected root (ip netns), got $(id -un)" >&2; exit 4; }
work=$(mktemp -d)
a=troupe-a-$$ b=troupe-b-$$ address=10.97.31
clean() {
  for ns in $a $b; do
    ip netns pids $ns 2>/dev/null | xargs -r kill -9 2>/dev/null
    ip netns del $ns 2>/dev/null
  done
}
trap clean EXIT
failed() { echo "FAILED: $*; see $work"; exit 1; }
cd "$work" || exit 1
ip netns add $a && ip netns add $b || failed "no network namespaces"
ip link add "ta$$" netns $a type veth peer name "tb$$" netns $b || failed "no veth"
i=0
for ns in $a $b; do
  i=$((i + 1)) side=$([ $ns = $a ] && echo "ta$$" || echo "tb$$")
  ip -n $ns addr add $address.$i/24 dev $side
  ip -n $ns link set lo up
  ip -n $ns link set $side up
  tc -n $ns qdisc add dev $side root tbf rate "${mbit}mbit" burst 256kb latency 400ms || failed "no tbf"
done
# What ssh would do.
cat >agent <<AGENT
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c 'hostname $b; exec sh -c "\$0"' "\$*"
AGENT
chmod +x agent
cat >launch <<LAUNCH
#!/bin/sh
exec mpirun -n 2 --host $address.1,$address.2 --mca plm_rsh_agent $work/agent --mca btl tcp,self --mca pml ob1 \\
  --mca btl_tcp_if_include $address.0/24 --mca oob_tcp_if_include $address.0/24 "\$@"
LAUNCH
chmod +x launch
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none \
  OMPI_MCA_mpi_yield_when_idle=1
there() { ip netns exec $a unshare --uts sh -c "hostname $a; exec \"\$0\" \"\$@\"" "$@"; }

for i in $(seq 400); do echo "the quick brown fox number $i jumps over $((i * 7)) lazy dogs and $((i * i)) cats"; done >text.txt
"$program" tokenizer train --vocab-size 300 --out tok text.txt >/dev/null 2>&1 || failed "no tokenizer"
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1 || failed "no data"
cat >run.toml <<TOML
[model]
num_layers = 6
d_model = 256
num_heads = 4
d_ff = 1024
vocab_size = 300
context = 128
[model.moe]
num_experts = 16
every = 2
group_sequences = 1
[train]
steps = $updates
batch_sequences = 16
precision = "fp32"
log_every = 1
checkpoint_every = 4
[train.schedule]
kind = "constant"
lr = 1e-3
[data]
train = ["data"]
TOML
figures() {  # RUN
  python3 - "$1" <<'PYTHON'
import json, sys
s = json.load(open(sys.argv[1] + '/summary.json'))
times = [l['time_s'] for l in map(json.loads, open(sys.argv[1] + '/metrics.jsonl')) if l['schema'] == 'troupe.train/1']
steps = sorted(b - a for a, b in zip(times[1:], times[2:]))
print(f"{sys.argv[1]:8} {steps[len(steps) // 2]:.3f} s an update (median), {s['bytes_exchanged_per_step'] / 1e6:.1f} MB sent, "
      f"{100 * max(s['exchange_share_per_rank']):.0f} % within calls, {100 * max(s.get('overlap_share_per_rank', [0])):.0f} % of the bytes sent while computing")
PYTHON
}
mpirun -n 2 --oversubscribe "$program" train run.toml --run memory >memory.log 2>&1 || failed "two ranks on one machine: $(tail -3 memory.log)"
there ./launch "$program" train run.toml --run link >link.log 2>&1 || failed "two ranks over the link: $(tail -3 link.log)"
[ -z "$other" ] || there ./launch "$other" train run.toml --run before >before.log 2>&1 || failed "$(tail -3 before.log)"
figures memory
figures link
[ -z "$other" ] || figures before
python3 - <<'PYTHON' || failed "other losses over the link"
import json
read = lambda run: [(l['loss'], l['grad_norm']) for l in map(json.loads, open(run + '/metrics.jsonl')) if l['schema'] == 'troupe.train/1']
assert read('memory') == read('link')
PYTHON
echo "losses and norms have the same bits"

# The link is cut in mid-step.
there "$program" train run.toml --run cut --set train.steps=100000 --watchdog 3 --restarts 9 --launch ./launch >cut.log 2>&1 &
job=$!
for _ in $(seq 300); do
  [ "$(grep -c '"checkpoint"' cut/history.jsonl 2>/dev/null)" -ge 2 ] 2>/dev/null && break
  sleep 0.1
done
ip -n $a link set "ta$$" down
cut=$SECONDS
until grep -q 'expected an answer of the other ranks' cut.log || [ $((SECONDS - cut)) -gt 60 ]; do sleep 0.2; done
ended=$((SECONDS - cut))
[ $ended -le 60 ] || failed "no rank said that the link is cut"
grep 'expected an answer of the other ranks' cut.log | head -1 | cut -c1-90
until ! pgrep -f "train run.toml --run cut --set train.steps=100000 --watchdog 3( --resume)?$" >/dev/null || [ $((SECONDS - cut)) -gt 60 ]; do sleep 0.2; done
all_ended=$((SECONDS - cut))
[ $all_ended -le 60 ] || failed "a rank did not end"
echo "cut: the first rank said so after $ended s, all had ended after $all_ended s"
ip -n $a link set "ta$$" up
back=$SECONDS
before=$(grep -c '"resume"' cut/history.jsonl)
until [ "$(grep -c '"resume"' cut/history.jsonl)" -gt "$before" ] || [ $((SECONDS - back)) -gt 60 ]; do sleep 0.2; done
[ "$(grep -c '"resume"' cut/history.jsonl)" -gt "$before" ] || failed "the run did not go on: $(tail -3 cut.log)"
echo "the link is back: the run went on after $((SECONDS - back)) s"
kill -TERM $job
wait $job
cd / && rm -rf "$work"
