#!/usr/bin/env bash
# Studies of several processes, of both forms: every training by all of them, with the figures of one process; killed, the
# study goes on with any number.
#   ranks_study_test.sh PROGRAM TEST_DATA MPIRUN
. "$(dirname "$0")/expect.sh"
needs_ranks "$3"
export TROUPE_ISA=generic  # with which studies evaluate in float32

cp -r "$2/corpus" corpus
study_models 5
cat >study.toml <<'END'
[study]
corpus = "corpus"
vocab_size = 300
models = ["dense=dense.toml", "moe=moe.toml"]
tokens = 1500
seeds = [1, 2]
prompts = ["the"]
sample_tokens = 5
END
mkdir -p data/pets own
for i in $(seq 12); do echo "{\"q\": \"pet $i sat on\", \"a\": [\" mat $i\", \" dog\"], \"y\": $((i % 2))}"; done >data/pets/v.jsonl
pets_task >own/pets.toml
cat >grid.toml <<'END'
[study]
corpus = "corpus"
vocab_size = 300
valid_tokens = 500
[study.grid]
families = ["dense=dense.toml", "moe=moe.toml"]
sizes = ["2x16"]
tokens = [1000, 3000]
lr_trials = 3
speed_seconds = 0
[study.tasks]
names = ["own/pets.toml"]
data_dir = "data"
END

# Figures of two studies: those of losses within 1e-5, all others but of time and place equal.
same() {
  python3 - "$@" <<'END' || fail "$1 and $2 differ"
import csv, json, math, pathlib, sys
a, b = (pathlib.Path(p) for p in sys.argv[1:])
skipped = {'seconds', 'tokens_per_s', 'tokens_per_second', 'train_seconds', 'provenance', 'trained_by', 'time_s', 'mfu'}
def compare(x, y, where):
    if isinstance(x, dict):
        assert x.keys() == y.keys(), (where, x.keys() ^ y.keys())
        for key in x.keys() - skipped: compare(x[key], y[key], f'{where}.{key}')
    elif isinstance(x, list):
        assert len(x) == len(y), (where, len(x), len(y))
        for i, (u, v) in enumerate(zip(x, y)): compare(u, v, f'{where}[{i}]')
    elif isinstance(x, float) and isinstance(y, (int, float)):
        assert math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-5) or x != x and y != y, (where, x, y)
    else:
        assert x == y, (where, x, y)
def number(text):
    try: return float(text)
    except ValueError: return text
def table(path):
    return [{key: number(value) for key, value in row.items()} for row in csv.DictReader(open(path))]
if (a / 'points.csv').exists():
    for name in ('points.csv', 'trials.csv', 'tasks.csv'):
        rows = table(a / name)
        assert rows, name
        compare(rows, table(b / name), name)
else:
    compare(json.load(open(a / 'summary.json')), json.load(open(b / 'summary.json')), 'summary')
END
}

"$program" study study.toml --out one >/dev/null 2>log || fail "a study: $(cat log)"
on 2 study study.toml --out two >out.two 2>log || fail "2 ranks: $(cat log)"
same one two
[ "$(tail -1 out.two)" = two/report.html ] && [ -s two/report.html ] || fail "2 ranks: stdout: $(cat out.two)"
grep -qF 'ranks: 2 (' log || fail "2 ranks: the log: $(cat log)"
python3 - <<'END' || fail "ranks of a run: $(cat two/moe/seed-1/summary.json)"
import json
s = json.load(open('two/moe/seed-1/summary.json'))
assert s['ranks'] == 2 and s['experts_per_rank'] == [2, 3] and s['sequences_per_rank'] == [2, 2], s
END
on 3 study study.toml --out two >out.again 2>log || fail "again, on 3 ranks: $(cat log)"
diff out.two out.again || fail "again, on 3 ranks: other results"

"$program" study grid.toml --out grid >/dev/null 2>log || fail "a grid: $(cat log)"
# One of three ranks killed in its second training; two ranks, then one process go on.
"$mpirun" -n 3 "$program" study grid.toml --out cut --set study.grid.speed_seconds=0.01 >/dev/null 2>cut.log &
job=$!
for _ in $(seq 300); do
  [ "$(find cut/runs -name result.json 2>/dev/null | wc -l)" -lt 1 ] || break
  sleep 0.05
done
kill -9 "$(pgrep -P $job | tail -1)"
wait $job
[ $? = 137 ] || fail "a killed rank: $(cat cut.log)"
done_before=$(find cut/runs -name result.json | wc -l)
[ "$done_before" -ge 1 ] && [ "$done_before" -lt 8 ] || fail "a killed rank: $done_before runs were done"
on 2 study grid.toml --out cut >/dev/null 2>log || fail "a grid goes on: $(cat log)"
same grid cut
"$program" study grid.toml --out cut >/dev/null 2>log || fail "a grid, one process: $(cat log)"
same grid cut

# A diverged run is a point, and the study goes on.
on 2 study grid.toml --out diverged --set study.grid.lr_trials=0 --set 'study.grid.families=["dense=wild.toml"]' >/dev/null 2>log
[ $? = 2 ] && grep -q '^error: .*wild.toml' log && [ "$(grep -c '^error' log)" = 1 ] || fail "a missing file: $(cat log)"
printf 'base = "dense.toml"\n[train.schedule]\nlr = 1e30\nwarmup_steps = 0\n[train]\nclip_norm = 0.0\n' >wild.toml
on 2 study grid.toml --out diverged --set study.grid.lr_trials=0 --set 'study.grid.families=["dense=dense.toml","wild=wild.toml"]' \
  >/dev/null 2>log || fail "a run that diverges: $(cat log)"
[ "$(cut -d, -f2,22 diverged/points.csv | grep -c 'wild,diverged')" -ge 2 ] || fail "a run that diverges: $(cut -d, -f2,22 diverged/points.csv)"

one_error() { [ "$(grep -c '^error' out)" = 1 ] || fail "expected one error, got $(cat out)"; }
expect "too few sequences" 2 "expected at least 5 sequences in a micro-batch" on 5 study study.toml --out no
one_error
expect "a plan" 2 "--dry-run: expected one process, got 2 ranks" on 2 study grid.toml --out no --dry-run
one_error
[ ! -e no ] || fail "a refused study left $(ls no)"
finish
