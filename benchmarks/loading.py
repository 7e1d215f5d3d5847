"""Data loading alone: tokenising once, starting on tokens that are there, reading batches, hashing weights.

    python benchmarks/loading.py                        # 0.1 and 1 GB: some minutes on 2 cores, 5 GB of disk
    python benchmarks/loading.py --gb 0.1 1 4 --json

The corpus is made-up text in five languages (_corpus.py); each language is also measured alone. 100 MB are tokenised
whole by `tokenizers` alone too, right after ours, and the tokens are compared; of larger corpora it gets the first
20 MB, and the tokens of that part are compared. Both have all cores. Each measurement is a process of its own. Reading
is timed in the shuffled order of training, from a file that is not in Python's memory. With 1 GB, `explicitlm run` is
timed too, from typing it to its first step: two experiments in a project, of which the second finds the tokens.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from _corpus import LANGUAGES, write_corpus
from _loading_project import first_steps_of_runs
from _report import REPOSITORY, report

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.batches import BatchPlan, Windows
from explicitlm.lm.data.records import read_texts
from explicitlm.lm.data.source import digest_files
from explicitlm.lm.data.token_files import open_tokens
from explicitlm.lm.data.tokenizer import train_tokenizer
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.training.digest import digest_tensors

BATCHES = 200  # of the paper's shape: 48 sequences of 512 tokens
WHOLE_BYTES, BASELINE_BYTES = 100_000_000, 20_000_000  # `tokenizers` gets a small corpus whole, a large one's beginning
TOKENIZER_DOCUMENTS = 1200  # of all languages, some 4 MB
LANGUAGE_GB = 0.05  # of each language alone
TOKENS = ".explicitlm/tokens"  # where a training looks for them
TINY = ["--dim", "32", "--n_layers", "1", "--n_heads", "4", "--n_kv_heads", "2", "--knowledge_num", "256",
        "--knowledge_dim", "16", "--batch_size", "2", "--accumulation_steps", "1", "--max_seq_len", "64",
        "--log_interval", "1", "--save_interval", "1000000", "--digest_interval", "1000000"]  # fmt: skip


def measure(corpus: Path, digest: str, cache: Path, library: str, most: int) -> dict[str, Any]:
    """One run of benchmarks/_loading_worker.py."""
    words = [sys.executable, str(Path(__file__).with_name("_loading_worker.py")), str(corpus), digest]
    words += [str(corpus.parents[1] / "cache/tokenizer.json"), str(cache), library, str(most)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def write_world(folder: Path, size: int, languages: Collection[str]) -> Path:
    """A corpus, a tokenizer of its first part as it may come with data/cache, and a little to validate on."""
    for name in ("database", "benchmarks", "cache"):
        (folder / "data" / name).mkdir(parents=True)
    corpus = folder / "data/database/corpus.jsonl"
    write_corpus(corpus, size, languages)
    (folder / "data/benchmarks/x.jsonl").write_text('{"text": "a text to be measured by"}\n')
    tokenizer = train_tokenizer(itertools.islice(read_texts([corpus]), TOKENIZER_DOCUMENTS), TrainConfig().vocab_size)
    (folder / "data/cache/tokenizer.json").write_text(tokenizer.serialised, encoding="utf-8")
    return corpus


def tokenising(folder: Path, gigabytes: float, whole: int, languages: Collection[str] = LANGUAGES) -> dict[str, Any]:
    """A row of the table: ours on the whole corpus, `tokenizers` alone on it (up to `whole` bytes) or its beginning."""
    corpus = write_world(folder, int(gigabytes * 1e9), languages)
    size = corpus.stat().st_size
    start = time.perf_counter()
    digest = digest_files([corpus])
    hashed = time.perf_counter() - start
    ours = measure(corpus, digest, folder / TOKENS, "gigatoken", size)
    part = size if gigabytes * 1e9 <= whole else BASELINE_BYTES
    theirs = measure(corpus, "theirs", folder / "theirs", "tokenizers", part)
    same = ours if part == size else measure(corpus, "part", folder / "part", "gigatoken", part)
    return {
        "corpus": f"{gigabytes:g} GB" if languages == LANGUAGES else f"{gigabytes:g} GB {' '.join(languages)}",
        "hash_s": hashed,
        "tokenise_s": ours["seconds"],
        "mb_s": ours["bytes"] / 1e6 / ours["seconds"],
        "mb_cpu_s": ours["bytes"] / 1e6 / ours["cpu_seconds"],
        "baseline_mb": theirs["bytes"] / 1e6,
        "baseline_mb_s": theirs["bytes"] / 1e6 / theirs["seconds"],
        "baseline_mb_cpu_s": theirs["bytes"] / 1e6 / theirs["cpu_seconds"],
        "ratio": ours["bytes"] / ours["seconds"] / theirs["bytes"] * theirs["seconds"],
        "ratio_cpu": ours["bytes"] / ours["cpu_seconds"] / theirs["bytes"] * theirs["cpu_seconds"],
        "ids_equal": theirs["digest"] == same["digest"],
        "peak_mib": ours["peak_mib"],
        "peak_growth_mib": ours["peak_growth_mib"],
        "tokens": ours["tokens"],
    }


def first_steps(folder: Path) -> list[float]:
    """Seconds from the start of the command to its first step with tokens there: text unseen, then seen before."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        command = [sys.executable, str(REPOSITORY / "1_pretrain.py"), *TINY]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("step 1/"):
                    break
            else:
                raise SystemExit(
                    f"the training ended with code {process.wait()} before its first step:\n{''.join(lines)}"
                )
            seconds.append(time.perf_counter() - start)
            process.kill()
        if any(re.match("tokenised (?!1 )", line) for line in lines):  # one document is the validation text
            raise SystemExit("the training did not find the tokens")
    return seconds


def first_steps_of_command(folder: Path, config: TrainConfig) -> list[float]:
    """The same of `explicitlm run` in a project: two experiments on one corpus, the first of which makes the tokens."""
    pairs = zip(TINY[::2], TINY[1::2], strict=True)
    parameters = [f"{name.removeprefix('--')}={value}" for name, value in pairs]
    data = folder / "data"
    return first_steps_of_runs(
        folder,
        data / "database/corpus.jsonl",
        data / "cache/tokenizer.json",
        [*parameters, f"vocab_size={config.vocab_size}"],
    )


def reading(folder: Path, config: TrainConfig) -> dict[str, Any]:
    """Tokens a second from the mapped file to tensors; the first batch, and one in the middle of a fresh run."""
    folders = [path for path in (folder / TOKENS).iterdir() if path.is_dir()]
    found = open_tokens(max(folders, key=lambda path: (path / "tokens.bin").stat().st_size))
    assert found is not None
    windows = Windows(found.tokens_T, config.max_seq_len, pad_id=0)
    start = time.perf_counter()
    plan = BatchPlan(len(windows), 100, config.batch_size, 1, config.accumulation_steps, config.seed)
    windows.batch(plan.ids(0, 0, 0))
    first = time.perf_counter() - start
    start = time.perf_counter()
    plan.ids(plan.steps // 2, config.accumulation_steps // 2, 0)
    seek = time.perf_counter() - start
    start = time.perf_counter()
    for number in range(BATCHES):
        step, micro = divmod(number, config.accumulation_steps)
        inputs_BS, targets_BS = (torch.from_numpy(ids) for ids in windows.batch(plan.ids(step, micro, 0)))
        del inputs_BS, targets_BS
    seconds = (time.perf_counter() - start) / BATCHES
    tokens = config.batch_size * config.max_seq_len
    return {
        "windows": len(windows),
        "first_batch_s": first,
        "seek_ms": seek * 1e3,
        "batch_ms": seconds * 1e3,
        "read_tokens_s": tokens / seconds,
    }


def hashing(config: TrainConfig) -> dict[str, Any]:
    """Seconds of one link of the digest chain, and its share of the steps between two links."""
    torch.manual_seed(0)
    model = ExplicitLM(config, pad_id=0)
    start = time.perf_counter()
    digest_tensors(model.state_dict())
    link = time.perf_counter() - start
    ids_BS = torch.randint(4, config.vocab_size, (2, config.max_seq_len))
    model.build_index()  # once a training, no part of a step
    start = time.perf_counter()
    model(ids_BS, ids_BS).loss.backward()
    sequences = config.batch_size * config.accumulation_steps
    step = (time.perf_counter() - start) / 2 * sequences
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return {
        "weights_mib": size / 2**20,
        "link_s": link,
        "step_s": step,
        "share_of_step": link / config.digest_interval / step,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--gb", type=float, nargs="+", default=(0.1, 1.0), help="sizes of the corpus, ascending")
    options = parser.parse_args()
    config = TrainConfig()  # the paper's: dim 512, 8 layers, N 1,048,576, 48 sequences of 512 tokens, 16 a step
    rows, starts, runs = [], {}, {}
    for gigabytes in options.gb:
        with tempfile.TemporaryDirectory() as name:
            rows.append(tokenising(Path(name), gigabytes, WHOLE_BYTES))
            starts[gigabytes] = first_steps(Path(name))
            read = reading(Path(name), config)
            if gigabytes == 1.0:
                runs[gigabytes] = first_steps_of_command(Path(name), config)
    alone = []
    for language in LANGUAGES:
        with tempfile.TemporaryDirectory() as name:
            alone.append(tokenising(Path(name), LANGUAGE_GB, 0, [language]))
    hashed = hashing(config)
    numbers = {
        "tokenise_over_tokenizers": round(min(row["ratio"] for row in rows), 1),
        "ids_equal": all(row["ids_equal"] for row in [*rows, *alone]),
        "first_step_s_1gb": round(starts[1.0][1], 2) if 1.0 in starts else None,
        "run_first_step_s_1gb": round(runs[1.0][1], 2) if runs else None,
        "peak_growth_ratio": round(rows[-1]["peak_growth_mib"] / max(rows[0]["peak_growth_mib"], 1.0), 2),
        "read_tokens_per_second": round(read["read_tokens_s"]),
        "digest_share_of_step": hashed["share_of_step"],
    }
    first = [{"corpus_gb": size, "text_unseen_s": both[0], "text_seen_s": both[1]} for size, both in starts.items()]
    commands = [{"corpus_gb": size, "first_run_s": both[0], "second_run_s": both[1]} for size, both in runs.items()]
    tables = {
        "tokenising": rows,
        "each language alone": alone,
        "first step": first,
        "first step of explicitlm run": commands,
        "reading": [read],
        "digest": [hashed],
    }
    report("data loading alone", {name: rows for name, rows in tables.items() if rows}, numbers, options.json)


if __name__ == "__main__":
    main()
