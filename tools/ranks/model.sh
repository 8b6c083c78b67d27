# Sourced by the scripts of this folder that measure: a folder to work in, with data and run.toml of one of the models of
# `troupe bench step` ($model), $sequences an update.
case $model in
moe16-6x256) layers=6 width=256 heads=4 context=256 experts=16 sequences=32 micro=0 ;;
moe8-12x768) layers=12 width=768 heads=12 context=1024 experts=8 sequences=8 micro=4 ;;
*) echo "MODEL: expected moe16-6x256 or moe8-12x768, got $model" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_hwloc_base_binding_policy=none
python3 - <<'PYTHON'
import random
random.seed(1)
words = [''.join(random.choices('abcdefghijklmnopqrstuvwxyz', k=random.randint(2, 9))) for _ in range(6000)]
with open('text.txt', 'w') as out:
    for _ in range(4000):
        out.write(' '.join(random.choices(words, k=60)) + '\n')
PYTHON
quietly() { "$@" >/dev/null 2>log.txt || { cat log.txt >&2; exit 4; }; }
quietly "$program" tokenizer train --vocab-size 8192 --out tok text.txt
quietly "$program" encode --tokenizer tok --out data text.txt
cat >run.toml <<TOML
[model]
num_layers = $layers
d_model = $width
num_heads = $heads
d_ff = $((4 * width))
vocab_size = 8192
context = $context
[model.moe]
num_experts = $experts
every = 2
top_k = 2
group_sequences = 1
[train]
steps = $updates
batch_sequences = $sequences
micro_sequences = $micro
precision = "auto"
log_every = 1
checkpoint_every = 0
[train.schedule]
lr = 1e-4
[data]
train = ["data"]
TOML
