#!/bin/bash
# The study of fine-tuning at our scale (Table 4 of Artetxe et al. 2021): a dense model and its sparse twin, one factor at a
# time from one default, alike for both where both have it. Says what every part would take; with --go it runs what is
# not there yet, one after the other, and goes on where it was stopped.
#
#   tools/finetune_pair.sh TROUPE PAIR TASKS OUT [--go]
#
# PAIR is the folder of `troupe study configs/finetune-pair.toml --out PAIR`, TASKS that of the tasks' data. Results are
# the lines troupe.finetune_result/1 of OUT/*.jsonl. EPOCHS (3), BATCH (16), LR (1e-4) and LIMIT (2000 training items of a
# task) may be set.
set -eu
troupe=$1 pair=$2 tasks=$3 out=$4 go=${5:-}
epochs=${EPOCHS:-3} batch=${BATCH:-16} lr=${LR:-1e-4} limit=${LIMIT:-2000}
times() { python3 -c "print($lr * $1)"; }

# part NAME MODEL TASKS SETTING...
part() {
  local name=$1 model=$2 which=$3 settings=()
  shift 3
  for setting in "finetune.epochs=$epochs" "finetune.batch_sequences=$batch" "finetune.lr=$lr" "finetune.train_limit=$limit" "$@"; do
    settings+=(--set "$setting")
  done
  local flags=(finetune --model "$pair/$model/model" --task "$which" --data-dir "$tasks" --run "$out/$name" "${settings[@]}")
  if [ "$go" != --go ]; then
    echo "== $name"
    "$troupe" "${flags[@]}" --resume --dry-run --quiet
  elif [ ! -s "$out/$name.jsonl" ]; then
    "$troupe" "${flags[@]}" --resume --json >"$out/$name.part"
    mv "$out/$name.part" "$out/$name.jsonl"
  fi
}

[ "$go" = --go ] && mkdir -p "$out"
for model in dense moe; do
  part "$model" $model sst2 "finetune.seeds=1,2,3"
  for factor in 3 10; do part "$model-lr-x$factor" $model sst2 "finetune.lr=$(times $factor)"; done
  part "$model-batch-64" $model sst2 finetune.batch_sequences=64
  part "$model-freeze-all_but_attention" $model sst2 finetune.freeze=all_but_attention
  part "$model-others" $model mnli,boolq,openbookqa,hellaswag,piqa,winogrande,storycloze
done
for freeze in experts router all_but_experts all_but_chosen_experts; do
  part "moe-freeze-$freeze" moe sst2 "finetune.freeze=$freeze"
done
part moe-expert-dropout moe sst2 model.moe.expert_dropout=0.4
part moe-no-balance-loss moe sst2 model.moe.aux_loss_weight=0
