"""A project of the older layout, in which checkpoints/ was a folder, becomes one of the present layout."""

from __future__ import annotations

POINTER = "outs:\n- md5: {}.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: {}\n"


def make_old(box) -> None:
    """Takes the project back to the older layout, with two published pointers and weights laid out."""
    (box.root / "checkpoints").unlink()
    (box.root / "experiments/checkpoints").rename(box.root / "checkpoints")
    lines = (box.root / ".dvcignore").read_text().splitlines()
    (box.root / ".dvcignore").write_text("\n".join(lines[:-1]) + "\n")
    for number, name in enumerate(("exp_001", "exp_002")):
        (box.root / f"checkpoints/{name}.dvc").write_text(POINTER.format(f"{number}" * 32, name))
        (box.root / f"checkpoints/{name}").mkdir()
        (box.root / f"checkpoints/{name}/model.safetensors").write_text(name)
    box.git("add", "-A")
    box.git("commit", "-qm", "the older layout")


def layout_of(box) -> dict[str, str]:
    """Mode by path of everything about checkpoints that HEAD holds."""
    lines = box.git("ls-tree", "-r", "HEAD").splitlines()
    return {line.split("\t")[1]: line.split()[0] for line in lines if "checkpoints" in line}


PRESENT = {
    "checkpoints": "120000",
    "experiments/checkpoints/.gitignore": "100644",
    "experiments/checkpoints/exp_001.dvc": "100644",
    "experiments/checkpoints/exp_002.dvc": "100644",
}


def test_one_command_moves_pointers_and_weights(project) -> None:
    make_old(project)
    (project.root / "notes.txt").write_text("staged by the user")
    project.git("add", "notes.txt")
    assert "2 pointers" in project.explicitlm("migrate").stdout
    assert layout_of(project) == PRESENT
    assert project.git("status", "--porcelain") == "A  notes.txt"
    assert (project.root / "checkpoints/exp_002/model.safetensors").read_text() == "exp_002"
    assert (project.root / "checkpoints/exp_001.dvc").read_text().startswith("outs:\n- md5: 0000")
    assert "/experiments/checkpoints/" in (project.root / ".dvcignore").read_text()
    commit = project.git("rev-parse", "HEAD")
    assert "already" in project.explicitlm("migrate").stdout
    assert project.git("rev-parse", "HEAD") == commit


def test_it_ends_the_merge_that_brought_the_layout(project) -> None:
    project.git("branch", "upstream")
    make_old(project)
    project.git("checkout", "-q", "-b", "team", "HEAD")
    project.git("branch", "-q", "-f", "main", "upstream")
    # The common ancestor has the older layout, upstream the present one, the team two pointers more
    project.git("rm", "-q", "--cached", "checkpoints/exp_001.dvc", "checkpoints/exp_002.dvc")
    ancestor = project.git("commit-tree", project.git("write-tree"), "-m", "ancestor", "-p", "upstream")
    upstream = project.git("commit-tree", "upstream^{tree}", "-p", ancestor, "-m", "the present layout")
    team = project.git("commit-tree", "HEAD^{tree}", "-p", ancestor, "-m", "two experiments")
    project.git("reset", "-q", "--hard", team)
    assert project.run("git", "merge", upstream, check=False).returncode != 0
    project.explicitlm("migrate")
    project.git("commit", "-q", "--no-edit")
    assert layout_of(project) == PRESENT
    assert project.git("status", "--porcelain") == ""
    assert project.git("rev-parse", "HEAD^2") == upstream


def test_pointers_that_differ_stop_it_before_anything_moves(project) -> None:
    make_old(project)
    other = project.root / "experiments/checkpoints/exp_001.dvc"
    other.parent.mkdir(parents=True)
    other.write_text(POINTER.format("f" * 32, "exp_001"))
    before = project.snapshot()
    done = project.explicitlm("migrate", check=False)
    assert done.returncode == 2 and "different pointers" in done.stderr and "diff " in done.stderr
    assert project.snapshot() == before
