"""The report in a real browser: the words are there, nothing is asked of the network, strangers' words run nothing."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_records
import pytest

from explicitlm.lm.data.answers import Answer
from explicitlm.lm.typed import convert
from explicitlm.records.problem import Problem
from explicitlm.records.rows import Row, parse
from explicitlm.records.schema import Record
from explicitlm.records.verdict import Difference, Grade, Verdict
from explicitlm.report import curves, page
from explicitlm.report.content import Content

OWNED = 'document.title="owned"'
HOSTILE = f"</script><script>{OWNED}</script><img src=http://127.0.0.1:9/x onerror='{OWNED}'>"


def some() -> list[dict[str, Any]]:
    """Two groups of three seeds, one of them asked about the other; one failed; one of hostile words."""
    records = []
    for seed in (1, 2, 3):
        records.append(made_records.made(
            f"base_{seed}", {"seed": seed}, {"val_loss": 2.5 + seed / 100, "acc_object_prediction": 0.5},
            timestamp=f"2026-01-0{seed}T00:00:00Z", description="基线"))  # fmt: skip
        loss = 2.3 + seed / 90
        outcome = {
            "against": f"base_{seed}",
            "expect": "val_loss < -0.05",
            "changes": ["learning_rate: 0.0002 -> 0.001"],
            "verdict": "held",
            "differences": {"val_loss": [2.5 + seed / 100, loss, loss - 2.5 - seed / 100]},
        }
        records.append(made_records.made(
            f"rate_{seed}", {"seed": seed, "learning_rate": 1e-3}, {"val_loss": loss, "acc_object_prediction": 0.75},
            timestamp=f"2026-01-0{seed}T01:00:00Z", description="学习率 1e-3", outcome=outcome,
            conclusion="一个结论"))  # fmt: skip
    records.append(
        made_records.made("broke", {"learning_rate": 5e-3}, status="failed", timestamp="2026-02-01T00:00:00Z")
    )
    hostile = made_records.made("hostile", {"n_layers": 4}, {"val_loss": 2.4}, description=HOSTILE,
                                conclusion=HOSTILE, timestamp="2026-02-02T00:00:00Z")  # fmt: skip
    hostile["results"]["swanlab_url"] = 'javascript:document.title="owned"'
    return [*records, hostile]


def answered(row: Row) -> list[Answer] | None:
    """One item learnt and one lost by those of the other rate; the hostile one's answers are elsewhere."""
    if row.id == "hostile":
        return None
    later = row.id.startswith("rate")
    texts = {f"{HOSTILE} 李白生于": later, "Bo lives in": not later}
    return [Answer(task="object_prediction", uuid=None, prompt=prompt, choices=["Oslo", "Rome"], answer=0,
                   scores=[-1.0, -2.0], choice=int(not right), row=None, read=[], hit=None)
            for prompt, right in texts.items()]  # fmt: skip


def run_again(experiment: str, grade: Grade, **more: Any) -> Verdict:
    return Verdict(experiment=experiment, checked_at="2026-03-01T00:00:00Z", duration_s=1, how="retrained",
                   verdict=grade, **more)  # fmt: skip


def made(
    records: list[dict[str, Any]], problems: list[Problem] | None = None, verdicts: tuple[Verdict, ...] = ()
) -> tuple[str, dict[str, str]]:
    rows = [Row(parse(json.dumps(record).encode(), record["experiment"]["id"])) for record in records]
    for row in rows:
        row.head["verdict"] = next((each.verdict for each in verdicts if each.experiment == row.id), None)
    shown = {
        key: {
            row.id: [(float(step), 2.3 + math.exp(-step / 30)) for step in range(1, 100, 9)]
            for row in rows
            if row.finished
        }
        for key in curves.CURVES
    }
    whole = {record["experiment"]["id"]: convert(record, Record) for record in records}
    content = Content(rows, rows, shown, whole, {each.experiment: each for each in verdicts}, answered)
    drawn = content.pictures()
    return page.render(content, drawn, problems or []), drawn


@dataclass(frozen=True)
class Browser:
    """Chromium without a window, in a folder of its own."""

    folder: Path

    def open(self, html: str, script: str = "", width: int = 1200) -> tuple[str, list[str], list[str]]:
        """The page as it is after its scripts, what its console said, and the addresses it asked for.

        Args:
            script: run at the end, as a user's hands would.
        """
        file, log = self.folder / "page.html", self.folder / "net.json"
        file.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
        done = subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.folder}/profile",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-first-run",
             "--enable-logging=stderr", f"--log-net-log={log}", f"--window-size={width},900", "--dump-dom",
             file.as_uri()],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        said = re.findall(r"CONSOLE.*", done.stderr)
        return done.stdout, said, _asked_by_the_page(log)


def _asked_by_the_page(log: Path) -> list[str]:
    """Addresses in a net log that a page asked for; the browser's own questions have no origin."""
    requests = [event.get("params", {}) for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    return [params["url"] for params in requests
            if not str(params.get("url", "file:")).startswith(("file:", "data:"))
            and params.get("initiator", "not an origin") != "not an origin"]  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: scripts/system-packages")
    yield Browser(tmp_path_factory.mktemp("browser"))


def test_the_browser_would_tell(browser: Browser) -> None:
    """The two checks of the next tests can fail: an error and a request are seen."""
    _, said, asked = browser.open("<body><img src='http://127.0.0.1:9/x.png'></body>", "undefined_name();")
    assert any("undefined_name" in line for line in said)
    assert any("127.0.0.1:9" in address for address in asked)


def test_the_page_is_whole_and_quiet(browser: Browser) -> None:
    html, _ = made(some(), [Problem("experiments/records/x.json", "it is not valid JSON")])
    dom, said, asked = browser.open(html)
    assert said == []
    assert asked == []
    assert "<title>8 experiments</title>" in dom  # what strangers wrote did not run
    for words in ("学习率 1e-3", "一个结论", "val/loss by step", "val_loss against learning_rate", "from data and code",
                  "rate_1 - base_1, 3 pairs by seed (1, 2, 3)", "the loss is nan at step 7",
                  "experiments/records/x.json",
                  "git checkout rate_1 &amp;&amp; accelerate launch", "8 of 8", "95 % interval",
                  "rate_1 against base_1, item by item", "1 learnt, 1 lost: too few to say",
                  "李白生于 | Oslo (not: Rome)",
                  "object_prediction: Bo lives in | Oslo (not: Rome)"):  # fmt: skip
        assert words in dom, words
    assert "javascript:" not in dom


def test_what_came_of_running_again_is_told(browser: Browser) -> None:
    otherwise = Difference(cause="packages", what="torch", was="2.13.0", now=HOSTILE)
    differs = run_again("base_1", "different", first_divergent_step=4, parts=["weights"], differences=[otherwise])
    html, _ = made(some(), verdicts=(differs, run_again("base_2", "same_curve", reason=HOSTILE)))
    dom, said, asked = browser.open(html)
    assert (said, asked) == ([], [])
    assert "<title>8 experiments</title>" in dom  # a verdict's words are no page's
    for words in ("<b>different</b> (retrained, 2026-03-01T00:00:00Z)", "parts at step 4, in weights",
                  "packages: torch 2.13.0 -&gt; ", "<b>same curve</b>", ">verdict<"):  # fmt: skip
        assert words in dom, words
    assert ">verdict<" not in made(some())[0]


def test_filter_sort_and_links_work(browser: Browser) -> None:
    html, _ = made(some())
    script = """
        const box = document.querySelector("#filter");
        box.value = "val_loss<2.45 learning_rate=0.001"; box.dispatchEvent(new Event("input"));
        document.querySelector('th[data-name="val_loss"] button').click();
        document.querySelector('th[data-name="val_loss"] button').click();
        location.hash = "#x-rate_2";
        openTarget();
        const rowsShown = [...document.querySelectorAll("#experiments tbody tr")].filter((row) => !row.hidden);
        document.title = rowsShown.map((row) => row.dataset.id).join(" ") + " open:" +
            document.querySelector("details[open]").id + " faded:" + document.querySelectorAll("polyline.faded").length;
    """
    dom, said, asked = browser.open(html, script)
    assert (said, asked) == ([], [])
    assert "<title>rate_3 rate_2 rate_1 open:x-rate_2 faded:8</title>" in dom


def test_on_paper_everything_is_open_and_afterwards_as_before(browser: Browser) -> None:
    html, _ = made(some())
    script = """
        document.querySelector("#x-rate_1").open = true;
        const shut = () => document.querySelectorAll("details:not([open])").length;
        const before = shut();
        dispatchEvent(new Event("beforeprint"));
        const printed = shut();
        dispatchEvent(new Event("afterprint"));
        document.title = `${printed} ${before === shut()} ${document.querySelector("#x-rate_1").open}`;
    """
    assert "<title>0 true true</title>" in browser.open(html, script)[0]


def test_a_phone_scrolls_no_page_sideways(browser: Browser) -> None:
    html, _ = made(some())
    script = "document.title = `${document.documentElement.scrollWidth <= innerWidth}`"
    assert "<title>true</title>" in browser.open(html, script, width=500)[0]


@pytest.mark.parametrize("count", [1, 200, pytest.param(1000, marks=pytest.mark.slow)])
def test_few_and_many(browser: Browser, count: int) -> None:
    html, drawn = made(made_records.many(count))
    dom, said, asked = browser.open(html)
    assert (said, asked) == ([], [])
    assert f"{count} of {count}" in dom
    assert "bars-val_loss" in drawn


def test_pictures_stand_alone_and_become_png(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    resvg = pytest.importorskip("resvg_py")
    for name, svg in made(some())[1].items():
        ElementTree.fromstring(svg)  # noqa: S314 (of our own making)
        png = bytes(resvg.svg_to_bytes(svg_string=svg))
        assert png.startswith(b"\x89PNG") and len(png) > 5000, name


def test_curves_of_edited_files() -> None:
    text = "step,val/loss\n1,2.5\nx,1\n2,\n3,nan\n4,2.0\n"
    points = curves.parse(text, "val/loss")
    assert [step for step, _ in points] == [1, 3, 4]
    assert curves.parse("", "val/loss") == curves.parse("step\n1\n", "val/loss") == []
    many = "step,val/loss\n" + "".join(f"{step},1\n" for step in range(1, 10_001))
    thinned = curves.parse(many, "val/loss")
    assert len(thinned) <= curves.MOST_POINTS + 1 and thinned[-1][0] == 10_000
