"""Whether digest chains tell harmless edits of the training code from harmful ones: ten of each.

    python benchmarks/proof.py --steps 4 --json

In a tiny project each edit is made in the working tree and trained for some steps as `explicitlm same` does; the
unedited code is trained once and its chain reused. Every result is measured; with --seconds what did not fit is told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import REPOSITORY, report

from explicitlm.common.errors import TrainingError
from explicitlm.proof import tree as trees
from explicitlm.proof.same import _words
from explicitlm.records import chain
from explicitlm.vcs.workspace import Workspace

sys.path.insert(0, str(REPOSITORY / "tests/support"))
import sandbox

OPTIMIZER, LOOP, MODEL = (f"src/explicitlm/lm/{name}.py" for name in
                          ("training/optimizer", "training/loop", "model/transformer"))  # fmt: skip
HARMLESS = {
    "a comment": (OPTIMIZER, "    groups = [", "    # matrices, then vectors\n    groups = ["),
    "a docstring": (OPTIMIZER, '"""AdamW over all trainable', '"""Adam with decoupled decay over all trainable'),
    "a second name for a list": (OPTIMIZER, "parameters = [", "trained = parameters = ["),
    "a renamed variable": (OPTIMIZER, "floor", "least"),
    "a named intermediate": (OPTIMIZER, "    return floor + (peak - floor) *",
                             "    height = peak - floor\n    return floor + height *"),
    "a variable that is only checked": (OPTIMIZER, "    groups = [",
                                   "    betas = (config.beta1, config.beta2)\n    assert betas\n    groups = ["),
    "an assignment split in two": (MODEL, "self.config, self.pad_id = config, pad_id",
                                   "self.config = config\n        self.pad_id = pad_id"),
    "keyword arguments in another order": (LOOP, "epochs=config.epochs,\n            batch_size=config.batch_size,",
                                           "batch_size=config.batch_size,\n            epochs=config.epochs,"),
    "a chained assignment undone": (LOOP, "self._step = self._micro = self._tokens = 0",
                                    "self._step = 0\n        self._micro = 0\n        self._tokens = 0"),
    "an unused function": (OPTIMIZER, "def learning_rate(", "def unused() -> None:\n    pass\n\n\ndef learning_rate("),
}  # fmt: skip
HARMFUL = {
    "AdamW eps 1e-7": (OPTIMIZER, "fused=True", "fused=True, eps=1e-7"),
    "another data order": (LOOP, "seed=config.seed,", "seed=config.seed + 1,"),
    "beta2 0.999": (OPTIMIZER, "config.beta2)", "0.999)"),
    "vectors are decayed": (OPTIMIZER, '"weight_decay": 0.0', '"weight_decay": 0.1'),
    "a higher end of the cosine": (OPTIMIZER, "0.1 * config.learning_rate", "0.2 * config.learning_rate"),
    "a longer warm-up": (OPTIMIZER, "(step + 1) / warmup", "(step + 1) / (warmup + 1)"),
    "another initialisation": (MODEL, "initialise(self, config.n_layers)", "initialise(self, config.n_layers + 1)"),
    "a larger epsilon of the last norm": (MODEL, "RMSNorm(config.dim, config.norm_eps)", "RMSNorm(config.dim, 1e-3)"),
    "another rotary base": (MODEL, "config.rope_theta)", "config.rope_theta * 2)"),
    "fewer frozen rows": (MODEL, "config.freeze_ratio,", "config.freeze_ratio / 2,"),
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of each training")
    parser.add_argument("--seconds", type=float, default=600, help="no further edit is begun after so long")
    arguments = parser.parse_args()
    start, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="proof-"))
    pairs = [pair for both in zip(HARMLESS.items(), HARMFUL.items(), strict=True) for pair in both]
    rows: list[dict[str, Any]] = []
    try:
        box = made_project(folder)
        reference = digests(box, arguments.steps)
        for name, (path, old, new) in pairs:
            if time.monotonic() - start > arguments.seconds:
                break
            file = box.workdir / path
            text = file.read_text()
            assert old in text, f"{name}: {path} does not hold {old!r}"
            file.write_text(text.replace(old, new))
            expected = "identical" if name in HARMLESS else "different"
            rows.append({"edit": name, "expected": expected} | judged(reference, box, arguments.steps))
            file.write_text(text)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    right = sum(row["verdict"] == row["expected"] for row in rows)
    totals = {"edits": len(pairs), "run": len(rows), "right": right, "steps": arguments.steps}
    report("Edits that the digest chain tells apart", {"edits": rows}, totals, arguments.json)


def made_project(folder: Path) -> Workspace:
    """A tiny project with data, in a repository of its own."""
    root = folder / "project"
    for name in sandbox.tracked_files():
        if not name.startswith(("tests/", "benchmarks/", "docs/", "data/")) or name == "data/.gitignore":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, root / name, follow_symlinks=False)
    os.environ.update(sandbox.sandbox_env(folder / "home"))
    box = sandbox.Sandbox(root, dict(os.environ))
    box.set_params(**sandbox.TINY)
    box.git("init", "-q")
    sandbox.write_data(root, 1)
    box.dvc("add", "-q", "data/database", "data/benchmarks", "data/knowledge_base")
    box.git("add", "-A")
    box.git("commit", "-qm", "data")
    return Workspace(root, root)


def digests(workspace: Workspace, steps: int) -> str:
    """The chain of the working tree as it is now."""
    with trees.isolated(workspace, "bench", None) as tree:
        run = trees.train(tree, _words(workspace, tree, steps), workspace.main / "bench.log")
    if run.outcome.exit_code:
        raise TrainingError("\n".join(run.outcome.tail), "")
    return run.digests


def judged(reference: str, workspace: Workspace, steps: int) -> dict[str, Any]:
    """What the chain of the edited code says."""
    found = chain.compare(reference, digests(workspace, steps))
    verdict = "identical" if found.first_divergent is None else "different"
    return {"verdict": verdict, "first_divergent_step": found.first_divergent, "part": found.part}


if __name__ == "__main__":
    main()
