"""The hints about datasets, their pointers, DVC's cache and configuration, and the store, followed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from following import run_hint

from explicitlm.common.errors import ExplicitLMError
from explicitlm.datasets import log
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.lm.data.source import find_files
from explicitlm.lm.training import checkpoint
from explicitlm.pipeline import preflight
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.dvc_config import missing_plugin
from explicitlm.vcs.pointer import parse_pointer
from explicitlm.vcs.workspace import Workspace


def plans(box, **revisions: str):
    return resolve(Workspace(box.root, box.root), {dataset.param: "" for dataset in DATASETS} | revisions)


def sync(box) -> None:
    workspace = Workspace(box.root, box.root)
    wanted = plans(box)
    bring(workspace, wanted, check_untouched(workspace, wanted))


def fetch(box, name: str) -> None:
    with open_store(box.root) as data_store:
        data_store.fetch({f"data/{name}": pointer(box, name)})


def pointer(box, name: str):
    return parse_pointer((box.root / f"data/{name}.dvc").read_text(), f"data/{name}.dvc")


def stored(box, md5: str) -> Path:
    return box.root.parent / "explicitlm-storage/files/md5" / md5[:2] / md5[2:]


def new_version(box, text: str) -> None:
    """A new version of the training text, that only this clone has, in no commit."""
    file = box.root / "data/database/text.jsonl"
    file.unlink()
    file.write_text(json.dumps({"text": text}) + "\n")
    box.dvc("add", "-q", "data/database")


@pytest.mark.hint("git restore --source=HEAD -- {}")
def test_a_pointer_that_is_gone_comes_back_and_the_staged_one_stays(here, follow) -> None:
    new_version(here, "staged only")
    here.git("add", "data/database.dvc")
    (here.root / "data/database.dvc").unlink()
    follow(here, lambda: plans(here))


@pytest.mark.slow
@pytest.mark.hint("git add {} && git commit -m '{}: new version' -- {}, then the same command")
def test_a_pin_over_an_uncommitted_version(here, follow) -> None:
    new_version(here, "in no commit")
    (here.root / "README.md").write_text("staged for another commit\n")
    here.git("add", "README.md")
    follow(here, lambda: plans(here, dataset="HEAD~1"), "(.*), then")
    assert here.git("show", "--format=", "--name-only", "HEAD") == "data/database.dvc"


@pytest.mark.slow
@pytest.mark.hint("put your files into {}, then: dvc add {}")
@pytest.mark.hint("put your files there, then: dvc add {}")
@pytest.mark.hint("dvc add {}, or move the folder away")
@pytest.mark.hint("choose one of: git log --oneline -- {}")
def test_a_dataset_without_a_version(here, follow) -> None:
    here.git("rm", "-q", "--cached", "data/database.dvc")
    (here.root / "data/database.dvc").unlink()
    here.git("commit", "-qm", "no version of the text")
    follow(here, lambda: plans(here), "then: (.*)")
    (here.root / "data/embeddings").mkdir()
    (here.root / "data/embeddings/vectors.bin").write_bytes(b"1234")
    workspace = Workspace(here.root, here.root)
    hint = follow(here, lambda: log.versions(workspace, "embeddings"), "then: (.*)", mends=False)
    here.commit("embeddings", "data/embeddings.dvc")
    assert len(log.versions(workspace, "embeddings")) == 1 and hint.endswith("data/embeddings")
    follow(here, lambda: plans(here, embedding="HEAD~1"), "choose one of: (.*)", mends=False)
    (here.root / "data/cache").mkdir()
    (here.root / "data/cache/bank.bin").write_bytes(b"1234")
    follow(here, lambda: check_untouched(workspace, plans(here)), "(.*), or")


@pytest.mark.slow
@pytest.mark.hint("mkdir -p {} && mv {} {}")
def test_a_link_where_a_version_has_a_folder(here, follow, tmp_path: Path) -> None:
    (here.root / "data/database/sub").mkdir()
    (here.root / "data/database/sub/more.jsonl").write_text('{"text": "more"}\n')
    here.dvc("add", "-q", "data/database")
    here.commit("v3", "data/database.dvc")
    shutil.rmtree(here.root / "data/database/sub")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/more.jsonl").write_text('{"text": "my own"}\n')
    (here.root / "data/database/sub").symlink_to(tmp_path / "elsewhere")
    workspace, wanted = Workspace(here.root, here.root), plans(here)
    follow(here, lambda: bring(workspace, wanted, {item.dataset.folder: item.target is None for item in wanted}))
    assert (here.root / "data/database/sub/more.jsonl").read_text() == '{"text": "more"}\n'
    assert (tmp_path / "elsewhere/more.jsonl").read_text() == '{"text": "my own"}\n'


@pytest.mark.slow
@pytest.mark.hint("where it was made: explicitlm {}; here: dvc remote list, explicitlm doctor")
@pytest.mark.hint("remove the damaged objects on the store, then where it was made: explicitlm {}")
def test_what_the_store_lost_or_damaged_is_sent_again(here, follow) -> None:
    """`dvc push` would believe the folder's list, which the store still has."""
    clone, md5 = here.clone("clone"), json.loads(listing(here).read_text())[0]["md5"]
    here.explicitlm("data", "push", "database")
    whole = stored(here, md5)
    content = whole.read_bytes()
    whole.unlink()
    follow(clone, lambda: fetch(clone, "database"), "here: (dvc remote list), explicitlm doctor", mends=False)
    with pytest.raises(ExplicitLMError) as caught:
        fetch(clone, "database")
    run_hint(here, caught.value.hint, "where it was made: (.*); here")
    fetch(clone, "database")

    shutil.rmtree(clone.root / ".dvc/cache")
    whole.chmod(0o644)
    whole.write_bytes(content[:-2] + b"x\n")
    with pytest.raises(ExplicitLMError) as caught:
        fetch(clone, "database")
    whole.unlink(missing_ok=True)  # DVC itself drops it, when it sees that it is damaged
    run_hint(here, caught.value.hint, "where it was made: (explicitlm data push database)")
    fetch(clone, "database")


def listing(box) -> Path:
    md5 = pointer(box, "database").md5
    return box.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


@pytest.mark.hint("mv {} {} fetches it again; if it comes back so, ask who added {}")
def test_a_broken_list_in_the_cache(here, follow) -> None:
    here.explicitlm("data", "push", "database")
    path = listing(here)
    path.chmod(0o644)
    path.write_text("no list")

    def look() -> None:
        with open_store(here.root) as data_store:
            data_store.fetch({"data/database": pointer(here, "database")})
            data_store.parts(pointer(here, "database"))

    follow(here, look, "(mv .*) fetches")


@pytest.mark.hint("explicitlm remote local, or: explicitlm remote minio")
@pytest.mark.hint("ls -ld {}; or choose another: explicitlm remote local")
@pytest.mark.hint("dvc remote modify {} --help, or choose another: explicitlm remote local")
def test_a_remote_that_cannot_be_used(here, follow) -> None:
    workspace = Workspace(here.root, here.root)
    here.dvc("remote", "default", "-q", "--unset")
    follow(here, lambda: preflight.check_remote(workspace), "(.*), or:")
    (here.root.parent / "file").write_text("no folder")
    here.dvc("remote", "add", "-q", "--local", "-d", "file", str(here.root.parent / "file/below it's"))
    follow(here, lambda: preflight.check_remote(workspace), "(.*); or choose another: (.*)")
    config = {"remote": {"far": {"url": "s3://bucket/x", "nonsense": "1"}}, "core": {}, "cache": {}, "feature": {}}

    def ask() -> None:
        if error := missing_plugin("far", config):
            raise error

    here.dvc("remote", "add", "-q", "--local", "far", "s3://bucket/x")
    follow(here, ask, "(.*), or choose another: (.*)", mends=False)


@pytest.mark.slow
@pytest.mark.hint("dvc pull {}")
@pytest.mark.hint("mv {} {} && dvc pull {}")
def test_data_and_weights_that_are_not_here(here, follow) -> None:
    weights = here.root / "experiments/checkpoints/exp_1"
    made = here.root / "data/exp_1"
    made.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (made / name).write_text(name)
    here.dvc("add", "-q", "data/exp_1")
    here.dvc("push", "-q", "data/exp_1.dvc", "data/database.dvc")
    for path in (made, made.with_suffix(".dvc")):
        path.rename(weights.parent / path.name)
    shutil.rmtree(here.root / "data/database")
    (here.root / "data/benchmarks/more.jsonl").write_text("my own, in no version\n")
    follow(here, lambda: find_files(Path("data/database"), [".jsonl"], "the training data"))
    (weights / "config.json").unlink()
    (weights / "model.safetensors").unlink()
    (weights / "model.safetensors").write_text("edited by hand")
    follow(here, lambda: checkpoint.load("checkpoints/exp_1"), mends=False)
    assert (weights / "model.safetensors").read_text() == "model.safetensors"
