"""Edits of the training code: harmless ones, which must change no bit of a training, and harmful ones, which do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LM = "src/explicitlm/lm"
OPTIMIZER, LOOP, UPDATE = f"{LM}/training/optimizer.py", f"{LM}/training/loop.py", f"{LM}/memory/update.py"
REPEATED = '''def repeated(tokens_RL: Tensor) -> Tensor:
    """Marks [R, L] every token that stands earlier in its row."""
    same_RLL = tokens_RL.unsqueeze(2) == tokens_RL.unsqueeze(1)
    return same_RLL.tril(-1).any(-1)
'''


@dataclass(frozen=True)
class Edit:
    """Texts replaced by others, each as (file, old, new); an old text "" makes the file.

    step, part: where a harmful edit shows first, in the project and with the parameters of `PARAMS`.
    """

    name: str
    changes: tuple[tuple[str, str, str], ...]
    step: int | None = None
    part: str | None = None

    def make(self, root: Path) -> None:
        """Edits the files of a project."""
        for name, old, new in self.changes:
            path = root / name
            text = path.read_text(encoding="utf-8") if old else ""
            assert old in text, f"{name} does not hold {old!r}"
            path.write_text(text.replace(old, new) if old else new, encoding="utf-8")


def edit(name: str, file: str, old: str, new: str, step: int | None = None, part: str | None = None) -> Edit:
    """An edit in one place."""
    return Edit(name, ((file, old, new),), step, part)


# What the defaults leave out, so that edits of it can show: dropout, rows that move, a clipped gradient
PARAMS = {"dropout": 0.1, "use_ema_update": True, "ema_update_freq": 2, "grad_clip": 0.5}
STEPS = 3

HARMLESS = (
    edit("a comment", OPTIMIZER, "    groups = [", "    # matrices, then vectors\n    groups = ["),
    edit("a renamed variable", OPTIMIZER, "floor", "least"),
    edit("a docstring", OPTIMIZER, '"""AdamW over all trainable', '"""Adam with decoupled decay over all trainable'),
    edit("a type hint", f"{LM}/training/digest.py", "def _sha256(*parts: bytes) -> str:", "def _sha256(*parts):"),
    edit("the text of a message", f"{LM}/training/run.py", "stopped after", "ended after"),
    edit("the order of imports", LOOP, "import math\nfrom contextlib import nullcontext\n",
         "from contextlib import nullcontext\nimport math\n"),
    edit("algebra with the same bits", OPTIMIZER, "0.5 * (1 + math.cos(math.pi * progress))",
         "0.5 * (math.cos(progress * math.pi) + 1)"),
    edit("a branch that is never taken", OPTIMIZER, "    if step < warmup:",
         "    if step > steps:\n        return 0.0\n    if step < warmup:"),
    edit("a refactored function", OPTIMIZER,
         "    progress = (step - warmup + 1) / (steps - warmup)\n"
         "    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))\n",
         "    return _cosine(floor, peak, (step - warmup + 1) / (steps - warmup))\n\n\n"
         "def _cosine(low: float, high: float, progress: float) -> float:\n"
         "    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))\n"),
    Edit("a helper in a file of its own", (
        (UPDATE, REPEATED, ""),
        (UPDATE, "from explicitlm.lm.memory.selection", "from explicitlm.lm.memory.repeats import repeated\n"
                                                        "from explicitlm.lm.memory.selection"),
        (f"{LM}/memory/repeats.py", "", f'"""Repeated tokens."""\n\nfrom torch import Tensor\n\n\n{REPEATED}'),
    )),
)  # fmt: skip
HARMFUL = (
    edit("the optimizer's epsilon", OPTIMIZER, "fused=True", "fused=True, eps=1e-7", 1, "weights"),
    edit("the order of data", LOOP, "            seed=config.seed,", "            seed=config.seed + 1,",
         1, "order of data"),
    edit("an initialisation", f"{LM}/model/initialise.py", "_STD = 0.02 ", "_STD = 0.021 ", 0, "weights"),
    edit("a dropout", f"{LM}/model/swiglu.py", "self.dropout = dropout", "self.dropout = dropout / 2",
         1, "optimizer"),
    edit("a type", f"{LM}/model/norm.py",
         "F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)",
         "F.rms_norm(x.bfloat16(), self.normalized_shape, self.weight.bfloat16(), self.eps).to(x.dtype)",
         1, "optimizer"),
    edit("the weight of a loss", f"{LM}/model/transformer.py", "self.config.router_coef *",
         "0.9 * self.config.router_coef *", 1, "optimizer"),
    edit("the schedule of the learning rate", OPTIMIZER, "(step + 1) / warmup", "(step + 1) / (warmup + 1)",
         1, "weights"),
    edit("the clipping of gradients", LOOP, "self._config.grad_clip)", "2 * self._config.grad_clip)", 1, "optimizer"),
    edit("the update of the bank", UPDATE, "kept_RL.topk(changes, dim=1, largest=False)",
         "kept_RL.topk(changes, dim=1)", 2, "bank"),
    edit("the index of the bank", f"{LM}/memory/index.py", "_FIRST_ROUNDS, _ROUNDS = 6, 2",
         "_FIRST_ROUNDS, _ROUNDS = 1, 2", 1, "optimizer"),  # other rows are read, so the gradients are others
    edit("a metric", f"{LM}/training/evaluate.py", "value = float(total[0] / total[1])",
         "value = float(total[0] / (total[1] + 1))", STEPS, "metrics"),
    edit("a seed", f"{LM}/training/determinism.py", "seed * 1_000_003 + rank", "seed * 1_000_003 + rank + 1",
         0, "random state"),
)  # fmt: skip
