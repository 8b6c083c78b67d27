#!/usr/bin/env python3
"""Compares `troupe eval tasks --convention harness` with EleutherAI's lm-evaluation-harness itself.

The harness (PyPI: lm-eval) runs its own task definitions on the same released files, converted to the schemas of the
Hugging Face datasets that it expects; its requests are tokenised by `troupe tokenizer` and answered by `troupe score`.
Then every log-probability, every choice and every figure is compared with those of `troupe eval tasks`. With --shots the
harness puts the examples in front that troupe drew. CrowS-Pairs is compared by its figures (`troupe eval bias`).
With --peer transformers nothing of troupe is in the harness's part: its own `hf` model runs the Hugging Face directory
--model in float32 on the CPU, with transformers' tokenizer; that needs transformers 5.

    pip install lm-eval "transformers<5" "datasets<5" safetensors      # --peer transformers: without the first "<5"
    tools/peers/lm_eval_parity.py --troupe build/release/src/cli/troupe --model DIR --data-dir DIR [--limit N] [TASK...]

Prints one line per figure, and passes over tasks whose files are not there; exit status 1 if anything differs.
"""
import argparse
import csv
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
import datasets
import lm_eval
import lm_eval.api.task
import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.tasks import TaskManager
from safetensors.numpy import load_file, save_file

# log P of one request: the same kernels on batches of other shapes, float32.
TOLERANCE = 2e-3


def jsonl(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


def table(path, **options):
    return list(csv.DictReader(open(path, encoding="utf-8", newline=""), **options))


def tsv(path):
    return table(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def lines(path):
    return [line.strip() for line in open(path, encoding="utf-8")]


def model_directory(path):
    """A model directory as troupe itself finds it: PATH, or the newest checkpoint of the run PATH."""
    if not (Path(path) / "config.json").exists():
        checkpoints = sorted(Path(path).glob("checkpoints/step-*/config.json"))
        if not checkpoints:
            raise argparse.ArgumentTypeError(f"{path}: expected config.json, or checkpoints/step-* of a run")
        path = checkpoints[-1].parent
    return str(path)


def first_word_among(text, words):
    word = ""
    for c in text + " ":
        if c.isascii() and c.isalpha():
            word += c
            continue
        if word.lower() in words:
            return word.lower()
        word = ""
    raise ValueError(f"no pronoun in {text!r}")


def choices(question):
    return {"text": [c["text"] for c in question["choices"]], "label": [c["label"] for c in question["choices"]]}


def record_rows(path):
    rows = []
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = json.loads(line)
        text = line["passage"]["text"]
        entities = {text[e["start"]: e["end"] + 1] for e in line["passage"]["entities"]}
        for i, qa in enumerate(line["qas"]):
            rows.append({"passage": text, "query": qa["query"], "entities": list(entities), "place": f"{path}:{number}: qas[{i}]",
                         "answers": [a["text"] for a in qa["answers"]]})
    return rows


def multirc_rows(path):
    return [{"paragraph": line["passage"]["text"], "question": q["question"], "answer": a["text"], "label": a["label"]}
            for line in jsonl(path) for q in line["passage"]["questions"] for a in q["answers"]]


def winogender_rows(path):
    rows = []
    for line in tsv(path):
        occupation, participant, answer, gender, _ = line["sentid"].split(".")
        pronoun = first_word_among(line["sentence"], ["he", "his", "him", "she", "her", "they", "their", "them"])
        rows.append(dict(line, pronoun=pronoun, occupation=occupation, participant=participant, gender=gender,
                         label=int(answer)))
    return rows


# Our task -> (harness task, rows of a file in the schema of its Hugging Face dataset, items, examples).
def sources():
    glue_labels = ["entailment", "neutral", "contradiction"]

    def hellaswag(path):
        return [dict({k: r[k] for k in ("ind", "activity_label", "ctx_a", "ctx_b", "endings")}, label=str(r["label"]))
                for r in jsonl(path)]

    def piqa(path):
        labels = lines(path.with_name(path.stem + "-labels.lst"))
        return [dict(r, label=int(label)) for r, label in zip(jsonl(path), labels, strict=True)]

    def storycloze(path):
        return [{"story_id": r["InputStoryid"], "answer_right_ending": int(r["AnswerRightEnding"]),
                 **{f"input_sentence_{i}": r[f"InputSentence{i}"] for i in (1, 2, 3, 4)},
                 **{f"sentence_quiz{i}": r[f"RandomFifthSentenceQuiz{i}"] for i in (1, 2)}} for r in table(path)]

    def openbookqa(path):
        return [{"question_stem": r["question"]["stem"], "choices": choices(r["question"]), "answerKey": r["answerKey"]}
                for r in jsonl(path)]

    def arc(path):
        return [{"question": r["question"]["stem"], "choices": choices(r["question"]), "answerKey": r["answerKey"]}
                for r in jsonl(path)]

    def with_labels(labels):
        return lambda path: [dict(r, label=labels.index(r["label"])) for r in jsonl(path)]

    def whole_labels(path):
        return [dict(r, label=int(r["label"])) for r in (tsv if path.suffix == ".tsv" else jsonl)(path)]

    def wsc(path):
        return [{"text": r["text"], **r["target"], "label": int(r["label"])} for r in jsonl(path)]

    return {
        "hellaswag": ("hellaswag", hellaswag, "hellaswag_val.jsonl", None),
        "piqa": ("piqa", piqa, "valid.jsonl", None),
        "winogrande": ("winogrande", jsonl, "dev.jsonl", "train_s.jsonl"),
        "storycloze": ("storycloze_2016", storycloze, "cloze_test_val.csv", None),
        "openbookqa": ("openbookqa", openbookqa, "test.jsonl", "train.jsonl"),
        "arc_easy": ("arc_easy", arc, "ARC-Easy-Test.jsonl", "ARC-Easy-Train.jsonl"),
        "arc_challenge": ("arc_challenge", arc, "ARC-Challenge-Test.jsonl", "ARC-Challenge-Train.jsonl"),
        "lambada": ("lambada_openai", jsonl, "lambada_test.jsonl", None),
        "boolq": ("boolq", whole_labels, "val.jsonl", "train.jsonl"),
        "copa": ("copa", jsonl, "val.jsonl", "train.jsonl"),
        "cb": ("cb", with_labels(["entailment", "contradiction", "neutral"]), "train.format.jsonl", None),
        "rte": ("sglue_rte", with_labels(["entailment", "not_entailment"]), "val.jsonl", "train.jsonl"),
        "wic": ("wic", whole_labels, "train.format.jsonl", None),
        "wsc": ("wsc", wsc, "val.jsonl", "train.jsonl"),
        "multirc": ("multirc", multirc_rows, "val.jsonl", "train.jsonl"),
        "record": ("record", record_rows, "val.jsonl", "train.jsonl"),
        "mnli": ("mnli", with_labels(glue_labels), "dev_matched.jsonl", "train.jsonl"),
        "sst2": ("sst2", whole_labels, "dev.tsv", "train.tsv"),
        "winogender": ("winogender_all", winogender_rows, "all_sentences.tsv", None),
        "blimp": (None, jsonl, "*.jsonl", None),
    }


class TroupeLM(TemplateLM):
    """The harness's own request handling over troupe's tokenizer and scores."""

    def __init__(self, troupe, model, context, folder):
        super().__init__()
        self.troupe, self.model, self.folder = troupe, model, Path(folder)
        config = json.load(open(Path(model) / "config.json"))
        self.eos, self.max_length = config["eos_id"], context or config["context"]
        self.ids = {}

    @property
    def eot_token_id(self):
        return self.eos

    def tok_encode(self, string, add_special_tokens=None, **kwargs):
        return self.ids[string]

    def encode_all(self, strings):
        strings = [s for s in dict.fromkeys(strings) if s not in self.ids]
        text = "".join(json.dumps({"text": s}) + "\n" for s in strings)
        result = subprocess.run([self.troupe, "tokenizer", "encode", "--tokenizer", self.model, "--jsonl"], input=text,
                                capture_output=True, text=True, check=True)
        self.ids.update(zip(strings, (json.loads(line)["ids"] for line in result.stdout.splitlines()), strict=True))

    def loglikelihood(self, requests, disable_tqdm=False):
        strings = []
        for context, continuation in (r.args for r in requests):
            strings += [continuation, context + continuation, context.rstrip()]
        self.encode_all(strings)
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests, **kwargs):
        answers = [None] * len(requests)
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        for begin in range(0, len(order), 512):
            part = order[begin:begin + 512]
            rows = []
            for i in part:
                _, context, continuation = requests[i]
                if len(continuation) > self.max_length:  # the harness refuses these; troupe scores them in pieces
                    raise SystemExit(f"a candidate has {len(continuation)} tokens: use a larger --context")
                ids = (context + continuation)[-(self.max_length + 1):]
                rows.append((ids[:-1], ids[1:], len(continuation)))
            width = max(len(src) for src, _, _ in rows)
            src = np.full((len(rows), width), self.eos, np.int64)
            tgt = np.full((len(rows), width), -1, np.int64)
            for row, (inputs, targets, scored) in enumerate(rows):
                src[row, :len(inputs)] = inputs
                tgt[row, len(targets) - scored:len(targets)] = targets[len(targets) - scored:]
            save_file({"src": src, "tgt": tgt}, self.folder / "in.safetensors")
            subprocess.run([self.troupe, "score", "--model", self.model, "--tokens", self.folder / "in.safetensors", "--out",
                            self.folder / "out.safetensors", "--precision", "fp32", "--greedy"],
                           capture_output=True, check=True)
            out = load_file(self.folder / "out.safetensors")
            scores = out["logprobs"].astype(np.float64).sum(axis=1)
            greedy = np.where(tgt >= 0, out["greedy"] == 1, True).all(axis=1)
            for row, i in enumerate(part):
                answers[i] = (float(scores[row]), bool(greedy[row]))
        return answers

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def generate_until(self, requests, disable_tqdm=False):
        raise NotImplementedError


def transformers_model(path, context):
    import transformers
    from lm_eval.models.huggingface import HFLM
    names = json.load(open(Path(path) / "tokenizer_config.json"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(Path(path) / "tokenizer.json"),
        **{key: names[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token") if names.get(key)})
    return HFLM(pretrained=path, tokenizer=tokenizer, device="cpu", dtype="float32", batch_size=8,
                max_length=context or None)


def run_harness(lm, manager, name, rows, limit, pool=(), examples=()):
    """Scores of the first `limit` rows in order, and the figures; `examples` are the rows of `pool` put in front."""
    def load_dataset(*args, **kwargs):
        splits = {s: datasets.Dataset.from_list(rows) for s in ("validation", "test", "validation_matched")}
        return datasets.DatasetDict(splits, train=datasets.Dataset.from_list(list(pool) or rows))

    lm_eval.api.task.datasets.load_dataset = load_dataset
    lm_eval.api.task.samplers.ContextSampler.sample = lambda self, n, **kwargs: [self.df[i] for i in examples]
    results = lm_eval.simple_evaluate(model=lm, tasks=[name], num_fewshot=len(examples), limit=limit, log_samples=True,
                                      bootstrap_iters=0, task_manager=manager)
    samples = sorted(results["samples"][name], key=lambda s: s["doc_id"])
    answers = [[(float(r[0]), bool(r[1])) for r in s["filtered_resps"]] for s in samples]
    figures = {key.split(",")[0]: value for key, value in results["results"][name].items()
               if key.endswith(",none") and "stderr" not in key}
    return answers, figures


def run_troupe(arguments, command, *flags):
    command = [arguments.troupe, "eval", command, "--model", arguments.model, "--data-dir", arguments.data_dir,
               "--precision", "fp32", "--json", *flags]
    if arguments.context:
        command += ["--context", str(arguments.context)]
    return list(map(json.loads, subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()))


def run_troupe_task(arguments, task, folder):
    flags = ["--tasks", task, "--convention", "harness", "--details", f"{folder}/details.jsonl"]
    if arguments.limit:
        flags += ["--limit", str(arguments.limit)]
    if arguments.shots:
        flags += ["--shots", str(arguments.shots), "--draws", "1"]
    figures = run_troupe(arguments, "tasks", *flags)
    items = {}
    for detail in jsonl(f"{folder}/details.jsonl"):
        items.setdefault(detail["where"], []).append(detail)
    return items, figures


def compare_items(task, theirs, ours):
    if len(theirs) != len(ours):
        return [f"{task}: {len(theirs)} items there, {len(ours)} here"], 0.0
    failures, largest = [], 0.0
    for i, (a, b) in enumerate(zip(theirs, ours)):
        if len(a) != len(b):
            failures.append(f"{task}: item {i}: {len(a)} candidates there, {len(b)} here")
            continue
        difference = max(abs(x[0] - y["logprob"]) for x, y in zip(a, b))
        largest = max(largest, difference)
        if difference > TOLERANCE:
            failures.append(f"{task}: item {i}: log P differs by {difference:.4f}: {a} there, {b} here")
        there, here = (int(np.argmax(scores)) for scores in ([x[0] for x in a], [y["logprob"] for y in b]))
        if there != here and a[there][0] - a[here][0] > TOLERANCE:  # not a tie
            failures.append(f"{task}: item {i}: candidate {there} there, {here} here")
        if [x[1] for x in a] != [y["greedy"] for y in b]:
            failures.append(f"{task}: item {i}: another greedy mark: {a} there, {b} here")
    return failures, largest


def compare_figures(task, n, theirs, ours):
    """Counts must be equal, what is made of log-probabilities to a hundred-thousandth."""
    failures = []
    for metric, value in theirs.items():
        here = ours.get(metric)
        exact = metric not in ("perplexity", "likelihood_diff")
        equal = here is not None and abs(value - here) <= (1e-9 if exact else 1e-5 * max(1.0, abs(value)))
        if not equal:
            failures.append(f"{task}: {metric}: {value} there, {here} here")
        print(f"{task:13} {metric:15} n {n:6}  harness {value:12.6g}  troupe {here if here is not None else '-':12.6g}  "
              f"{'equal' if equal else 'DIFFERENT'}", flush=True)
    return failures


def parity_of_task(arguments, lm, manager, task, folder):
    name, read_rows, file, pool_file = sources()[task]
    data = arguments.data_dir / task
    items, figures = run_troupe_task(arguments, task, folder)
    whole = {r["metric"]: r["value"] for r in figures if not r["group"]}
    if task == "blimp":  # a harness task per phenomenon
        failures, largest, accuracies = [], 0.0, []
        for path in sorted(data.glob(file)):
            ours = [item for where, item in items.items() if where.startswith(f"{path}:")]
            if not ours:
                continue
            answers, found = run_harness(lm, manager, f"blimp_{path.stem}", read_rows(path), len(ours))
            accuracies.append(found["acc"])
            of_group = {r["metric"]: r["value"] for r in figures if r["group"] == path.stem}
            different, most = compare_items(task, answers, ours)
            failures += different
            if found["acc"] != of_group["acc"]:
                failures.append(f"{task}: {path.stem}: {found['acc']} there, {of_group['acc']} here")
            largest = max(largest, most)
        found = {"acc": float(np.mean(accuracies))}
    else:
        rows = read_rows(data / file)
        if arguments.shots:
            pool = read_rows(data / pool_file)
            # The place of a record names its line; a table's first is the header. ReCoRD has several rows a line.
            first_line = 2 if pool_file.endswith(".tsv") else 1
            places = [r.pop("place") for r in pool] if task == "record" else [
                f"{data / pool_file}:{i + first_line}" for i in range(len(pool))]
            drawn = next(iter(items.values()))[0]["examples"]
            if any(item[0]["examples"] != drawn for item in items.values()):
                return [f"{task}: expected the same examples in front of all items (use a larger --context)"]
            examples = [places.index(place) for place in drawn]
        else:
            pool, examples = (), ()
        for row in rows:
            row.pop("place", None)
        answers, found = run_harness(lm, manager, name, rows, arguments.limit, pool, examples)
        failures, largest = compare_items(task, answers, list(items.values()))
    failures += compare_figures(task, len(items), found, whole)
    print(f"{task:13} largest difference of a log P: {largest:.2e}", flush=True)
    return failures


def parity_of_crows_pairs(arguments, lm, manager):
    ours = {r["metric"]: r for r in run_troupe(arguments, "bias", "--sets", "crows_pairs") if r["category"] == "all"}
    rows = table(arguments.data_dir / "crows_pairs/crows_pairs_anonymized.csv")
    rows = [{k: r[k] for k in ("sent_more", "sent_less", "bias_type")} for r in rows]
    _, found = run_harness(lm, manager, "crows_pairs_english", rows, None)
    return compare_figures("crows_pairs", ours["pct_stereotype"]["n"], found, {k: r["value"] for k, r in ours.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--troupe", default="troupe")
    parser.add_argument("--model", required=True, type=model_directory,
                        help="model directory with tokenizer.json, or a run's folder (its newest checkpoint is taken)")
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--limit", type=int, help="only the first N items of each task")
    parser.add_argument("--shots", type=int, default=0, help="examples in front, from the training split")
    parser.add_argument("--context", type=int, default=0, help="longest sequence (default: the model's context)")
    parser.add_argument("--peer", choices=["troupe", "transformers"], default="troupe",
                        help="who answers the harness: `troupe score`, or transformers by the harness's own model")
    parser.add_argument("tasks", nargs="*", help="default: all whose files are there")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    known = [*sources(), "crows_pairs"]
    if unknown := set(arguments.tasks) - set(known):
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))} (known: {', '.join(known)})")
    manager = TaskManager()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        lm = (transformers_model(arguments.model, arguments.context) if arguments.peer == "transformers" else
              TroupeLM(arguments.troupe, arguments.model, arguments.context, folder))
        for task in arguments.tasks or known:
            if task == "crows_pairs":
                if not arguments.shots:
                    failures += parity_of_crows_pairs(arguments, lm, manager)
                continue
            _, _, file, pool_file = sources()[task]
            wanted = [file, pool_file] if arguments.shots else [file]
            missing = [f for f in wanted if not f or not any((arguments.data_dir / task).glob(f))]
            if missing:
                print(f"{task:13} passed over: no {missing[0] or 'examples'} in {arguments.data_dir / task}", flush=True)
                continue
            failures += parity_of_task(arguments, lm, manager, task, folder)
    for failure in failures[:40]:
        print(failure[:600], file=sys.stderr)
    print(f"lm-eval {lm_eval.__version__}: {len(failures)} differences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
