"""The statistics, against SciPy and by simulation: without a difference at most 5 % are called real."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicitlm.comparison import statistics

scipy_stats = pytest.importorskip("scipy.stats")


def judged(differences: dict[str, list[float]]) -> dict[str, statistics.Difference]:
    """Judges metrics of which only the differences matter."""
    return statistics.judge({name: [(0.0, value) for value in values] for name, values in differences.items()})


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 29, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95, 0.975, 0.995, 0.99999])
def test_quantiles(degrees: int, probability: float) -> None:
    expected = scipy_stats.t.ppf(probability, degrees)
    assert statistics.t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30).filter(lambda values: max(values) - min(values) > 1e-3))
def test_interval_and_test(values: list[float]) -> None:
    reference = scipy_stats.ttest_1samp(values, 0)
    low, high = reference.confidence_interval(0.95)
    assert statistics.t_interval(values) == pytest.approx((low, high), rel=1e-6, abs=1e-6)
    assert statistics.t_test(values) == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar(learnt: int, lost: int) -> None:
    expected = scipy_stats.binomtest(learnt, learnt + lost).pvalue if learnt + lost else 1.0
    assert statistics.mcnemar(learnt, lost) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("pairs", "metrics"), [(3, 1), (5, 1), (5, 4), (20, 2)])
def test_without_a_difference_at_most_5_percent_are_called_real(pairs: int, metrics: int) -> None:
    """Of 1,500 comparisons, those in which any metric is called real: 75 expected at most, 4.1 deviations allowed."""
    draw, comparisons = random.Random(pairs * 100 + metrics), 1500
    wrong = 0
    for _ in range(comparisons):
        found = judged({str(name): [draw.gauss(0, 1) for _ in range(pairs)] for name in range(metrics)})
        wrong += any(item.verdict == "real" for item in found.values())
    assert wrong <= 0.05 * comparisons + 4.1 * (0.05 * 0.95 * comparisons) ** 0.5
    assert wrong > 0.03 * comparisons  # nor is it so careful that it would find nothing


def test_needed_pairs_are_enough() -> None:
    """With the number of pairs it names, a difference of that size is found about 4 times of 5."""
    draw = random.Random(7)
    needed = statistics.pairs_needed([0.5 + sign for sign in (-1, 1, -1, 1)])
    assert needed is not None
    spread = statistics.mean_and_spread([0.5 + sign for sign in (-1, 1, -1, 1)])[1]
    found = sum(
        judged({"x": [draw.gauss(0.5, spread) for _ in range(needed)]})["x"].verdict == "real" for _ in range(400)
    )
    assert 0.7 < found / 400 < 0.9


def test_verdicts() -> None:
    found = judged({
        "real": [1.0, 1.1, 0.9, 1.0], "noise": [1.0, -1.1, 0.9, -0.3], "few": [1.0, 1.1], "one": [1.0], "none": [],
        "steps": [0, 0, 0], "tokens": [5, 5, 5], "tiny": [1e-9, -1e-9, 1e-9, -1e-9],
    })  # fmt: skip
    assert {name: item.verdict for name, item in found.items()} == {
        "real": "real", "noise": "within_noise", "few": "too_few", "one": "too_few", "none": "too_few",
        "steps": "within_noise", "tokens": "real", "tiny": "within_noise",
    }  # fmt: skip
    assert found["noise"].needed and found["noise"].needed > 30
    assert found["tiny"].needed is None
    assert found["one"].low is None and found["none"].mean is None


def test_many_metrics_are_counted() -> None:
    """A difference that 95 % would call real alone is none among twenty."""
    values = [1.0, 0.5, 1.3, 0.4]
    assert judged({"x": values})["x"].verdict == "real"
    noise = {str(number): [1.0, -1.0, 1.0 + number, -1.0 - number] for number in range(19)}
    found = judged({"x": values, **noise})["x"]
    assert (found.verdict, found.uncorrected) == ("within_noise", True)


def test_accuracies_of_few_items_that_differ_alike_by_chance() -> None:
    """Three pairs that happen to differ by the same item are no proof; a number of steps that differs is."""
    alike = [(0.50, 0.75), (0.25, 0.50), (0.00, 0.25)]
    assert statistics.judge({"acc": alike})["acc"].verdict == "within_noise"
    assert statistics.judge({"acc": alike * 3})["acc"].verdict == "real"
    assert statistics.judge({"steps": [(120.0, 240.0)] * 3})["steps"].verdict == "real"


@pytest.mark.parametrize("pairs", [3, 5])
def test_accuracies_without_a_difference(pairs: int) -> None:
    """Of 1,500 comparisons of 60 items each: 75 expected at most, 4.1 deviations allowed."""
    draw = random.Random(pairs)

    def accuracy() -> float:
        return sum(draw.random() < 0.4 for _ in range(60)) / 60

    found = [statistics.judge({"acc": [(accuracy(), accuracy()) for _ in range(pairs)]})["acc"] for _ in range(1500)]
    assert sum(item.verdict == "real" for item in found) <= 75 + 4.1 * 8.5
