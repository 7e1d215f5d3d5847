"""The hints of the cluster's phases, followed from one to the next: the trainings are stubs, all else is real."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
from following import run_hint, texts

from explicitlm.common import layout

pytestmark = pytest.mark.slow
SAID = re.compile(r"next(?:: |, )(.*)$", re.MULTILINE)


def said(request: pytest.FixtureRequest, done) -> str:
    """What a command tells to do next; the test is marked with it."""
    hint = SAID.findall(done.stdout + done.stderr)[-1]
    assert any(pattern.fullmatch(hint) for pattern in texts(request.node)), hint
    return hint


def refused(box, request, *words: str) -> str:
    done = box.explicitlm("cluster", *words, check=False)
    assert done.returncode and "Traceback" not in done.stderr, done.stdout + done.stderr
    return said(request, done)


@pytest.mark.hint("explicitlm cluster pre {}")
@pytest.mark.hint("explicitlm cluster pre ID KEY=VALUE...")
@pytest.mark.hint("choose another id; what it waits for: explicitlm cluster list")
@pytest.mark.hint("{}; what it waits for: explicitlm cluster list")
@pytest.mark.hint("explicitlm cluster push {} HOST:DIR")
@pytest.mark.hint("explicitlm cluster push {} HOST:DIR (none with a shared file system), then there: explicitlm cluster train {}")  # fmt: skip  # noqa: E501
@pytest.mark.hint("on the compute node: cd DIR && explicitlm cluster train {}")
@pytest.mark.hint("on the login node: explicitlm cluster push {} HOST:DIR; here: cd DIR")
@pytest.mark.hint("on the login node: explicitlm cluster fetch {} HOST:DIR, explicitlm cluster post {}")
@pytest.mark.hint("wait, or explicitlm cluster train {} there continues it; if it was killed for good: explicitlm cluster post {} --killed")  # fmt: skip  # noqa: E501
@pytest.mark.hint("explicitlm cluster train {} on the compute node, explicitlm cluster fetch {} HOST:DIR here; or, if it was killed there for good: explicitlm cluster post {} --killed")  # fmt: skip  # noqa: E501
@pytest.mark.hint("explicitlm cluster push {} HOST:DIR again, on the login node; remove here what was not sent")
@pytest.mark.hint("explicitlm cluster fetch {} HOST:DIR again")
@pytest.mark.hint("rm {}, and see on the compute node who made it")
@pytest.mark.hint("git -C {} diff; take back what was changed there")
@pytest.mark.hint("put the other aside: mv {} {} && dvc --cd {} checkout {}, then the same command")
@pytest.mark.hint("explicitlm cluster post {}")
@pytest.mark.hint("git push --atomic origin HEAD{}")
def test_from_pre_to_post(quick, request, tmp_path: Path) -> None:
    there = tmp_path / "compute node's"
    there.mkdir()
    node, words = (
        dataclasses.replace(quick, root=there),
        {"HOST:DIR": shlex.quote(str(there)), "DIR": shlex.quote(str(there))},
    )
    tree = quick.root / layout.cluster_tree("exp_c")

    def then(box, hint: str, commands: str) -> None:
        found = re.search(commands, hint)
        assert found, hint
        for command in found.groups():
            for name, value in words.items():
                command = command.replace(name, value)
            box.shell(command)

    run_hint(quick, said(request, quick.explicitlm("cluster", "list")).replace("ID KEY=VALUE...", "first"))
    then(quick, refused(quick, request, "post", "exp_c"), "(.*)")
    then(quick, refused(quick, request, "pre", "exp_c", "seed=9"), "waits for: (.*)")
    then(quick, said(request, quick.explicitlm("run", "exp_c", check=False)), "waits for: (.*)")
    assert refused(node, request, "train", "exp_c")
    assert refused(quick, request, "push", "exp_c", "host:")
    then(quick, said(request, quick.explicitlm("cluster", "pre", "exp_c")), "(explicitlm cluster push exp_c HOST:DIR)")
    assert refused(quick, request, "fetch", "exp_c", str(there)).startswith("wait")
    assert "explicitlm cluster train exp_c on the compute node" in refused(quick, request, "post", "exp_c")

    # On the compute node: what was changed there is refused, and sent again
    params = there / "exp_c/params.yaml"
    params.write_text("{}\n")
    then(quick, refused(node, request, "train", "exp_c"), "(.*) again, on")
    pushed = said(request, quick.explicitlm("cluster", "push", "exp_c", str(there)))
    then(node, pushed, ": (.*)")
    trained = said(request, node.explicitlm("cluster", "train", "exp_c"))
    then(quick, trained, ": (.*), explicitlm cluster post")

    # On the login node: each thing that is not as it was sent or sealed
    weights = tree / "checkpoints/run/model.safetensors"
    weights.unlink()
    then(quick, refused(quick, request, "post", "exp_c"), "(.*) again")
    weights.rename(tree / "whole")
    weights.symlink_to("/etc/hostname")
    run_hint(quick, refused(quick, request, "post", "exp_c"), "(.*), and see")
    (tree / "whole").rename(weights)
    code = tree / "src/explicitlm/lm/config.py"
    code.write_text(code.read_text() + "# changed\n")
    run_hint(quick, refused(quick, request, "post", "exp_c"), "(.*); take")
    quick.git("-C", str(tree), "checkout", "-q", "--", "src")
    text = tree / "data/benchmarks/items.jsonl"
    text.unlink()
    text.write_text("my own\n")
    run_hint(quick, refused(quick, request, "post", "exp_c"), "aside: (.*), then")
    quick.git("init", "-q", "--bare", "../origin.git")
    quick.git("remote", "add", "origin", "../origin.git")
    posted = said(request, quick.explicitlm("cluster", "fetch", "exp_c", str(there)))
    quick.shell(posted)
    run_hint(quick, said(request, quick.explicitlm("cluster", "post", "exp_c")))
    assert quick.record("exp_c")["status"] == "finished"
