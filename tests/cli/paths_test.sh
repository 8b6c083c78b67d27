#!/bin/bash
# Relative paths: those in a file start from its folder, those of flags from the working directory, whatever that is.
# Usage: paths_test.sh PROGRAM TEST_DATA
. "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
bpe=$(realpath "$2/gpt2-bpe")

mkdir -p project/configs project/bases project/data project/tasks/pets elsewhere/deep
echo '{"q":"The 3th cat sat on","a":[" mat"," dog"],"y":0}' >project/tasks/pets/v.jsonl
pets_task >project/tasks/pets.toml
cats 40 >text.txt
"$program" encode --tokenizer "$bpe" --out project/data/mine text.txt >/dev/null 2>&1
"$program" encode --tokenizer "$bpe" --out elsewhere/other text.txt >/dev/null 2>&1
{ small_model 1 16; cat <<'END'; } >project/bases/base.toml
[train]
steps = 2
batch_sequences = 2
precision = "fp32"
[train.tasks]
names = ["../tasks/pets.toml"]
data_dir = "../tasks"
[data]
valid = ["held out=../data/mine"]
END
cat >project/configs/run.toml <<'END'
base = "../bases/base.toml"
[data]
train = ["../data/mine"]
END
in_folder() { (cd "$1" && shift && "$@"); }

for folder in . project project/configs elsewhere/deep; do
  config=$(realpath --relative-to=$folder project/configs/run.toml)
  expect "config show in $folder" 0 "" in_folder $folder "$program" config show "$config"
  expect "train in $folder" 0 "r/model" in_folder $folder "$program" train "$config" --run r
done
expect "the values" 0 'train = ["../../project/configs/../data/mine"]  # ../../project/configs/run.toml:3' \
  in_folder elsewhere/deep "$program" config show ../../project/configs/run.toml
expect "of a base" 0 'valid = ["held out=../../project/configs/../bases/../data/mine"]  # ../../project/configs/../bases/base.toml:17' \
  in_folder elsewhere/deep "$program" config show ../../project/configs/run.toml
expect "of a task" 0 'names = ["../../project/configs/../bases/../tasks/pets.toml"]' \
  in_folder elsewhere/deep "$program" config show ../../project/configs/run.toml
expect "a built-in task stays a name" 0 'names = ["piqa"]' \
  in_folder elsewhere/deep "$program" config show ../../project/configs/run.toml --set train.tasks.names=piqa
expect "--set" 0 'train = ["../other"]  # --set' \
  in_folder elsewhere/deep "$program" config show ../../project/configs/run.toml --set data.train=../other
expect "train --set" 0 "s/model" \
  in_folder elsewhere/deep "$program" train ../../project/configs/run.toml --run s --set data.train=../other

# What a run records is a file like any other.
expect "figures of the task" 0 '"task":"pets"' cat elsewhere/deep/r/metrics.jsonl
expect "the record of a task" 0 'names = ["../../../project/tasks/pets.toml"]' cat elsewhere/deep/r/config.toml
expect "the record of its data" 0 'data_dir = "../../../project/tasks"' cat elsewhere/deep/r/config.toml
expect "the record" 0 'train = ["../../../project/data/mine"]' cat elsewhere/deep/r/config.toml
expect "the record of --set" 0 'train = ["../../other"]' cat elsewhere/deep/s/config.toml
expect "training it again" 0 "again/model" "$program" train elsewhere/deep/r/config.toml --run again
expect "an equal record" 0 'train = ["../project/data/mine"]' cat again/config.toml
expect "the same model" 0 "" cmp elsewhere/deep/r/model/model.safetensors again/model/model.safetensors
expect "resuming from another folder" 0 "r/model" \
  in_folder project "$program" train configs/run.toml --run ../elsewhere/deep/r --resume --set train.steps=3
expect "a report from another folder" 0 "page.html" in_folder project/data "$program" report ../../elsewhere/deep/r --out page.html
sed -i 's|"../data/mine"|"'"$work"'/project/data/mine"|' project/configs/run.toml
expect "an absolute path" 0 "abs/model" in_folder elsewhere "$program" train ../project/configs/run.toml --run abs
expect "stays absolute" 0 "train = [\"$work/project/data/mine\"]" cat elsewhere/abs/config.toml
finish
