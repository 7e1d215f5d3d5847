"""What was otherwise, told from what a record, a seal and a commit say."""

from __future__ import annotations

from typing import Any

import made_records

from explicitlm.lm.config import TrainConfig
from explicitlm.lm.typed import convert
from explicitlm.records import causes
from explicitlm.records.manifest import CodeVersion, Manifest
from explicitlm.records.schema import Record

SEALED = Manifest(
    id="exp_001", description="", created_at="", started_by="", command="accelerate launch 1_pretrain.py",
    code=CodeVersion(commit="c" * 40, dirty=False, changed=[], diff_sha256=None, untracked=[],
                     files={"a.py": "1" * 64}),
    data={}, hyperparameters=TrainConfig(), changed_params={},
)  # fmt: skip


def record(**more: Any) -> Record:
    return convert(made_records.made("exp_001", **more), Record)


def test_equal_code_has_no_cause() -> None:
    assert list(causes.of_code(record(), SEALED, {"a.py": "1" * 64}, ["a.py"])) == []


def test_what_no_commit_holds_is_named() -> None:
    code = {"dirty": False, "changed": [], "diff_sha256": None, "untracked": ["new.py"]}
    findings = {"undeclared_inputs": ["new.py", "words.txt", "kept.txt"], "changed_during_run": ["data/x", "a.py"]}
    found = causes.of_code(record(code=code, findings=findings), SEALED, {"b.py": "2" * 64}, ["a.py", "kept.txt"])
    assert [(each.cause, each.words()) for each in found] == [
        ("code", "a.py 11111111 -> None"),
        ("code", "b.py None -> 22222222"),
        ("data", "data/x changed while it ran -> as it was sealed"),
        ("code", "a.py changed while it ran -> as it was sealed"),
        ("code", "new.py untracked -> in no commit"),
        ("code", "words.txt read but undeclared -> in no commit"),
    ]


def test_all_distributions_count_where_both_sides_know_them() -> None:
    was = {"distributions": {"torch": "2.13.0", "pip": "24"}, "packages": {"torch": "2.13.0"}, "driver": None}
    now = {"distributions": {"torch": "2.14.0", "pip": "24"}, "packages": {"torch": "2.14.0"}, "driver": "570"}
    found = [(each.cause, each.words()) for each in causes.of_environment(was, now)]
    assert found == [("hardware", "driver None -> 570"), ("packages", "torch 2.13.0 -> 2.14.0")]
    del was["distributions"]
    assert [each.what for each in causes.of_environment(was, now)] == ["driver", "torch"]
