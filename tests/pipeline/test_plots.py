"""`dvc plots show`: the charts of dvc.yaml on a page that needs nothing from the network."""

from __future__ import annotations

import json
import re


def test_the_page_has_every_chart_and_loads_nothing(project) -> None:
    folder = project.root / "experiments/run"
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{step},{3 / (step + 1)},{900 + step}\n" for step in range(10))
    (folder / "train.csv").write_text("step,train/loss_ce,train/tokens_per_sec\n" + rows)
    (folder / "val.csv").write_text(
        "step,val/loss,val/acc_object_prediction,val/memory_hit_rate\n4,2.5,0.5,0.25\n9,2.0,0.75,0.5\n"
    )
    project.dvc("plots", "show")
    page = (project.root / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "dvc_plots" not in project.git("status", "--porcelain")
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(\w+:)?//""", page) == []
    charts = {}
    for text in re.findall(r"var spec = (\{.*\});", page):
        if spec := json.loads(text):  # else a field that the files do not have
            charts[spec["title"]["text"]] = spec["data"]["values"]
    assert len(charts["loss of training and validation"]) == 12
    assert charts["accuracy of object prediction"][-1]["val/acc_object_prediction"] == "0.75"
    assert charts["validation items whose fact is retrieved from the memory bank"]
    assert len(charts["tokens a second"]) == 10
