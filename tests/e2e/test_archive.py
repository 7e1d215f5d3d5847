"""Freeing the cache loses nothing: not an unpublished experiment, not a version that was never pushed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from stub_training import stub_training

from explicitlm.common import layout
from explicitlm.vcs import owners


@pytest.fixture
def box(fresh, tmp_path: Path):
    """A project with one published and one unpublished experiment, and versions that only this clone has."""
    found = fresh(tmp_path)
    found.env["PATH"] = f"{stub_training(tmp_path / 'stub')}{os.pathsep}{found.env['PATH']}"
    found.explicitlm("run", "exp_1", "seed=1")
    found.dvc("exp", "run", "--temp", "-n", "exp_2", "-S", "seed=2")
    (found.root / "data/database/more.jsonl").write_text('{"text": "never pushed"}\n')
    found.dvc("add", "-q", "data/database")
    found.commit("data v3", "data/database.dvc")
    (found.root / "data/database/more.jsonl").unlink()
    (found.root / "data/database/more.jsonl").write_text('{"text": "in use"}\n')
    found.dvc("add", "-q", "data/database")
    found.commit("data v4", "data/database.dvc")
    return found


def cached(root: Path) -> dict[str, bytes]:
    folder = root / ".dvc/cache/files/md5"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.hint("explicitlm archive --dry")
@pytest.mark.hint("explicitlm archive --dry shows what the cache can do without, or free space elsewhere on the disk")
def test_only_what_the_remote_holds_goes_and_all_of_it_comes_back(box, tmp_path: Path) -> None:
    before, state = cached(box.root), box.snapshot()
    store = tmp_path / "explicitlm-storage/files/md5"

    dry = json.loads(box.explicitlm("archive", "--dry", "--json").stdout)["versions"]
    assert cached(box.root) == before and box.snapshot() == state
    told = {each["name"]: each for each in dry}
    assert told["exp_1"]["objects"] == 2 and told["exp_1"]["kept"] == "", "tokenizer.json is exp_2's too"
    assert told["exp_1 experiments/items.jsonl.zst"]["objects"] == 1
    assert told["exp_2"]["objects"] == 0 and "not on remote" in told["exp_2"]["kept"]

    # A remote that lost an object, and one that holds half of another: both stay here
    weights = (box.root / "experiments/checkpoints/exp_1.dvc").read_text().split("md5: ")[1].split()[0]
    listed = json.loads((store / weights[:2] / weights[2:]).read_text())
    lost, half = (store / each["md5"][:2] / each["md5"][2:] for each in listed[:2])
    content, rest = lost.read_bytes(), half.read_bytes()
    for path, new in ((lost, None), (half, rest[:-1])):
        path.unlink()
        if new is not None:
            path.write_bytes(new)
    box.explicitlm("archive")
    after = cached(box.root)
    for path in (lost, half):
        assert str(path.relative_to(store)) in after
    lost.write_bytes(content)
    half.unlink(missing_ok=True)  # DVC itself may have dropped it, when it saw that it is damaged
    half.write_bytes(rest)

    done = box.explicitlm("archive")
    after = cached(box.root)
    assert "explicitlm archive --restore" in done.stdout and len(after) < len(before)
    for name in before.keys() - after.keys():
        assert (store / name).read_bytes() == before[name], "the remote holds what went"
    assert box.snapshot() == state
    text = (box.root / "data/database/more.jsonl").read_text()
    assert text == '{"text": "in use"}\n'
    assert hashlib.md5(b'{"text": "never pushed"}\n').hexdigest() in {name.replace("/", "") for name in after}

    box.explicitlm("publish", "exp_2")  # what was not published is all there
    assert "restored: exp_1" in box.explicitlm("archive", "--restore").stdout
    assert before.items() <= cached(box.root).items()
    assert (box.root / "checkpoints/exp_1/model.safetensors").is_file()


def test_while_an_experiment_is_at_work_nothing_goes(box, tmp_path: Path) -> None:
    before = cached(box.root)
    with subprocess.Popen(["sleep", "1000"]) as process:
        note = {"owners": [asdict(owners.Owner.of(psutil.Process(process.pid)))]}
        (box.root / layout.OWNERS / "exp_3.json").write_text(json.dumps(note))
        done = box.explicitlm("archive", check=False)
        assert done.returncode == 2 and "exp_3 is at work" in done.stderr and cached(box.root) == before
        assert "exp_1" in box.explicitlm("archive", "--dry").stdout
        process.kill()
    box.explicitlm("archive")
    assert len(cached(box.root)) < len(before)


@pytest.mark.hint("explicitlm archive --dry shows what the remote holds")
def test_a_shared_cache_is_left_alone(box, tmp_path: Path) -> None:
    (box.root / ".dvc/cache").rename(tmp_path / "shared")
    box.dvc("cache", "dir", "--local", str(tmp_path / "shared"))
    done = box.explicitlm("archive", check=False)
    assert done.returncode == 2 and "not this clone's alone" in done.stderr
    box.shell(done.stderr.split("next: ")[1].split(" shows")[0])
