#!/bin/bash
# troupe train and finetune with --restarts: a run that dies goes on by itself and ends as if nothing had happened; what
# would happen again, and what somebody asked for, ends it. Usage: restarts_test.sh PROGRAM [MPIRUN]
. "$(dirname "$0")/expect.sh"
mpirun=${2:-}

for i in $(seq 30); do printf 'The cat %s sat on mat %s.\n\n' $i $((i * i)); done >text.txt
"$program" tokenizer train --vocab-size 260 --out tok text.txt >/dev/null 2>&1
"$program" encode --tokenizer tok --out data text.txt >/dev/null 2>&1
cat >run.toml <<'TOML'
[model]
num_layers = 1
d_model = 16
num_heads = 2
d_ff = 32
vocab_size = 260
context = 16
[train]
steps = 1000
batch_sequences = 4
precision = "fp32"
log_every = 1
checkpoint_every = 50
[data]
train = ["data"]
TOML
# A launcher that kills what it started once there is a new checkpoint, the first $1 times; each start is a line of starts.
cat >launcher <<'SH'
#!/bin/bash
kills=$1 signal=$2
shift 2
echo "$@" >>starts
"$@" &
run=$!
trap 'kill -TERM $run' TERM
if [ $(wc -l <starts) -le $kills ]; then
  seen() { cat "$folder/history.jsonl" 2>/dev/null | grep -c '"checkpoint"'; }  # 0 before there is a file
  before=$(seen)
  while kill -0 $run 2>/dev/null && [ "$(seen)" -le "$before" ]; do sleep 0.01; done
  kill -$signal ${victim:-$run}
fi
wait $run; status=$?
while kill -0 $run 2>/dev/null; do wait $run; status=$?; done
exit $status
SH
chmod +x launcher
launched() { rm -f starts; local folder=$1 kills=$2 signal=$3; shift 3; export folder; expect "$@" "$program" train run.toml --run "$folder" --launch "./launcher $kills $signal" ${more:-}; }
same_as_whole() { diff <(losses whole) <(losses "$1") || fail "$1: other losses than of a run that did not die"; }
losses() { sed 's/.*"step":\([0-9]*\).*"loss":\([^,]*\).*/\1 \2/' "$1/metrics.jsonl"; }

# Launchers that hang although their ranks have ended, as mpirun may; the second one with an ssh to a machine that is cut
# off. What becomes of them is looked at in the end.
printf 'import os, time\nif os.fork() == 0: os._exit(1)\ntime.sleep(1000)\n' >hangs.py
printf 'import subprocess, sys, time\nsubprocess.Popen(["sleep", "20"])\nsubprocess.run(sys.argv[1:])\ntime.sleep(1000)\n' >cut_off.py
"$program" train run.toml --run gone.1 --launch "python3 hangs.py" >hangs.out 2>&1 &
hangs=$!
"$program" train run.toml --run gone.2 --set train.steps=0 --launch "python3 cut_off.py" >cut_off.out 2>&1 &
cut_off=$!

"$program" train run.toml --run whole >/dev/null 2>&1 || fail "a whole run"
more="--restarts 3" launched twice 2 KILL "killed twice" 0 "restart 2 of 3"
grep -qF "the run died with status 137 (SIGKILL); restart 1 of 3, from its newest checkpoint" out || fail "$(cat out)"
same_as_whole twice
[ "$(wc -l <starts)" = 3 ] && [ "$(grep -c -e ' --resume' starts)" = 2 ] || fail "starts: $(cat starts)"
grep -q -e '--restarts\|--launch' starts && fail "starts: $(cat starts)"
more="--restarts 1" launched often 9 KILL "killed too often" 4 \
  "error: train: expected a run that ends, got one that died with status 137 (SIGKILL) after 1 restart; --resume goes on with it"
[ "$(wc -l <starts)" = 2 ] || fail "starts: $(cat starts)"
more="--restarts=2 --resume" launched often 0 KILL "going on by hand" 0 "often/model"
same_as_whole often
launched never 1 KILL "no restarts" 4 "got one that died with status 137 (SIGKILL); --resume goes on with it"

# Fine-tuning the same, also where several trainings are one run: what is complete stays, what was killed goes on.
tuned() { "$program" finetune --model whole/model --set 'finetune.text=["text.txt"]' --set finetune.batch_sequences=4 --set finetune.epochs=20 --set train.log_every=1 "$@"; }
rm -f starts
export folder=tuned/lr-0.003-seed-1
expect "a fine-tuning killed" 4 "finetune: expected a run that ends, got one that died with status 137 (SIGKILL)" \
  tuned --run tuned --set finetune.lr=0.001,0.003 --launch "./launcher 1 KILL"
expect "a fine-tuning killed again" 0 "the run died with status 137 (SIGKILL); restart 1 of 1, from its newest checkpoint" \
  tuned --run tuned --set finetune.lr=0.001,0.003 --resume --restarts 1 --launch "./launcher 2 KILL"
[ "$(wc -l <starts)" = 3 ] && [ "$(grep -c -e ' --resume' starts)" = 2 ] || fail "starts: $(cat starts)"
tuned --run calm --set finetune.lr=0.003 >/dev/null 2>&1 || fail "a fine-tuning"
diff <(losses calm | grep -v '{') <(losses $folder | grep -v '{') || fail "other losses than of a fine-tuning that did not die"

# What would happen again ends it, and so does whoever asks.
once() { [ "$(wc -l <starts)" = 1 ] || fail "$1: started $(wc -l <starts) times"; }
more="--restarts 3" launched whole 0 KILL "a run that is there" 2 "whole: expected a new run"; once "a run that is there"
more="--restarts 3 --set data.train=[\"none\"]" launched none 0 KILL "no data" 3 "none/index.json: expected a readable file"; once "no data"
more="--restarts 3 --set train.schedule.lr=1e30 --set train.schedule.warmup_steps=0 --set train.clip_norm=0" \
  launched far 0 KILL "not finite" 5 "step "; once "not finite"
more="--restarts 3" launched asked 9 TERM "asked to end" 130 "interrupted after step"; once "asked to end"
rm -f starts; folder=long
"$program" train run.toml --run long --set train.steps=1000000 --set train.checkpoint_every=100000 --restarts 3 --launch "./launcher 0 KILL" >out 2>&1 &
while ! [ -s long/metrics.jsonl ]; do kill -0 $! || break; sleep 0.02; done
kill -TERM $!
wait $!
[ $? = 130 ] && grep -q "interrupted after step" out && [ "$(wc -l <starts)" = 1 ] || fail "a signal to the launcher's parent: $(cat out)"
expect "no launcher" 4 "no-such-launcher: expected a program that can be started, got: No such file" \
  "$program" train run.toml --run gone --restarts 3 --launch "no-such-launcher -n 4"
# Its own settings of threads are not those of what it starts.
env -u OMP_NUM_THREADS -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY "$program" train run.toml --run placed --set train.steps=1 --launch env >settings 2>&1
grep -q 'TROUPE_PLACED\|GOMP_SPINCOUNT' settings && fail "settings are handed on: $(cat settings)"

for job in hangs cut_off; do
  wait ${!job}
  [ $? = 4 ] && grep -qF "hangs: all that it started has ended" $job.out || fail "a launcher that hangs: $(cat $job.out)"
done

if "$program" --version | grep -q '^MPI: not built' || ! [ -x "$mpirun" ]; then
  echo "not tried on ranks: no MPI, or no mpirun in PATH"
  finish
fi
expect "inside of mpirun" 2 "--restarts: expected one process that starts the ranks, got 2 started together" \
  "$mpirun" -n 2 "$program" train run.toml --run in --restarts 3
"$program" train run.toml --run ranks --set train.steps=600 --restarts 2 --launch "$mpirun -n 2" >out 2>&1 &
job=$!
for kill in 1 2; do
  victim=
  for _ in $(seq 1500); do
    [ "$(grep -c '"checkpoint"' ranks/history.jsonl 2>/dev/null)" -ge $((kill * 2)) ] 2>/dev/null &&
      victim=$(pgrep -P "$(pgrep -P $job -f mpirun | tail -1)" -x "$(basename "$program" | cut -c1-15)" 2>/dev/null | tail -1)
    [ -n "$victim" ] && break
    sleep 0.02
  done
  kill -9 $victim
  while kill -0 $victim 2>/dev/null; do sleep 0.02; done
done
wait $job
[ $? = 0 ] || fail "ranks that are killed: $(cat out)"
grep -q "restart 2 of 2" out && [ "$(tail -1 out)" = ranks/model ] || fail "ranks that are killed: $(cat out)"
finish
