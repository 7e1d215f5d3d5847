"""Secrets planted where people keep them are found nowhere else: no file, git object, store, tree, script, output."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from s3_servers import BUCKET, SECRET, free_port
from trials.faults import SWANLAB_KEY, swanlab

PLANTED = {
    "the environment": "planted-in-the-environment",
    ".dvc/config.local": SECRET,
    "the URL of a git remote": "planted-in-the-git-url",
    "the URL of the store": "planted-in-the-endpoint",
    ".netrc": "planted-in-netrc",
    "SwanLab's key": SWANLAB_KEY,
}


def test_planted_secrets_are_found_nowhere_else(project, stub_commands: Path, rclone, tmp_path: Path) -> None:
    said: list[str] = []

    def type_in(folder: Path, *words: str, fails: bool = False, **more: str) -> None:
        done = type(project)(folder, project.env).run(*words, check=not fails, **more)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        said.append(done.stdout + done.stderr)

    root, node = project.root, tmp_path / "node"
    quick: dict[str, Any] = {"PATH": f"{stub_commands}{os.pathsep}{project.env['PATH']}"}
    netrc = Path(project.env["HOME"], ".netrc")
    netrc.write_text(f"machine 127.0.0.1 login me password {PLANTED['.netrc']}\n")
    project.git("remote", "add", "origin", f"http://me:{PLANTED['the URL of a git remote']}@127.0.0.1:9/x.git")
    project.env.update(HF_TOKEN=PLANTED["the environment"], DATABASE_PASSWORD=PLANTED["the environment"])
    rclone.use(project)
    with ExitStack() as stack:
        project.env.update(swanlab(stack))
        tracked = ("use_swanlab=true", "swanlab_workspace=tester")
        type_in(root, "explicitlm", "run", "a", "-m", "tracked", *tracked)
        assert project.record("a")["results"]["swanlab_id"]
        type_in(root, "explicitlm", "cluster", "pre", "c", "seed=3", **quick)
        type_in(root, "explicitlm", "cluster", "push", "c", str(node), **quick)
        type_in(root, "explicitlm", "cluster", "submit", "c", fails=True, PATH=f"{stub_commands}:/usr/bin:/bin")
        type_in(node / "c", "explicitlm", "cluster", "train", "c", **quick)
        type_in(root, "explicitlm", "cluster", "fetch", "c", str(node), **quick)
        type_in(root, "explicitlm", "cluster", "post", "c", **quick)
    type_in(root, "explicitlm", "doctor")
    type_in(root, "explicitlm", "index")
    type_in(root, "git", "push", "origin", "HEAD", fails=True)
    said.pop()  # git's own words, not ours
    rclone.kill()
    local = root / ".dvc/config.local"
    behind = f"http://me:{PLANTED['the URL of the store']}@127.0.0.1:{free_port()}"
    local.write_text(local.read_text().replace(rclone.endpoint, behind))
    for words in (("run", "d"), ("publish", "a"), ("doctor",), ("remote", "minio", "--endpoint", behind)):
        type_in(root, "explicitlm", *words, fails=True)
    type_in(root, "explicitlm", "remote", "local")
    assert (root / ".explicitlm/cluster/jobs/c.sh").exists() and any((tmp_path / "s3/store" / BUCKET).rglob("*.dir"))
    project.shell("git cat-file --batch-all-objects --batch --unordered > objects")
    kept = {local, root / ".git/config", netrc}
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink() and path not in kept]
    contents = {str(path): path.read_bytes() for path in files}
    contents["output"] = "\n".join(said).encode()
    found = {where: path for where, secret in PLANTED.items()
             for path, content in contents.items() if secret.encode() in content}  # fmt: skip
    assert len(contents) > 500 and not found
