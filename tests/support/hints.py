"""Every hint in the code, read from its syntax: what an error, a check or a log line tells the user to do next."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src/explicitlm"
# Where a command begins. A hint without one ("correct the line") cannot be run.
COMMAND = re.compile(
    r"(?<![\w/.\"-])(git|dvc|explicitlm|rm|mv|cp|ls|df|cat|tail|kill|diff|cd|chmod|sbatch|pip install|apt-get"
    r"|make env|source|timedatectl|swanlab login|accelerate launch|squeue|wandb|docker)(?= |$)"
)
_MADE = {"put_aside": "mv {} {}", "put_away": "mkdir -p {} && mv {} {}", "_sent_again": "explicitlm {}"}
_TAKES_A_HINT = {"read_json": 1, "load_sealed": 2}  # function: which of its arguments is the hint


def hints() -> dict[str, str]:
    """The hints that hold a command: their text, with {} for what is filled in, and the file and line of one."""
    modules = {path: _Module(path) for path in sorted(SOURCES.rglob("*.py"))}
    helpers = {name: each for module in modules.values() for name, each in module.returned.items()}
    found: dict[str, str] = {}
    for path, module in modules.items():
        module.returned = helpers | module.returned
        for text, line in module.hints():
            if COMMAND.search(text):
                found.setdefault(text, f"{path.relative_to(SOURCES)}:{line}")
    return found


class _Module:
    """One file: its hints, with its names resolved, and the functions that make a hint.

    Attributes:
        returned: what functions return, by their names.
    """

    def __init__(self, path: Path) -> None:
        self._tree = ast.parse(path.read_text(encoding="utf-8"))
        self._assigned: dict[str, list[ast.expr]] = {}
        self.returned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._assigned.setdefault(node.targets[0].id, []).append(node.value)
            if isinstance(node, ast.FunctionDef):
                values = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
                self.returned.setdefault(node.name, []).extend(values)

    def hints(self) -> Iterator[tuple[str, int]]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call):
                for argument in _of(node):
                    for text in self._texts(argument):
                        yield text, node.lineno
                if _logs(node):
                    for text in self._texts(node.args[0]):
                        if "next" in text:
                            yield text.split("next", 1)[1].lstrip(",: "), node.lineno

    def _texts(self, node: ast.expr, depth: int = 3) -> list[str]:
        """What the expression can become, as far as this file tells."""
        if depth == 0:
            return []
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            return ["".join(self._part(part) for part in node.values)]
        if isinstance(node, ast.IfExp):
            return self._texts(node.body, depth) + self._texts(node.orelse, depth)
        if isinstance(node, ast.BoolOp):
            return [text for each in node.values for text in self._texts(each, depth)]
        if isinstance(node, ast.Name):
            return [text for each in self._assigned.get(node.id, []) for text in self._texts(each, depth - 1)]
        if isinstance(node, ast.Call) and (made := _made(node)):
            return [made]
        if isinstance(node, ast.Call):
            return [text for each in self.returned.get(_name(node), []) for text in self._texts(each, depth - 1)]
        if isinstance(node, ast.Starred):
            return self._texts(node.value, depth)
        if isinstance(node, ast.Tuple):
            return [text for each in node.elts for text in self._texts(each, depth)]
        if isinstance(node, ast.BinOp):
            left, right = self._texts(node.left, depth) or ["{}"], self._texts(node.right, depth) or ["{}"]
            return [first + second for first in left for second in right]
        return []

    def _part(self, node: ast.expr) -> str:
        """A part of an f-string: a command made by a function is told from a value by its first words."""
        if isinstance(node, ast.Constant):
            return str(node.value)
        value = node.value if isinstance(node, ast.FormattedValue) else node
        if isinstance(value, ast.Name):
            value = next(iter(self._assigned.get(value.id, [])), value)
        return (_made(value) if isinstance(value, ast.Call) else None) or "{}"


def _of(call: ast.Call) -> list[ast.expr]:
    """The arguments of a call that are a hint."""
    name = _name(call)
    if name.endswith("Error") and call.args and isinstance(call.args[0], ast.Starred):
        return [call.args[0]]  # cause and hint together
    place = 1 if name.endswith("Error") else 3 if name == "Check" else _TAKES_A_HINT.get(name)
    given = [each.value for each in call.keywords if each.arg in ("hint", "next")]
    return given + (call.args[place : place + 1] if place is not None else [])


def _logs(call: ast.Call) -> bool:
    return _name(call) in ("info", "warning", "error", "show") and bool(call.args)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else str(getattr(call.func, "id", ""))


def _made(call: ast.Call) -> str | None:
    """The command that a call makes, where it is one of those that do."""
    if ast.unparse(call.func) == "shlex.join" and isinstance(call.args[0], ast.List):
        return " ".join(str(word.value) if isinstance(word, ast.Constant) else "{}" for word in call.args[0].elts)
    return _MADE.get(_name(call))
