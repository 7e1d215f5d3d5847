"""Conditions on experiments, such as `val_loss < 2.5 and status == "finished"`: parsed, never run as code.

The text is read by Python's own parser and its tree is taken apart here: names, numbers, texts, lists, comparisons,
`in`, `and`, `or`, `not` and the four operations on numbers. Whatever else the tree holds is refused.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Iterable
from typing import Any

from explicitlm.common.errors import UsageError

Lookup = Callable[[str], Any]
Node = Callable[[Lookup], Any]
EXAMPLE = """for example: val_loss < 2.5 and status == "finished" and seed in [1, 2]"""
_LONGEST = 2000
_WORDS = {"null": None, "true": True, "false": False}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Expression:
    """A condition.

    A comparison with a value that an experiment does not have, or of kinds that cannot be compared, does not hold;
    `x == null` and `x != null` ask whether it has one.

    Args:
        text: what the user wrote.

    Raises:
        UsageError: it is no condition, or holds more than one may.

    Attributes:
        names: what it asks for.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        if len(text) > _LONGEST:
            raise UsageError(f"the expression is longer than {_LONGEST} characters", EXAMPLE)
        try:
            tree = ast.parse(text.strip(), mode="eval")
            self._root = self._node(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
            equals = "; == compares" if "=" in text.replace("==", "") else ""
            raise UsageError(f"{text!r} is not an expression: {reason}{equals}", EXAMPLE) from None

    def __call__(self, lookup: Lookup) -> bool:
        """Whether it holds for an experiment whose values `lookup` gives by name, None for one that it lacks."""
        return bool(self._root(lookup))

    def check_names(self, known: Iterable[str]) -> None:
        """Refuses names that no experiment has.

        Raises:
            UsageError: naming one, and those that are like it.
        """
        known = set(known)
        for name in sorted(self.names - known):
            raise unknown(name, known)

    def _node(self, node: ast.expr) -> Node:  # noqa: PLR0911 (one return a kind of node)
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self._node(value) for value in values]
                both = all if isinstance(op, ast.And) else any
                return lambda lookup: both(part(lookup) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._node(operand)
                return lambda lookup: not inner(lookup)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._node(operand)
                return lambda lookup: _calculated(operator.sub, 0, inner(lookup))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(_ARITHMETIC[type(op)], left, right)
            case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
                type(op) in _COMPARISONS for op in ops
            ):
                return self._comparison(left, [_COMPARISONS[type(op)] for op in ops], comparators)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                parts = [self._node(item) for item in items]
                return lambda lookup: [part(lookup) for part in parts]
            case ast.Constant(value=value) if value is None or isinstance(value, str | int | float):
                return lambda _: value
            case ast.Name() | ast.Attribute():
                return self._name(node)
        raise UsageError(f"{ast.unparse(node)!r} may not stand in an expression", EXAMPLE)

    def _name(self, node: ast.expr) -> Node:
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise UsageError(f"{ast.unparse(node)!r} may not stand in an expression", EXAMPLE)
        name = ".".join([inner.id, *reversed(parts)])
        if name in _WORDS:
            return lambda _: _WORDS[name]
        self.names.add(name)
        return lambda lookup: lookup(name)

    def _arithmetic(self, operation: Callable[[Any, Any], Any], left: ast.expr, right: ast.expr) -> Node:
        first, second = self._node(left), self._node(right)
        return lambda lookup: _calculated(operation, first(lookup), second(lookup))

    def _comparison(self, left: ast.expr, tests: list[Callable[[Any, Any], bool]], others: list[ast.expr]) -> Node:
        parts = [self._node(part) for part in (left, *others)]
        empty = [(isinstance(part, ast.Constant) and part.value is None) or ast.unparse(part) == "null"
                 for part in (left, *others)]  # fmt: skip

        def holds(lookup: Lookup) -> bool:
            values = [part(lookup) for part in parts]
            for place, test in enumerate(tests):
                about_null = empty[place] or empty[place + 1]
                if not _compared(test, values[place], values[place + 1], about_null):
                    return False
            return True

        return holds


def _compared(test: Callable[[Any, Any], bool], left: Any, right: Any, about_null: bool) -> bool:
    if not about_null and (left is None or right is None):
        return False
    try:
        return bool(test(left, right))
    except TypeError:
        return False


def _calculated(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (left, right))
    try:
        return operation(left, right) if numbers else None
    except ArithmeticError:
        return None


def unknown(name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that no experiment has."""
    near = difflib.get_close_matches(name, list(known), n=4)
    like = f"did you mean {' or '.join(near)}?" if near else "explicitlm compare --json shows every name"
    return UsageError(f"no experiment has {name!r}", like)
