#!/bin/bash
# troupe study with a grid as users run it: trials, points, tables; several processes, killed and stopped ones, runs that
# diverge, settings that changed, text that is missing.
# Usage: grid_test.sh PROGRAM TEST_DATA SOURCE_FOLDER
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
source=$(realpath "$3")

cp -r "$2/corpus" corpus
study_models 4
cat >grid.toml <<'END'
[study]
corpus = "corpus"
vocab_size = 300
valid_tokens = 500
[study.grid]
families = ["dense=dense.toml", "moe=moe.toml"]
sizes = ["2x16", "2x32"]
tokens = [1000, 3000]
lr_trials = 4
more_seeds = [2, 3]
more_seeds_at = ["*/2x32/1000"]
skip = ["moe/2x16/3000"]
speed_seconds = 0
END
study() { "$program" study grid.toml --out "$@"; }

# Refused with file and line, before anything is made.
bad() { # WHAT KEY VALUE MESSAGE
  sed "s#^$2 = .*#$2 = $3#" grid.toml >bad.toml
  expect "grid: $1" 2 "bad.toml:$(grep -n "^$2 = " bad.toml | cut -d: -f1): study.grid.$2: expected $4" \
    "$program" study bad.toml --out no
}
bad "a size without a width" sizes '["4x"]' 'LAYERSxWIDTH, such as 4x128, got "4x"'
bad "a size of no layers" sizes '["0x16"]' 'LAYERSxWIDTH'
bad "a size with more" sizes '["2x16x1"]' 'LAYERSxWIDTH'
bad "a size twice" sizes '["2x16", "2x16"]' 'each once, got 2x16 twice'
bad "no size" sizes '[]' 'at least one, got none'
bad "a budget twice" tokens '[1000, 1000]' 'each once, got 1000 twice'
bad "two trials" lr_trials 2 '0 or at least 3'
bad "a seed twice" more_seeds '[1]' 'each once, got 1 twice'
bad "a pattern of nothing" skip '["moe/2x16/3M"]' 'patterns of points FAMILY/SIZE/TOKENS (TOKENS as digits), got moe/2x16/3M'
bad "nothing left" skip '["*/*/*"]' 'a point to be left, got none'
bad "a family twice" families '["a=dense.toml", "a=moe.toml"]' 'each once, got a twice'
bad "a family called .." families '["..=dense.toml"]' 'a name that a folder can have'
sed 's#^batch_sequences.*#batch_sequences = 8#' dense.toml >other.toml
bad "families of different updates" families '["dense=dense.toml", "moe=other.toml"]' 'families with one train.batch_sequences, got 4'
expect "grid: a width that heads do not divide" 2 "dense.toml: model.num_heads: expected a whole number at width 24" \
  study no --set 'study.grid.sizes=["2x24"]'
expect "grid: fewer layers than every" 2 "moe.toml: model.moe.every: expected at most the 1 layers of size 1x16, got 2" \
  study no --set 'study.grid.sizes=["1x16"]' --set 'study.grid.more_seeds=[]' --set 'study.grid.more_seeds_at=[]' \
  --set 'study.grid.skip=[]'
expect "grid: models too" 2 "expected models or study.grid.families, got both" study no --set study.models=a=dense.toml
expect "grid: a budget of its own too" 2 "study.tokens: expected none beside study.grid" study no --set study.tokens=5
expect "grid: hours without a speed" 2 "study.grid.max_hours: expected study.grid.speed_seconds above 0 with it" \
  study no --set study.grid.max_hours=1 --dry-run
expect "study without a grid: --redo-stale" 2 "--redo-stale: expected a study with a grid" \
  "$program" study "$source/configs/quickstart.toml" --redo-stale
expect "grid: dry run" 0 "trainings  23" study no --dry-run
expect "grid: dry run with speeds" 0 " here, measures not counted" study no --dry-run --set study.grid.speed_seconds=0.01
expect "grid: hours" 0 "0, 23 left out (study.grid.max_hours = 1e-06)" \
  study no --dry-run --set study.grid.speed_seconds=0.01 --set study.grid.max_hours=1e-6
[ ! -e no ] || fail "grid: something refused, or a dry run, left a folder"
expect "grid: five epochs" 2 "expected runs that read each domain at most 4 times (study.grid.max_epochs), got 43000 tokens, which read a 5.0" \
  study epochs --set 'study.grid.tokens=[1000, 43000]' --set 'study.grid.skip=[]'
for preset in full short; do
  expect "preset $preset" 0 "context 256, vocabulary 4,096, 1,024 tokens an update" \
    "$program" study "$source/configs/study-$preset.toml" --out no --dry-run --set study.grid.speed_seconds=0 \
    --set study.grid.max_hours=0
done

expect "grid" 0 "one/points.csv" study one
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$tests" python3 - <<'END' || fail "grid: tables"
import csv, io, math, pathlib, zst
text = pathlib.Path('one/points.csv').read_text()
assert text.splitlines()[0] == ('run,family,size,recipe,router,experts,top_k,every,expert_d_ff,params,active_params,vocab,'
    'tokens,epochs,train_flops,seconds,memory_bytes,lr,seed,device,precision,status,domain,held_out,documents,nll,'
    'bits_per_byte,stderr'), text.splitlines()[0]
rows = list(csv.DictReader(io.StringIO(text)))
runs = {row['run'] for row in rows}
assert len(runs) == 11, runs  # 7 points, two more seeds of two of them
assert len(rows) == 4 * len(runs)
documents = list(csv.DictReader(io.StringIO(zst.read('one/documents.csv.zst'))))
for run in runs:
    own = {row['domain']: row for row in rows if row['run'] == run}
    assert set(own) == {'a', 'a (held out)', 'mean_in', 'mean_out'}, own
    assert own['a (held out)']['held_out'] == own['mean_out']['held_out'] == '1' and own['a']['held_out'] == '0'
    for domain in ('a', 'a (held out)'):
        scored = [(float(d['nll']), int(d['tokens'])) for d in documents if d['run'] == run and d['domain'] == domain]
        nll = sum(n for n, _ in scored) / sum(t for _, t in scored)
        assert math.isclose(nll, float(own[domain]['nll']), rel_tol=1e-12), (run, domain)
        assert len(scored) == int(own[domain]['documents'])
    assert sum(int(d['tokens']) for d in documents if d['run'] == run and d['domain'] == 'a') == 500  # of 937
    row = own['a']
    D, V, S, T = int(row['size'].split('x')[1]), 300, 32, int(row['tokens'])
    forward = 2 * (8 * D * D + 4 * S * D) + 4 * D * 2 * D * 2 + 2 * D * V
    if row['family'] == 'moe':
        forward += 4 * D * 2 * D + 2 * D * 4
        assert (row['router'], row['experts'], row['top_k'], row['every']) == ('top_k', '4', '2', '2')
    assert T % 128 == 0 and float(row['train_flops']) == 3 * forward * T, row
trials = list(csv.DictReader(open('one/trials.csv')))
assert len(trials) == 16
for model in {(t['family'], t['size']) for t in trials}:
    own = sorted((t for t in trials if (t['family'], t['size']) == model), key=lambda t: float(t['lr']))
    best = min(own, key=lambda t: float(t['nll']))
    assert [t['run'] for t in own if t['chosen'] == '1'] == [best['run']]
    assert {r['lr'] for r in rows if (r['family'], r['size']) == model} == {best['lr']}
    rates = [float(t['lr']) for t in own]
    assert all(math.isclose(b / a, 2) for a, b in zip(rates, rates[1:])), rates
END
expect "grid: factors, computed again" 0 " of frontiers, " python3 -B "$source/tools/study_check.py" one
mkdir wrong && cp one/*.csv one/*.zst wrong
python3 -c 'import re; p = "wrong/factors.csv"; t = open(p).read(); open(p, "w").write(re.sub(r",1\.(\d)", r",2.\1", t, count=1))'
expect "grid: a wrong factor is found" 1 "1 differ" python3 -B "$source/tools/study_check.py" wrong
[ "$(cut -d, -f6 one/factors.csv | sort -u | tr '\n' ' ')" = "measure memory_bytes train_flops " ] ||
  fail "grid: factors in seconds without speeds"
for text in '<h2>What came out</h2>' 'In domain (mean of 1 domain), moe: ' 'dense: seeds of one point differ from their mean by 0\.' \
  '<h2>Loss over compute by domain</h2>' '<h2>Factors by domain</h2>' 'a (held out), never trained on' '11 runs: troupe '; do
  grep -q -- "$text" one/report.html || fail "grid: the page says $text"
done
grep -q '^| moe | in domain | [0-9.]* | ' one/report.md || fail "grid: a factor in report.md"
if command -v gnuplot >/dev/null; then
  for figure in $(grep -o 'figures/figure-[0-9]*\.svg' one/report.md); do
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "one/$figure" || fail "grid: $figure is no XML"
    # Names, lines and marks stand beside the chart, which is 400 wide.
    grep -q 'viewBox="0 0 530 260"' "one/$figure" && grep -q 'translate(402 38)' "one/$figure" || fail "grid: $figure: which line is which"
  done
  [ "$(grep -c '^!\[.*\](figures/figure-' one/report.md)" -ge 6 ] || fail "grid: figures in report.md"
fi
expect "grid: what is done" 0 "trainings  23, 23 done" study one --dry-run
cp -r one partly
rm -r partly/runs/dense/2x16/3000/*/seed-1 "$(ls -d partly/runs/moe/2x16/1000/*/seed-1 | head -1)"
expect "grid: what is partly done" 0 "trainings  23, 21 done" study partly --dry-run
expect "grid: trials of which one is to do" 0 "  3 done" study partly --dry-run
expect "grid: a plan for programs" 0 '"left_out":0,"done":21,' study partly --dry-run --json
rm -r partly
cp -r one speeds
expect "grid: speeds measured afterwards" 0 "speeds/points.csv" study speeds --set study.grid.speed_seconds=0.01
expect "grid: factors in seconds, too" 0 " of frontiers, " python3 -B "$source/tools/study_check.py" speeds
grep -q '^frontier,mean_in,0,moe,dense,seconds,' speeds/factors.csv || fail "grid: no factor in seconds"
speeds=$(cksum <speeds/speeds.json)
expect "grid: speeds are kept" 0 "speeds/points.csv" study speeds --set study.grid.speed_seconds=0.01
[ "$speeds" = "$(cksum <speeds/speeds.json)" ] || fail "grid: speeds were measured twice"
expect "grid: speeds anew" 0 "speeds/points.csv" study speeds --set study.grid.speed_seconds=0.01 --measure-speeds
[ "$speeds" != "$(cksum <speeds/speeds.json)" ] || fail "grid: speeds were not measured again"
[ -z "$(find one/runs -name model -o -name checkpoints)" ] || fail "grid: models of measured runs were left"
result=one/runs/dense/2x16/3000/*/seed-1/result.json
before=$(stat -c %i $result)
expect "grid again" 0 '"schema":"troupe.study.grid.point/1","run":"dense/2x16/1000/lr-' study one --json
[ "$before" = "$(stat -c %i $result)" ] || fail "grid again: a run was done twice"
grep -q ': training$' out && fail "grid again: something was trained"

# Settings that do not decide results may change, others make runs stale; a changed budget is another run.
expect "grid: another interval of checkpoints" 0 "one/points.csv" study one --set 'study.grid.tokens=[1000, 3000, 4000]' \
  --set 'study.grid.skip=["moe/*/3000", "*/*/4000"]'
sed 's/^checkpoint_every.*/checkpoint_every = 5/' dense.toml >changed && cp changed dense.toml
expect "grid: another checkpoint_every" 0 "one/points.csv" study one
sed 's/^\[train\]/[train]\nclip_norm = 0.01/' dense.toml >changed && cp dense.toml unchanged && cp changed dense.toml
expect "grid: stale runs" 2 "seed-1: train.clip_norm: 0.0 in the run, 0.01 in the study" study one
grep -q 'expected runs with the settings of this study, got 2[0-9] with others' out || fail "grid: stale runs are counted"
cp one/points.csv kept.csv
cp -r one again
expect "grid: stale runs again" 0 "removed, to be trained again: train.clip_norm" study again --redo-stale
cmp -s again/points.csv kept.csv && fail "grid: stale runs were not trained again"
cp unchanged dense.toml
expect "grid: other text to score" 2 "study.valid_tokens: 500 in the run, 400 in the study" study one --set study.valid_tokens=400

# Two at once share the work and come to the same; so does one that goes on where another was killed or stopped.
"$program" study grid.toml --out two >first 2>&1 &
"$program" study grid.toml --out two >second 2>&1 || fail "grid: two at once: the second: $(tail -3 second)"
wait $! || fail "grid: two at once: the first: $(tail -3 first)"
cmp two/points.csv kept.csv || fail "grid: two at once: other points"
cmp two/factors.csv one/factors.csv || fail "grid: two at once: other factors"
cmp two/documents.csv.zst one/documents.csv.zst || fail "grid: two at once: other documents"
[ "$(cat first second | grep -c ': training$')" = 23 ] ||
  fail "grid: two at once: expected 23 trainings, got $(cat first second | grep -c ': training$')"
"$program" study grid.toml --out killed >killed.log 2>&1 &
pid=$!
for _ in $(seq 2000); do  # a checkpoint lives for some hundredths of a second
  compgen -G 'killed/runs/*/*/*/*/*/checkpoints/step-*4' >/dev/null && break
  sleep 0.005
done
kill -9 $pid || fail "grid: the study ended before it was killed"
wait $pid 2>/dev/null
expect "grid: after a kill" 0 "killed/points.csv" study killed
cmp killed/points.csv kept.csv || fail "grid: after a kill: other points"
"$program" study grid.toml --out stopped >stopped.log 2>&1 &
pid=$!
for _ in $(seq 400); do
  [ "$(cut -sd, -f1 stopped/points.csv 2>/dev/null | sort -u | wc -l)" -gt 3 ] && break  # a head and three runs
  sleep 0.05
done
kill -TERM $pid
wait $pid
[ $? = 130 ] || fail "grid: interrupted: $(tail -2 stopped.log)"
finished=$(tail -n +2 stopped/points.csv | cut -d, -f1 | sort -u | wc -l)
grep -q "So far $finished of " stopped/report.md || fail "grid: interrupted: the report has other than $finished runs"
expect "grid: after an interruption" 0 "stopped/points.csv" study stopped
cmp stopped/points.csv kept.csv || fail "grid: after an interruption: other points"

# A folder that was moved, and one of which something was lost: what is lost is trained again, the rest stays.
mv stopped moved && rm -r moved/runs/moe/2x32/1000
lost=$(echo moved/runs/dense/2x16/3000/*/seed-1)
rm "$lost/result.json"
expect "grid: moved, with parts lost" 0 "warning: ${lost#moved/runs/}: cannot go on, and begins anew: " study moved
[ "$(grep -c ': training$' out)" = 7 ] || fail "grid: moved: expected 7 trainings, got $(grep -c ': training$' out)"
cmp moved/points.csv kept.csv || fail "grid: moved: other points"

# A disk that is full ends it with one error, and it goes on when there is room.
if mkdir small && mount -t tmpfs -o size=1m tmpfs small 2>/dev/null; then
  expect "grid: a full disk" 4 "No space left on device" study small/o
  mount -o remount,size=60m small
  expect "grid: after a full disk" 0 "small/o/points.csv" study small/o
  cmp small/o/points.csv kept.csv || fail "grid: after a full disk: other points"
  umount small
else
  echo "a full disk: not tried, mount needs root"
fi

# A run that diverges is a point marked so.
sed 's/^lr = .*/lr = 1e30/' dense.toml >wild.toml
expect "grid: a family that diverges" 0 "diverged, and stays in the results as a point that did" \
  study wild --set 'study.grid.families=["dense=dense.toml", "wild=wild.toml"]' --set study.grid.lr_trials=0 \
  --set 'study.grid.skip=[]' --set 'study.grid.sizes=["2x16"]' --set 'study.grid.more_seeds=[]' \
  --set 'study.grid.more_seeds_at=[]'
grep -q '^wild/2x16/1000/.*,diverged,a,0,0,,,$' wild/points.csv || fail "grid: a row of the diverged run"
grep -q 'wild/2x16/1000/.* diverged and counts for nothing' wild/report.md || fail "grid: the report names what diverged"
grep -q '^dense/2x16/3000/.*,ok,mean_out,1,' wild/points.csv || fail "grid: the other family beside it"

# Where every trial diverges, longer runs are left out; a trial that is not the best leaves no model.
sed 's/^lr = .*/lr = 0.1/' dense.toml >hot.toml
expect "grid: every trial diverges" 0 "wild/2x16: every trial of a learning rate diverged: its other runs are left out" \
  study trials --set 'study.grid.families=["hot=hot.toml", "wild=wild.toml"]' --set study.grid.lr_trials=3 \
  --set 'study.grid.skip=[]' --set 'study.grid.sizes=["2x16"]' --set 'study.grid.more_seeds=[]' \
  --set 'study.grid.more_seeds_at=[]'
[ ! -e trials/runs/wild/2x16/3000 ] || fail "grid: a longer run with a rate that diverged"
grep -q '^wild/2x16: every trial of a learning rate diverged' trials/report.md || fail "grid: the report of it"
[ "$(cut -d, -f7,9 trials/trials.csv | grep -c ok,0)" = 2 ] || fail "grid: trials of 0.1: $(cat trials/trials.csv)"
[ -z "$(find trials/runs -name model)" ] || fail "grid: models of trials were left"

# A single point, and held-out text that is empty or not there.
alone=(--set study.grid.families=dense=dense.toml --set 'study.grid.sizes=["2x16"]' --set 'study.grid.tokens=[1000]'
  --set study.grid.lr_trials=0 --set 'study.grid.skip=[]' --set 'study.grid.more_seeds=[]' --set 'study.grid.more_seeds_at=[]')
expect "grid: a single point" 0 "alone/points.csv" study alone "${alone[@]}"
grep -q 'There is one family' alone/report.md || fail "grid: a single point: its report"
[ "$(wc -l <alone/points.csv)" = 5 ] || fail "grid: a single point: its rows"
python3 - <<'END'
import json, pathlib, shutil
for name, keep in (('empty', True), ('none', False)):
    shutil.copytree('corpus', name)
    pathlib.Path(name, 'heldout/a.jsonl').write_bytes(b'')
    manifest = json.load(open(f'{name}/manifest.json'))
    part = manifest['parts'].pop()
    if keep:
        manifest['parts'].append(part | {'documents': 0, 'text_bytes': 0, 'file_bytes': 0, 'xxh3': '2d06800538d394c2'})
    json.dump(manifest, open(f'{name}/manifest.json', 'w'))
END
expect "grid: held-out text that is empty" 0 "warning: heldout a: no document in it: left out" \
  study no_heldout "${alone[@]}" --set study.corpus=empty
expect "grid: no held-out text" 0 "none/points.csv" study none "${alone[@]}" --set study.corpus=none
for out in no_heldout none; do
  [ "$(cut -d, -f23 $out/points.csv | sort | tr '\n' ' ')" = "a domain mean_in " ] || fail "grid: $out: its rows"
done

# Tasks: those whose data are there, also of a study that has begun; nothing is trained again for them.
pets_task >pets.toml
sed 's/"pets"/"birds"/' pets.toml >birds.toml
mkdir -p tasks/pets
python3 -c 'for i in range(40): print("{\"q\": \"The %dth\", \"a\": [\"cat sat on\", \"qx zj kv%d\"], \"y\": %d}" % (i, i, i % 4 == 0))' >tasks/pets/v.jsonl
tasks=(--set 'study.tasks.names=["pets.toml", "birds.toml"]' --set study.tasks.data_dir=tasks)
expect "grid: an unknown task" 2 "study.tasks.names: expected a built-in task or a file FILE.toml, got pest" \
  study no --set study.tasks.names=pest --set study.tasks.data_dir=tasks
expect "grid: tasks without a folder" 2 "study.tasks.data_dir: expected the folder of the tasks' data, got none" \
  study no --set study.tasks.names=pets.toml
expect "study without a grid: tasks" 2 "study.tasks.names: expected none without study.grid, got pets.toml" \
  "$program" study "$source/configs/quickstart.toml" "${tasks[@]}"
two=("${alone[@]}" --set 'study.grid.families=["dense=dense.toml", "moe=moe.toml"]' --set 'study.grid.tokens=[1000, 2000]')
expect "grid: models that are kept" 0 "tasks_later/points.csv" study tasks_later "${two[@]}" --set study.grid.keep_models=true
[ ! -e tasks_later/tasks.csv ] || fail "grid: tasks.csv without tasks"
rm -r tasks_later/runs/dense/2x16/1000/*/seed-1/model
cp tasks_later/points.csv kept.csv
expect "grid: tasks of a study that has begun" 0 "warning: 1 run without scores of tasks: measured before" \
  study tasks_later "${two[@]}" "${tasks[@]}"
grep -q ': training$' out && fail "grid: a run was trained again for tasks"
grep -q 'warning: task birds: no data in tasks/birds: left out' out || fail "grid: a task without data is said"
cmp tasks_later/points.csv kept.csv || fail "grid: tasks changed points.csv"
[ "$(tail -n +2 tasks_later/tasks.csv | cut -d, -f1 | cut -d/ -f1-3 | tr '\n' ' ')" = "dense/2x16/2000 moe/2x16/1000 moe/2x16/2000 " ] ||
  fail "grid: which runs have tasks: $(cat tasks_later/tasks.csv)"
[ -z "$(find tasks_later/runs -name model)" ] || fail "grid: models were left after tasks"
grep -q '1 run measured before tasks were asked for' tasks_later/report.md || fail "grid: the report says what has no tasks"
expect "grid: tasks from the start" 0 "tasks_first/points.csv" study tasks_first "${two[@]}" "${tasks[@]}"
cmp tasks_first/points.csv kept.csv || fail "grid: points of a study with tasks"
for row in $(tail -n +2 tasks_later/tasks.csv); do
  grep -qxF -- "$row" tasks_first/tasks.csv || fail "grid: tasks from the start differ: $row"
done
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$tests" python3 - <<'END' || fail "grid: tables of tasks"
import csv, io, zst
rows = list(csv.DictReader(open('tasks_first/tasks.csv')))
items = {(r['run'], r['task']): r['right'] for r in csv.DictReader(io.StringIO(zst.read('tasks_first/task_items.csv.zst')))}
assert len(rows) == len(items) == 4
for row in rows:
    right = items[row['run'], row['task']]
    assert len(right) == int(row['items']) == 40 and row['left_out'] == '0' and row['chance'] == '0.5'
    assert float(row['accuracy']) == right.count('1') / 40 and float(row['low']) < float(row['accuracy']) < float(row['high'])
assert open('tasks_first/factors_tasks.csv').readline().startswith('form,task,family,baseline,measure,target,')
END
expect "grid: factors by tasks, computed again" 0 " by tasks, " python3 -B "$source/tools/study_check.py" tasks_first
grep -q '^## Tasks' tasks_first/report.md || fail "grid: tasks in the report"

# A run that diverges only while it is measured, or while it answers tasks, is said to, and is a point marked so.
expect "grid: a model to break" 0 "late/points.csv" study late "${alone[@]}" --set study.grid.keep_models=true
late=$(echo late/runs/dense/2x16/1000/*/seed-1)
python3 - $late/model/model.safetensors <<'END'
import pathlib, struct, sys
path = pathlib.Path(sys.argv[1])
data = path.read_bytes()
begin = 8 + struct.unpack('<Q', data[:8])[0]
path.write_bytes(data[:begin] + struct.pack('<f', 3e38) * ((len(data) - begin) // 4))
END
cp -r late unmeasured
sed -i 's/"measured": *true/"measured":false/' unmeasured/${late#late/}/result.json
for out in late unmeasured; do
  expect "grid: $out: diverges after its training" 0 "diverged, and stays in the results as a point that did" \
    study $out "${alone[@]}" "${tasks[@]}"
  grep -Eq 'nats per token on average|right answers: ' out && fail "grid: $out: figures of a run that diverged: $(cat out)"
  grep -q '^dense/2x16/1000/.*,diverged,a,0,0,,,$' $out/points.csv || fail "grid: $out: $(cat $out/points.csv)"
done
echo '{"q": "The", "a": ["cat", "qx"], "y": 0}' >>tasks/pets/v.jsonl
expect "grid: other items" 0 "warning: 4 runs without scores of tasks" study tasks_first "${two[@]}" "${tasks[@]}"
[ "$(wc -l <tasks_first/tasks.csv)" = 1 ] || fail "grid: scores of other items are no scores"

# Routers and time, run by run.
[ "$(head -1 one/runs.csv)" = run,status,elapsed_s,energy_j ] || fail "grid: columns of runs.csv"
grep -q '^run,layer,load,entropy,' one/routers.csv || fail "grid: columns of routers.csv"
[ "$(cut -d/ -f1 one/routers.csv | sort -u | tr '\n' ' ')" = "moe run,layer,load,entropy,aux_loss,z_loss,overflow1,overflow2,unused_experts,top20,bottom20 " ] ||
  fail "grid: rows of routers.csv: $(cat one/routers.csv)"

echo '{"schema":"troupe.study.run/1","status":"fine"}' >"$(echo alone/runs/dense/2x16/1000/*/seed-1)/result.json"
expect "grid: a damaged result" 3 "result.json: status: expected one of ok, diverged, got" study alone "${alone[@]}"

finish
