"""Data loading alone: tokenising once, reading batches, hashing weights; and what that is of a training step.

    python benchmarks/loading.py           # about two minutes on 2 cores
    python benchmarks/loading.py --json

Tokenising is timed on generated JSON lines, memory as the growth of the process's peak over it, so that a corpus
of any size can be judged: memory must not grow with it. Reading is timed from a file that is not in Python's
memory, in the shuffled order of training.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _report import report

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.data.batches import BatchPlan, Windows
from explicitlm.lm.data.hashing import permutation
from explicitlm.lm.data.source import digest_files, find_files, read_texts
from explicitlm.lm.data.token_files import prepare_tokens
from explicitlm.lm.data.tokenizer import load_or_train
from explicitlm.lm.model import ExplicitLM
from explicitlm.lm.training.digest import digest_tensors

BATCHES = 200  # of the paper's shape: 48 sequences of 512 tokens
WORDS = 4000


def write_corpus(path: Path, megabytes: int) -> None:
    """JSON lines of made-up words, a few hundred characters a document; equal on every machine."""
    words = ["".join(chr(97 + (number >> shift) % 26) for shift in (0, 3, 6, 9)) for number in range(WORDS)]
    order = permutation(WORDS, 7).tolist()
    line = 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes << 20:
            picks = [words[order[(line * 37 + place * place) % WORDS]] for place in range(60)]
            file.write(json.dumps({"text": " ".join(picks)}) + "\n")
            line += 1


def peak_mib() -> float:
    """Largest memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tokenising(folder: Path, megabytes: int, config: TrainConfig) -> tuple[dict[str, Any], Windows]:
    """Seconds and memory from JSON lines to a mapped token file."""
    write_corpus(folder / f"{megabytes}.jsonl", megabytes)
    files: list[Path] = find_files(folder / f"{megabytes}.jsonl", (".jsonl",), "the corpus")
    start = time.perf_counter()
    digest = digest_files(files)
    hashed = time.perf_counter()
    tokenizer = load_or_train(files, digest, config.vocab_size, folder / "tokenizers")
    trained, before = time.perf_counter(), peak_mib()

    made = prepare_tokens(digest, lambda: read_texts(files), tokenizer, folder / "tokens")
    done = time.perf_counter()
    values = {
        "corpus_mib": megabytes,
        "hash_mib_s": megabytes / (hashed - start),
        "tokenizer_s": trained - hashed,
        "tokenise_mib_s": megabytes / (done - trained),
        "peak_growth_mib": peak_mib() - before,
        "tokens": int(made.tokens_T.size),
    }
    return values, Windows(made.tokens_T, config.max_seq_len, tokenizer.pad_id)


def reading(windows: Windows, config: TrainConfig) -> dict[str, Any]:
    """Tokens a second from the mapped file to tensors, and a resume's cost in the middle of the run."""
    plan = BatchPlan(len(windows), 100, config.batch_size, 1, config.accumulation_steps, config.seed)
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
    return {"seek_ms": seek * 1e3, "batch_ms": seconds * 1e3, "read_tokens_s": tokens / seconds}


def hashing(config: TrainConfig) -> dict[str, Any]:
    """Seconds of one link of the digest chain, and its share of the steps between two links."""
    torch.manual_seed(0)
    model = ExplicitLM(config, pad_id=0)
    start = time.perf_counter()
    digest_tensors(model.state_dict())
    link = time.perf_counter() - start
    ids_BS = torch.randint(4, config.vocab_size, (2, config.max_seq_len))
    model(ids_BS, ids_BS).loss.backward()
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
    parser.add_argument("--mib", type=int, nargs=2, default=(16, 64), help="two sizes of the corpus")
    options = parser.parse_args()
    config = TrainConfig()  # the paper's: dim 512, 8 layers, N 1,048,576, 48 sequences of 512 tokens, 16 a step
    with tempfile.TemporaryDirectory() as name:
        small, _ = tokenising(Path(name), options.mib[0], config)
        large, windows = tokenising(Path(name), options.mib[1], config)
        read = reading(windows, config)
    hashed = hashing(config)
    numbers = {
        "read_tokens_per_second": round(read["read_tokens_s"]),
        "digest_share_of_step": hashed["share_of_step"],
        "peak_growth_ratio": round(large["peak_growth_mib"] / max(small["peak_growth_mib"], 1.0), 2),
    }
    report(
        "data loading alone",
        {"tokenising": [small, large], "reading": [read], "digest": [hashed]},
        numbers,
        options.json,
    )


if __name__ == "__main__":
    main()
