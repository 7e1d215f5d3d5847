"""One measurement of benchmarks/loading.py in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from explicitlm.lm.data import encoding
from explicitlm.lm.data.records import Part, text_parts
from explicitlm.lm.data.token_files import Texts, prepare_tokens
from explicitlm.lm.data.tokenizer import read_tokenizer


def tokenise(corpus: str, digest: str, tokenizer: str, cache: str, library: str, most: int) -> dict[str, Any]:
    """Seconds, CPU seconds and memory from JSON lines to a mapped token file.

    Args:
        corpus: the file. digest: names it. tokenizer: a tokenizer.json. cache: where the token file goes.
        library: "gigatoken" as a training does it; "tokenizers" with that library alone.
        most: bytes of text after which the corpus is taken to end.
    """
    if library == "tokenizers":
        encoding.fast_encode = lambda *_: None
    inner, files = read_tokenizer(Path(tokenizer), 65_535), [Path(corpus)]
    sizes: list[int] = []
    parts = lambda place: _up_to(most, text_parts(files, place), sizes)  # noqa: E731
    texts = replace(Texts.of_files(files, digest), parts=parts)
    before, clock, cpu = _peak_mib(), time.perf_counter(), time.process_time()
    made = prepare_tokens(texts, inner, Path(cache))
    return {
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": time.process_time() - cpu,
        "bytes": sum(sizes),
        "tokens": int(made.tokens_T.size),
        "digest": made.digest,
        "peak_mib": _peak_mib(),
        "peak_growth_mib": _peak_mib() - before,
    }


def _up_to(most: int, parts: Iterable[Part], sizes: list[int]) -> Iterator[Part]:
    for part in parts:
        yield part
        sizes.append(part.size)
        if sum(sizes) >= most:
            return


def _peak_mib() -> float:
    """Largest memory of this program so far, MiB; getrusage would count that of the parent before it started us."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    corpus, digest, tokenizer, cache, library, most = sys.argv[1:]
    print(json.dumps(tokenise(corpus, digest, tokenizer, cache, library, int(most))))
