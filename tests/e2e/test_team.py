"""Everyday commands in a team: used workspaces, many published experiments, two people who publish at the same time.

The trainings are stubs (see stub_training); git, DVC, the stages and the commands are real.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from processes import work_off_the_queue

ROOT = Path(__file__).parents[2]
HIDDEN = "outs:\n- md5: {}.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: {}\n"


def run(box, experiment: str, *overrides: str) -> None:
    box.dvc("exp", "run", "-n", experiment, *(word for pair in overrides for word in ("-S", pair)))


def hinted(pattern: str, told: str) -> str:
    found = re.search(pattern, told)
    assert found, told
    return found[1]


def weights(box, experiment: str) -> str:
    return (box.root / f"checkpoints/{experiment}/model.safetensors").read_text()


def add_teammates(box, number: int) -> None:
    """Commits pointers of a colleague's experiments, whose weights are nowhere here."""
    for index in range(number):
        name = f"theirs_{index}"
        path = box.root / f"experiments/checkpoints/{name}.dvc"
        path.write_text(HIDDEN.format(f"{index:032x}", name))
    box.git("add", "--force", "experiments/checkpoints")
    box.git("commit", "-qm", f"{number} experiments of a colleague")


def test_a_used_workspace_goes_to_any_published_experiment_and_back(quick) -> None:
    older = quick.git("rev-parse", "HEAD~1")
    run(quick, "exp_003", "epochs=2", f'data.dataset="{older}"', 'description="first words"')
    run(quick, "exp_004", "epochs=3", "data.dataset=", 'description="second words"')
    done = quick.explicitlm("publish", "exp_003", "exp_004")
    assert "next: git push --atomic origin HEAD exp_003 exp_004" in done.stdout
    assert quick.git("status", "--porcelain") == ""
    assert quick.git("log", "-1", "--format=%B").splitlines() == [
        "chore: 添加实验记录 exp_003, exp_004", "", "exp_003 - first words", "exp_004 - second words",
    ]  # fmt: skip
    assert quick.git("show", "--name-only", "--format=", "HEAD").split() == [
        "experiments/checkpoints/exp_003.dvc", "experiments/checkpoints/exp_004.dvc",
        "experiments/records/exp_003.json", "experiments/records/exp_004.json",
    ]  # fmt: skip
    assert quick.git("tag", "-n").split() == ["exp_003", "exp_003", "-", "first", "words",
                                              "exp_004", "exp_004", "-", "second", "words"]  # fmt: skip

    shutil.rmtree(quick.root / "checkpoints/exp_003")
    quick.shell("git checkout -q exp_003 && dvc pull checkpoints/exp_003.dvc")
    assert "epochs: 2" in (quick.root / "params.yaml").read_text()
    assert json.loads((quick.root / "experiments/run/manifest.json").read_text())["id"] == "exp_003"
    assert weights(quick, "exp_003")
    quick.shell("git checkout -q main && git checkout -q exp_004 && dvc pull checkpoints/exp_004.dvc")
    quick.git("checkout", "-q", "main")
    assert quick.git("status", "--porcelain") == ""

    # The record stage can still be repeated, and gives the same record
    record = (quick.root / "experiments/records/exp_004.json").read_bytes()
    quick.dvc("repro", "--single-item", "record")
    assert (quick.root / "experiments/records/exp_004.json").read_bytes() == record


def test_what_a_run_left_stays_while_it_is_not_published(quick) -> None:
    run(quick, "exp_003", "epochs=2")
    run(quick, "exp_004", "epochs=3")
    quick.explicitlm("publish", "exp_003")
    assert "epochs: 3" in (quick.root / "params.yaml").read_text()
    assert (quick.root / "dvc.lock").exists()


def test_record_and_dvc_say_the_same(quick) -> None:
    """The record reads dvc.lock and metrics.json; `dvc exp show`, 1 s slower, must have the same numbers."""
    run(quick, "exp_001")
    record = quick.record("exp_001")
    rows = json.loads(quick.dvc("exp", "show", "--json").stdout)
    data = next(row["data"] for row in rows if row["rev"] == "workspace")
    train = [dep for dep in data["deps"] if dep != "checkpoints/run"]
    assert record["dependencies"] == {path: data["deps"][path]["hash"] for path in sorted(train)}
    assert record["results"]["metrics"] == data["metrics"]["experiments/run/metrics.json"]["data"]
    assert record["versions"]["checkpoint_hash"] == data["outs"]["checkpoints/run"]["hash"]


def test_apply_and_save_beside_the_weights_of_others(quick) -> None:
    add_teammates(quick, 20)
    run(quick, "exp_001", "epochs=2")
    run(quick, "exp_002", "epochs=3")
    quick.dvc("exp", "apply", "exp_001")
    assert "epochs: 2" in (quick.root / "params.yaml").read_text()
    quick.dvc("exp", "save", "-n", "kept")
    assert "kept" in quick.dvc("exp", "list").stdout
    quick.dvc("push")
    assert quick.explicitlm("publish", "exp_001").returncode == 0


def test_an_experiment_without_a_dataset_that_head_has(quick) -> None:
    (quick.root / "data/embeddings").mkdir()
    np.save(quick.root / "data/embeddings/table.npy", np.zeros((300, 32), np.float32))
    quick.dvc("add", "-q", "data/embeddings")
    commit = quick.commit("embeddings", "data/embeddings.dvc", "data/.gitignore")
    run(quick, "without", "data.embedding=none")
    record = quick.record("without")
    assert record["versions"]["data"]["embedding_commit"] is None and record["data"]["embeddings"] is None
    assert record["changed_params"] == {"data.embedding": ["", "none"]}
    run(quick, "with", "data.embedding=")
    assert quick.record("with")["versions"]["data"]["embedding_commit"] == commit
    quick.explicitlm("publish", "without", "with")
    assert quick.git("ls-tree", "--name-only", "without", "data/embeddings.dvc") == ""
    assert quick.git("ls-tree", "--name-only", "with", "data/embeddings.dvc") == "data/embeddings.dvc"
    assert quick.git("status", "--porcelain") == ""
    quick.explicitlm("run", "isolated", "data.embedding=none")
    isolated = quick.record("isolated")["versions"]
    assert isolated["checkpoint_hash"] == record["versions"]["checkpoint_hash"]
    assert (quick.root / "data/embeddings/table.npy").exists()


def test_gc_keeps_what_a_tag_holds(quick) -> None:
    run(quick, "exp_001", "epochs=2")
    quick.explicitlm("publish", "exp_001")
    run(quick, "exp_002", "epochs=3")
    quick.git("checkout", "-q", "--", "params.yaml")
    (quick.root / "dvc.lock").unlink()
    quick.dvc("gc", "--workspace", "--all-tags", "--force")
    shutil.rmtree(quick.root / "checkpoints/exp_001")
    quick.dvc("checkout", "checkpoints/exp_001.dvc")
    assert weights(quick, "exp_001")


def test_publish_saves_a_recorded_workspace_itself(quick) -> None:
    quick.dvc("repro")  # no experiment of DVC's is made
    experiment = json.loads((quick.root / "experiments/run/manifest.json").read_text())["id"]
    quick.explicitlm("publish", experiment)
    record = quick.record(experiment)
    assert record["versions"]["experiment_commit"] == quick.git("rev-parse", f"{experiment}^{{commit}}")
    assert "dvc.lock" in quick.git("ls-tree", "--name-only", experiment).split()
    other = quick.clone("other")
    other.shell(f"git checkout -q {experiment} && dvc pull checkpoints/{experiment}.dvc")
    assert weights(other, experiment) == weights(quick, experiment)


def test_a_refused_repetition_takes_nothing_from_a_run_that_is_only_recorded(quick) -> None:
    quick.dvc("exp", "run", "-n", "exp_001")
    quick.dvc("exp", "remove", "exp_001")  # as if DVC had been killed before it made the experiment
    refused = quick.dvc("exp", "run", "-n", "exp_001", check=False)
    assert refused.returncode and "next: explicitlm publish exp_001" in refused.stderr
    quick.explicitlm("publish", "exp_001")
    assert quick.record("exp_001")["versions"]["experiment_tag"] == "exp_001"


def test_facts_that_are_not_whole_in_the_bank_are_a_finding(quick) -> None:
    done = quick.run("dvc", "exp", "run", "-n", "exp_001", STUB_TRAINING="cuts")
    assert "facts that are not whole in the memory bank: 2 left out" in done.stdout + done.stderr
    findings = quick.record("exp_001")["findings"]
    assert (findings["facts_left_out"], findings["facts_cut"]) == (2, 1)


def test_publishing_in_a_merge_waits_for_its_end(team) -> None:
    """The hint is followed word by word, and the same command then works."""
    ada, bo = team
    ada.dvc("push")  # the data
    for box, seed in ((ada, 5), (bo, 6)):
        box.set_params(seed=seed)
        box.commit("another seed", "params.yaml")
    ada.git("push", "-q", "origin", "HEAD")
    run(bo, "bo_1", "epochs=2")
    bo.git("stash", "push", "-q", "-u")
    assert bo.run("git", "pull", "-q", "--no-rebase", check=False).returncode != 0, "a conflict"
    refused = bo.explicitlm("publish", "bo_1", check=False)
    assert refused.returncode == 2 and "a merge is going on" in refused.stderr
    assert "git merge --continue" in refused.stderr
    bo.git("checkout", "-q", "--theirs", "params.yaml")
    bo.git("add", "params.yaml")
    bo.run("git", "merge", "--continue", GIT_EDITOR="true")
    bo.explicitlm("publish", "bo_1")
    assert bo.git("log", "-1", "--format=%s").startswith("chore: 添加实验记录 bo_1")


def test_new_files_that_the_experiments_commit_holds_are_not_called_lost(quick) -> None:
    (quick.root / "helper.py").write_text("a = 1\n")
    (quick.root / "src/explicitlm/lm/new.py").write_text("b = 1\n")
    run(quick, "exp_001")
    code = quick.record("exp_001")["code"]
    assert code["dirty"] and code["changed"] == ["src/explicitlm/lm/new.py"] and code["untracked"] == ["helper.py"]
    quick.explicitlm("publish", "exp_001")
    held = quick.git("ls-tree", "-r", "--name-only", "exp_001").split()
    assert "src/explicitlm/lm/new.py" in held and "helper.py" not in held


def test_a_resumed_experiment_keeps_its_first_command_and_is_promised_no_other_settings(quick) -> None:
    words = ("run", "exp_001", "-m", "a first one", "epochs=2")
    failed = quick.explicitlm(*words, check=False, STUB_TRAINING="fails")
    assert failed.returncode == 5
    assert "next: explicitlm run exp_001 --resume (with the same parameters, once the" in failed.stderr
    assert "others need a new id)" in failed.stderr
    assert quick.record("exp_001")["failure"]["error"].splitlines() == [
        "the loss is nan at step 4: training has diverged",
        "error: the loss is nan at step 4: training has diverged",
    ]
    quick.explicitlm("run", "exp_001", "--resume")
    experiment = quick.record("exp_001")["experiment"]
    assert experiment["script"] == "explicitlm run exp_001 -m 'a first one' epochs=2"
    assert experiment["description"] == "a first one"


@pytest.mark.hint("git stash push -- {}, then a correct -S ({})")
def test_a_refused_pin_names_the_file_that_keeps_it_and_a_way_back_that_loses_nothing(quick) -> None:
    quick.set_params(epochs=5)
    mine = (quick.root / "params.yaml").read_text()
    refused = quick.dvc("exp", "run", "-n", "x", "-S", "data.dataset=badrev", check=False)
    assert refused.returncode != 0 and "'badrev' is not a revision that git knows" in refused.stderr
    assert "params.yaml goes on asking for data.dataset=badrev" in refused.stderr
    again = quick.dvc("exp", "run", "-n", "x", check=False)
    assert "params.yaml goes on asking for data.dataset=badrev" in again.stderr
    way_back = re.search(r"next: (git stash push -- params.yaml), then", refused.stderr)
    assert way_back, refused.stderr
    quick.shell(way_back[1])
    run(quick, "x", "epochs=2")
    quick.git("checkout", "-q", "--", "params.yaml")
    quick.git("stash", "pop")
    assert (quick.root / "params.yaml").read_text().replace("badrev", "''") == mine, "what was edited by hand is kept"


def test_a_worker_of_the_queue_takes_no_other_experiments_description(quick) -> None:
    run(quick, "first", "epochs=2", 'description="words of the first"')
    quick.dvc("exp", "run", "--queue", "-n", "plain", "-S", "epochs=3")
    quick.dvc("exp", "run", "--queue", "-n", "sweep", "-S", "seed=1,2", "-S", 'description="of a sweep"')
    names = {"plain", "sweep-1", "sweep-2"}
    work_off_the_queue(quick, 1, lambda: names <= set(quick.dvc("exp", "list", "--name-only").stdout.split()))
    quick.explicitlm("publish", *sorted(names))
    assert [quick.record(name)["experiment"]["description"] for name in sorted(names)] == [
        "",
        "of a sweep",
        "of a sweep",
    ]
    assert quick.record("sweep-1")["leftover_params"] == {}


def test_a_description_in_chinese_needs_no_quotes_within_quotes(quick) -> None:
    before = quick.snapshot()
    refused = quick.shell("dvc exp run -n x -S description=唐诗", check=False)
    assert refused.returncode != 0 and quick.snapshot() == before, "DVC's own grammar"
    line = "EXPLICITLM_MESSAGE=唐诗 dvc exp run"
    for document in ("README.md", "README.zh-CN.md"):
        assert line in (ROOT / document).read_text(encoding="utf-8")
    quick.shell(f"{line} -n x")
    quick.explicitlm("run", "y", "-m", "唐诗", "epochs=2")
    assert quick.record("x")["experiment"]["description"] == quick.record("y")["experiment"]["description"] == "唐诗"


@pytest.mark.hint("fetch from where it was trained: {}; then dvc commit -f train, and dvc repro --single-item record")
def test_weights_without_what_was_written_beside_them(quick) -> None:
    """Trained elsewhere by plain commands, and only the weights were brought back: nothing need be trained again."""
    run(quick, "exp_001")
    aside = quick.root.parent / "elsewhere"
    aside.mkdir()
    for name in ("result.json", "metrics.json", "train.csv", "val.csv", "digests.csv"):
        shutil.move(quick.root / "experiments/run" / name, aside / name)
    refused = quick.dvc("repro", "--single-item", "record", check=False)
    assert refused.returncode != 0 and "dvc repro train" not in refused.stderr
    hint = re.search(r"next: fetch from where it was trained: (.*); then (.*), and (.*)", refused.stderr)
    assert hint and {path.name for path in aside.iterdir()} <= {Path(name).name for name in hint[1].split()}
    for path in aside.iterdir():
        shutil.move(path, quick.root / "experiments/run" / path.name)
    quick.shell(f"{hint[2]} && {hint[3]}")


def test_the_environment_need_not_be_activated(quick, stub_commands: Path) -> None:
    bare = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    quick.run(str(stub_commands / "explicitlm"), "run", "exp_001", **bare)
    quick.run(str(stub_commands / "explicitlm"), "cluster", "pre", "exp_002", **bare)
    assert quick.record("exp_001")["status"] == "finished"


def test_a_name_that_is_used_is_freed_by_what_the_hint_says(quick) -> None:
    def refused(*words: str) -> str:
        done = quick.dvc("exp", "run", "-n", "w1", *words, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    run(quick, "w1")
    first = quick.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    (commit,) = [line.split()[0] for line in first if line.endswith("/w1")]
    for words in ((), ("-f",)):
        told = refused(*words)
        assert "w1" in told and ("conflicts with existing" in told or "is used" in told), told
        assert quick.git("cat-file", "-t", commit) == "commit"
        assert commit in quick.git("for-each-ref", "refs/exps"), "the first one is untouched"
    quick.shell(hinted(r"free the name: (dvc exp rename w1 w1_old)", told))
    told = refused()
    assert "experiments/records/w1.json exists, left by an earlier run" in told, told
    quick.shell(hinted("put it aside: (.*)", told))
    run(quick, "w1", "epochs=2")
    quick.dvc("exp", "remove", "w1")
    quick.shell(hinted("put it aside: (.*)", refused()))
    run(quick, "w1", "epochs=3")
    assert quick.record("w1")["hyperparameters"]["epochs"] == 3


def test_dvcs_own_hooks_hinder_nothing(quick) -> None:
    quick.dvc("install")
    quick.explicitlm("cluster", "pre", "exp_far")
    quick.explicitlm("run", "exp_001")
    run(quick, "exp_002", "epochs=2")
    quick.explicitlm("publish", "exp_002")
    assert quick.git("tag").split() == ["exp_001", "exp_002"]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_isolated_runs_in_a_folder_with_chinese_letters(quick, locale: str) -> None:
    """DVC's own die before a stage of ours runs: what we run before says so, and how they can."""
    (quick.root.parent / "实验").mkdir()
    box = type(quick)(quick.root.parent / "实验/project", quick.env | {"LC_ALL": locale})
    shutil.move(quick.root, box.root)
    checks = json.loads(box.explicitlm("doctor", "--json", check=False).stdout)["checks"]
    (told,) = [check for check in checks if check["name"] == "isolated runs"]
    assert "in ASCII" in told["detail"] and "实验" in told["detail"]
    assert box.dvc("exp", "run", "--temp", "-n", "x", check=False).returncode != 0, "as the doctor says"
    box.explicitlm("run", "exp_001")
    plain = box.dvc("exp", "run", "-n", "exp_002", "-S", "epochs=3")
    assert f"WARNING: {told['detail']}; next: {told['hint']}" in plain.stdout + plain.stderr
    box.explicitlm("publish", "exp_002")
    words = ("compare", "exp_001", "exp_002", "--seeds", "2", "--run")
    refused = box.explicitlm(*words, check=False)
    assert refused.returncode == 2 and f"next: {told['hint']}, then" in refused.stderr, "before anything is queued"
    box.shell(told["hint"])
    box.dvc("exp", "run", "--temp", "-n", "y", "-S", "epochs=2")
    box.explicitlm("publish", "y")
    assert "isolated runs" not in box.explicitlm("doctor", check=False).stdout
    plain = box.dvc("exp", "run", "-n", "exp_003", "-S", "epochs=4")
    assert "cannot start" not in plain.stdout + plain.stderr
    assert "next: dvc queue start" in box.explicitlm(*words).stdout


def test_an_unpublished_run_is_stashed_and_comes_back(quick) -> None:
    """Its parameters differ from HEAD's, which keeps git from checking out anything else."""
    run(quick, "exp_003", "epochs=2")
    quick.explicitlm("publish", "exp_003")
    run(quick, "exp_004", "epochs=3")
    document = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    away, back = re.findall(r"^git stash .*", document, flags=re.MULTILINE)
    assert quick.run("git", "checkout", "-q", "exp_003", check=False).returncode != 0
    quick.shell(away.split("  #")[0])
    assert weights(quick, "exp_003") and "epochs: 2" in (quick.root / "params.yaml").read_text()
    quick.shell(back.split("  #")[0].replace("git stash pop", "git checkout -q main && git stash pop"))
    assert "epochs: 3" in (quick.root / "params.yaml").read_text()
    quick.dvc("repro", "--single-item", "record")
    quick.explicitlm("publish", "exp_004")
    assert quick.git("status", "--porcelain") == ""


@pytest.fixture
def team(quick):
    """A bare origin and two people's clones of it."""
    origin = quick.root.parent / "origin.git"
    quick.git("clone", "-q", "--bare", str(quick.root), str(origin))
    quick.git("remote", "add", "origin", str(origin))
    quick.git("fetch", "-q")
    quick.git("branch", "-q", "--set-upstream-to=origin/main")
    other = quick.clone("bo")
    other.git("remote", "set-url", "origin", str(origin))
    other.dvc("pull", "data/database.dvc", "data/benchmarks.dvc", "data/knowledge_base.dvc", check=False)
    return quick, other


def test_a_plain_pull_in_a_fresh_clone(team) -> None:
    """The branch's dvc.lock names empty outs, which `publish` has sent with the data."""
    ada = team[0]
    ada.dvc("push")  # before anything was published
    for name, epochs in (("ada_1", 2), ("ada_2", 3)):
        run(ada, name, f"epochs={epochs}")
        ada.explicitlm("publish", name)
    assert (
        ada.git("status", "--porcelain") == ""
        and (ada.root / "dvc.lock").read_text() == (ROOT / "dvc.lock").read_text()
    )
    ada.git("push", "-q", "--atomic", "origin", "HEAD", "ada_1", "ada_2")
    other = ada.clone("other")
    other.dvc("pull")
    assert (other.root / "data/database/text.jsonl").exists() and other.git("status", "--porcelain") == ""
    assert list((other.root / "checkpoints/run").iterdir()) == []
    for line in ("dvc push", "dvc checkout", "git pull -q && dvc pull"):
        ada.shell(line)
    other.shell("git checkout -q ada_1 && dvc pull")
    assert (other.root / "checkpoints/run/model.safetensors").read_text() == weights(ada, "ada_1"), "the run's as well"
    other.shell("git checkout -q main && dvc pull && dvc exp run -n other_1 -S epochs=4")
    assert weights(other, "other_1")


@pytest.fixture
def applied(quick):
    """A project in which a published experiment was applied that is older than another one."""
    for name, epochs in (("exp_001", 2), ("exp_002", 3)):
        run(quick, name, f"epochs={epochs}")
        quick.explicitlm("publish", name)
    quick.explicitlm("conclude", "exp_001", "worth it")
    quick.dvc("exp", "apply", "exp_001")
    return quick


def test_applying_a_published_experiment_loses_no_record(applied) -> None:
    """DVC lays out the experiment's own commit, which has neither later records nor the later form of its own."""
    published = json.loads(applied.git("show", "HEAD:experiments/records/exp_001.json"))
    assert not (applied.root / "experiments/records/exp_002.json").exists()
    assert applied.record("exp_001")["conclusion"] is None
    told = applied.explicitlm("compare").stderr
    assert "has taken away 3 file(s)" in told and "explicitlm doctor" in told
    done = applied.explicitlm("publish", "exp_001")
    assert "back from HEAD, which dvc exp apply had taken away: experiments/checkpoints/exp_002.dvc" in done.stdout
    assert applied.record("exp_001") == published and published["conclusion"] == "worth it"
    assert applied.record("exp_002")["versions"]["experiment_tag"] == "exp_002"
    assert applied.git("status", "--porcelain") == "" and weights(applied, "exp_001") != weights(applied, "exp_002")


@pytest.mark.hint("git checkout HEAD -- {}")
def test_doctor_brings_back_what_an_applied_experiment_has_taken_away(applied) -> None:
    def records() -> list[dict[str, str]]:
        checks = json.loads(applied.explicitlm("doctor", "--json", check=False).stdout)["checks"]
        return [check for check in checks if check["name"] == "records"]

    (applied.root / "experiments/records/README.md").write_text("edited by hand")
    (told,) = records()
    applied.shell(told["hint"])
    assert applied.git("diff", "--stat", "HEAD", "--", "experiments").startswith("experiments/records/README.md")
    assert records() == []
    applied.explicitlm("conclude", "exp_002", "not worth it")


@pytest.mark.parametrize("document", ["README.md", "README.zh-CN.md"])
def test_loss_and_parameters_are_seen_in_120_columns(quick, document: str) -> None:
    run(quick, "exp_003", "epochs=2", 'description="first words"')
    run(quick, "exp_004", "epochs=3", "learning_rate=1e-3", 'description="其他的词"')
    quick.explicitlm("publish", "exp_003", "exp_004")
    lines = [line.split("  #")[0] for line in (ROOT / document).read_text(encoding="utf-8").splitlines()]
    plain, short = [line for line in lines if line.startswith("dvc exp show -T")]
    for line, wanted in ((plain, ["val_loss"]), (short, ["val_loss", "epochs", "learning_rate"])):
        shown = on_terminal(quick, line, columns=120)
        header = next(row for row in shown if "Experiment" in row)
        assert all(name in header for name in wanted), shown
        for name in ("exp_003", "exp_004"):
            record = quick.record(name)
            cells = next(row for row in shown if name in row).split()
            values = record["results"]["metrics"] | record["hyperparameters"]
            assert all(f"{values[key]:.5g}" in cells for key in wanted), shown


def on_terminal(box, line: str, columns: int) -> list[str]:
    """What a terminal of that width shows of a command's first page."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = ["bash", "-c", line]
    env = box.env | {"TERM": "xterm", "DVC_PAGER": "cat"}
    with subprocess.Popen(command, cwd=box.root, env=env, stdin=there, stdout=there, stderr=there) as process:
        os.close(there)
        with os.fdopen(here, "rb", buffering=0) as terminal:
            output = b""
            with suppress(OSError):  # the end of a terminal is an error to read
                while part := terminal.read(65536):
                    output += part
        assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode())
    return [row[:columns] for row in text.splitlines()]


def test_two_people_publish_pull_and_reproduce_each_others(team) -> None:
    ada, bo = team
    ada.dvc("push")  # the data
    run(ada, "ada_1", "epochs=2", 'description="by Ada"')
    run(bo, "bo_1", "epochs=3", 'description="by Bo"')
    ada.explicitlm("publish", "ada_1")
    bo.explicitlm("publish", "bo_1")
    ada.git("push", "-q", "--atomic", "origin", "HEAD", "ada_1")
    refused = bo.run("git", "push", "--atomic", "origin", "HEAD", "bo_1", check=False)
    assert refused.returncode != 0, "Ada was first"
    assert "bo_1" not in bo.git("ls-remote", "--tags", "origin"), "all or nothing"
    bo.git("pull", "-q", "--no-rebase", "--no-edit", "--tags")
    bo.git("push", "-q", "--atomic", "origin", "HEAD", "bo_1")
    ada.git("pull", "-q", "--tags")
    assert ada.git("rev-parse", "HEAD") == bo.git("rev-parse", "HEAD")
    for box in team:
        assert box.git("status", "--porcelain") == ""
        assert sorted(path.stem for path in (box.root / "experiments/records").glob("*.json")) == ["ada_1", "bo_1"]

    for box, theirs in ((ada, "bo_1"), (bo, "ada_1")):
        box.shell(f"git checkout -q {theirs} && dvc pull checkpoints/{theirs}.dvc && git checkout -q main")
        recorded = box.record(theirs)["versions"]["checkpoint_hash"]
        again = box.clone(f"again-{theirs}")
        again.git("checkout", "-q", theirs)
        again.dvc("pull", "data/database.dvc", "data/benchmarks.dvc", "data/knowledge_base.dvc")
        shutil.rmtree(again.root / "checkpoints/run", ignore_errors=True)
        again.dvc("repro", "--single-item", "--force", "train")
        assert recorded in (again.root / "dvc.lock").read_text(), "bit-identical weights"
    assert weights(ada, "bo_1") == weights(bo, "bo_1")
    assert weights(ada, "ada_1") == weights(bo, "ada_1") != weights(ada, "bo_1")
