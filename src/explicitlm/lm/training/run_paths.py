"""Where one training reads and writes. None of it is a hyperparameter: moving a folder changes no weight."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from explicitlm.common.errors import DataError
from explicitlm.lm.data.note import Sources

# option -> default, help; the last three are optional where only the default path is meant
INPUTS = {
    "dataset_path": ("data/database", "training text: .jsonl, .jsonl.gz, .jsonl.zst, .parquet"),
    "val_dataset_path": ("data/benchmarks", "validation text and task items, of the same kinds"),
    "database_init_path": ("data/knowledge_base", "facts of the memory bank: .json"),
    "pretrained_embedding_path": ("data/embeddings", "embedding table [V, D], with its tokenizer.json"),
    "cache_path": ("data/cache", "tokenised memory bank [N, L], with its mapping.json"),
}
OPTIONAL = ("database_init_path", "pretrained_embedding_path", "cache_path")
OUTPUTS = {
    "out_dir": ("checkpoints/run", "the finished model"),
    "metrics_dir": ("experiments/run", "metrics.json, train.csv, val.csv, digests.csv"),
    "items_path": ("experiments/items.jsonl.zst", "what the finished model answered, one row a task item"),
}
WORK_DIR = Path(".explicitlm")  # tokens and runs of this machine, ignored by git
TEXT_NOTE = "text.json"  # in it: what was prepared of the training text


@dataclass(frozen=True)
class RunPaths:
    """Paths of one training; None for optional data that is absent.

    run_id: names the run for SwanLab; description: the user's words; resume: continue from the last state;
    stop_after: end after so many optimizer steps of the whole run, with no checkpoint; None: train to the end.
    """

    dataset: Path
    val_dataset: Path
    database_init: Path | None
    pretrained_embedding: Path | None
    cache: Path | None
    out_dir: Path
    metrics_dir: Path
    items: Path
    run_dir: Path
    run_id: str
    description: str
    resume: bool
    stop_after: int | None = None

    @property
    def sources(self) -> Sources:
        """What tokens are made of."""
        return Sources(self.dataset, self.val_dataset, self.database_init, self.pretrained_embedding, self.cache)

    @property
    def states(self) -> Path:
        """Resume states, newest last."""
        return self.run_dir / "states"

    @classmethod
    def of(cls, options: dict[str, str | None], resume: bool, stop_after: int | None = None) -> RunPaths:
        """Paths from command line options (None: not given) and the environment.

        Raises:
            DataError: an optional path was given and does not exist.
        """

        def path(name: str) -> Path:
            return Path(options.get(name) or {**INPUTS, **OUTPUTS}[name][0])

        def optional(name: str) -> Path | None:
            if path(name).exists():
                return path(name)
            if options.get(name) is None:
                return None
            raise DataError(f"--{name} {options[name]} does not exist", "correct the path or leave the option out")

        run_id = os.environ.get("EXPLICITLM_RUN_ID", "")
        run_dir = os.environ.get("EXPLICITLM_RUN_DIR") or str(WORK_DIR / "runs" / (run_id or "local"))
        return cls(
            dataset=path("dataset_path"),
            val_dataset=path("val_dataset_path"),
            database_init=optional("database_init_path"),
            pretrained_embedding=optional("pretrained_embedding_path"),
            cache=optional("cache_path"),
            out_dir=path("out_dir"),
            metrics_dir=path("metrics_dir"),
            items=path("items_path"),
            run_dir=Path(run_dir),
            run_id=run_id,
            description=os.environ.get("EXPLICITLM_DESCRIPTION", ""),
            resume=resume,
            stop_after=stop_after,
        )
