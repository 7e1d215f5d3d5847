"""What can be said of a difference from a few pairs: Student's t for paired differences, McNemar's test for items.

The distributions are computed here (Numerical Recipes, 3rd edition, section 6.4) since SciPy takes longer to import
than 10,000 records to compare; tests hold them against SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

CONFIDENCE = 0.95
LEAST_PAIRS = 3  # two pairs agree by luck too often to be a measure of their own spread
POWER = 0.8

Verdict = Literal["real", "within_noise", "too_few"]


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences and what it means.

    Attributes:
        mean: of (second - first) over the pairs; None without a pair.
        low, high: its 95 % interval by Student's t; None below two pairs.
        pairs: how many. verdict: what may be said.
        needed: about how many pairs would show a difference as large as this one; None where that says nothing.
        uncorrected: the interval leaves 0 out, yet after counting how many metrics were tested that is no evidence.
    """

    mean: float | None
    low: float | None
    high: float | None
    pairs: int
    verdict: Verdict
    needed: int | None = None
    uncorrected: bool = False


Pairs = Sequence[tuple[float, float]]  # (first, second), one a seed


def judge(metrics: Mapping[str, Pairs]) -> dict[str, Difference]:
    """Judges the differences of several metrics of one comparison.

    All metrics together are wrong in at most 5 % of the comparisons without any true difference (Holm, Scandinavian
    Journal of Statistics 6, 1979). A metric that the seed does not change on either side, such as a number of steps,
    has no noise: its difference is real unless it is 0, and it is no test among the others.

    Args:
        metrics: the pairs of each metric.
    """
    p_values = {
        name: _p_value([second - first for first, second in pairs])
        for name, pairs in metrics.items()
        if len(pairs) >= LEAST_PAIRS and not _noiseless(pairs)
    }
    real = holm(p_values)
    return {name: _judged(pairs, name in real) for name, pairs in metrics.items()}


def _noiseless(pairs: Pairs) -> bool:
    return len(set(pairs)) == 1


def _p_value(differences: Sequence[float]) -> float:
    """Student's t; where all differences are one by chance, as those of a few items' accuracy may be, their signs."""
    if max(differences) > min(differences):
        return t_test(differences)
    return 2 * 0.5 ** len(differences) if differences[0] else 1.0


def _judged(pairs: Pairs, real: bool) -> Difference:
    values = [second - first for first, second in pairs]
    if not values:
        return Difference(None, None, None, 0, "too_few")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Difference(mean, None, None, 1, "too_few")
    low, high = t_interval(values)
    if len(values) < LEAST_PAIRS:
        return Difference(mean, low, high, len(values), "too_few")
    if _noiseless(pairs):
        return Difference(mean, low, high, len(values), "real" if mean else "within_noise")
    if real:
        return Difference(mean, low, high, len(values), "real")
    uncorrected = low < high and (low > 0 or high < 0)
    return Difference(mean, low, high, len(values), "within_noise", pairs_needed(values), uncorrected)


def holm(p_values: Mapping[str, float]) -> set[str]:
    """The names whose p stands although so many were looked at: all together err in at most 5 % of the cases."""
    real = set()
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        if p_values[name] > (1 - CONFIDENCE) / (len(p_values) - place):
            break
        real.add(name)
    return real


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1); the latter 0 for one value."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of the mean of two or more values."""
    mean, spread = mean_and_spread(values)
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * spread / math.sqrt(len(values))
    return mean - half, mean + half


def t_test(values: Sequence[float]) -> float:
    """Two-sided p that the mean of values with some spread is 0."""
    mean, spread = mean_and_spread(values)
    return 2 * t_tail(abs(mean) / (spread / math.sqrt(len(values))), len(values) - 1)


def pairs_needed(values: Sequence[float], most: int = 10_000) -> int | None:
    """About how many pairs would show a mean as large as this one, with probability 0.8, at the same spread.

    None where the mean is so small beside the spread that more than `most` would be.
    """
    mean, spread = mean_and_spread(values)

    def enough(pairs: int) -> bool:
        reach = t_quantile((1 + CONFIDENCE) / 2, pairs - 1) + t_quantile(POWER, pairs - 1)
        return abs(mean) * math.sqrt(pairs) >= reach * spread

    if not enough(most):
        return None
    low, high = len(values), most  # enough(high) holds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def t_tail(t: float, degrees: int) -> float:
    """Probability that Student's t exceeds a t >= 0."""
    return 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """The t below which Student's t stays with a probability of at least one half."""
    low, high = 0.0, 1.0
    while t_tail(high, degrees) > 1 - probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_tail(middle, degrees) > 1 - probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x > (a + 1) / (a + b + 2):  # there the fraction converges for the mirrored argument
        return 1 - incomplete_beta(b, a, 1 - x)
    tiny = 1e-300
    fraction, c, d = 1.0, 1.0, 0.0
    for step in range(1000):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        else:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        d = 1 / (1 + term * d or tiny)
        c = 1 + term / c or tiny
        change = c * d
        fraction *= change
        if step and abs(change - 1) < 1e-15:
            break
    return math.exp(scale) / a * (fraction - 1)


def mcnemar(learnt: int, lost: int) -> float:
    """Exact two-sided p that items change to right as often as to wrong (McNemar, Psychometrika 12, 1947).

    Args:
        learnt: items wrong before, right now. lost: right before, wrong now.
    """
    changed, fewer = learnt + lost, min(learnt, lost)
    if changed == 0:
        return 1.0
    # P(X <= fewer) of a fair coin tossed `changed` times, summed from its largest term down
    term = math.exp(math.lgamma(changed + 1) - math.lgamma(fewer + 1) - math.lgamma(changed - fewer + 1)
                    - changed * math.log(2))  # fmt: skip
    terms = []
    for count in range(fewer, -1, -1):
        terms.append(term)
        term *= count / (changed - count + 1)
    return min(1.0, 2 * math.fsum(terms))
