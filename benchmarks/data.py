"""Data versions: nothing to do, switching one of five datasets, and a cold pull and push against a plain S3 client.

    python benchmarks/data.py [--json] [--files 50000] [--big-gb 5]

Everything happens in a temporary folder that is deleted afterwards: a project with five datasets (one of `--files`
small files in two versions of which 1 % differ, one single file of `--big-gb`, three small ones). What moves between
here and a store is measured on a smaller project (`--moved-files`, `--moved-gb`) against `rclone serve s3` on loopback,
which both DVC and the plain client (`rclone copy`) talk to.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import REPOSITORY, report

DATASETS = ("database", "benchmarks", "embeddings", "knowledge_base", "cache")
KEY, SECRET = "benchkey", "benchsecret12"
IMPORTS = """
from pathlib import Path
from explicitlm.datasets.resolve import resolve
from explicitlm.datasets.switch import bring, check_untouched
from explicitlm.datasets.table import DATASETS
from explicitlm.vcs.workspace import Workspace
"""
SYNC = (
    IMPORTS
    + """
import sys
project = Workspace(Path.cwd(), Path.cwd())
wanted = resolve(project, {item.param: "" for item in DATASETS} | {"dataset": sys.argv[1]})
bring(project, wanted, check_untouched(project, wanted))
"""
)


class Bench:
    """The project, and commands timed in it."""

    def __init__(self, base: Path, files: int, big_gb: float) -> None:
        self.root = base / "project"
        self.files, self.big_gb = files, big_gb
        base.mkdir(exist_ok=True)
        home = base / "home"
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "AWS_", "GIT_"))}
        self.env = kept | {
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(base / "site"),
            "DVC_NO_ANALYTICS": "1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "RCLONE_CONFIG": "/dev/null",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self.root.mkdir()
        for name in ("dvc.yaml", "params.yaml", ".dvc/config", ".dvc/.gitignore", "data/.gitignore"):
            if (REPOSITORY / name).exists():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, self.root / name)
        self.shell("git init -q -b main; git config user.name Bench; git config user.email bench@example.org")
        for folder in DATASETS:
            (self.root / "data" / folder).mkdir(parents=True)
            (self.root / "data" / folder / "small.txt").write_text(folder)
        _write_big(self.root / "data/embeddings/big.bin", big_gb)
        for version in (1, 2):
            self._write_many(version)
            self.shell("dvc add -q " + " ".join(f"data/{folder}" for folder in DATASETS))
            self.shell(f"git add -A && git commit -qm v{version}")

    def _write_many(self, version: int) -> None:
        for index in range(0, self.files, 1 if version == 1 else 100):
            path = self.root / f"data/database/{index // 500:04d}/{index:06d}.txt"
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)  # DVC's links are read-only
            path.write_text(f"document {index} of version {version}\n" * 10)

    def copies(self) -> float:
        """Disk that data and cache take together, over what the data alone takes; 1.0 is not a second copy.

        To be measured right after `dvc add`, without any other command. The cache also has the older version.
        """
        return self._disk("data", ".dvc/cache") / self._disk("data")

    def _disk(self, *folders: str) -> int:
        command = ["du", "--summarize", "--total", "--block-size=1", *folders]  # each inode counts once
        printed = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True).stdout
        return int(printed.splitlines()[-1].split()[0])

    def shell(self, line: str, check: bool = True) -> float:
        """Runs a line in the project; gives its seconds."""
        start = time.perf_counter()
        subprocess.run(["bash", "-c", line], cwd=self.root, env=self.env, check=check, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    def python(self, code: str, *arguments: str) -> float:
        """Runs Python code in the project; gives its seconds, the interpreter's start included."""
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.root, env=self.env, check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - start


def _write_big(path: Path, gigabytes: float) -> None:
    """A file of bytes that do not repeat, written a piece at a time."""
    piece = os.urandom(1 << 20)
    with path.open("wb") as file:
        for index in range(int(gigabytes * 1e9) >> 20):
            file.write(index.to_bytes(8, "little") + piece[8:])


def nothing_to_do(bench: Bench) -> dict[str, Any]:
    """Five unchanged datasets, against the bare start of the interpreter with the same imports; medians of 5."""
    bench.python(SYNC, "")
    start = statistics.median(bench.python(IMPORTS) for _ in range(5))
    sync = statistics.median(bench.python(SYNC, "") for _ in range(5))
    dvc = bench.shell("dvc status " + " ".join(f"data/{folder}.dvc" for folder in DATASETS))
    return {
        "form": "nothing to do, five datasets",
        "ours_s": sync - start,
        "other_s": dvc,
        "other": "dvc status",
        "ratio": (sync - start) / dvc,
    }


def switch(bench: Bench) -> dict[str, Any]:
    """One of five to the older version and back, 1 % of its files differ; medians of both ways, twice."""
    ours, hand = [], []
    for _ in range(2):
        for revision in ("HEAD~1", ""):
            ours.append(bench.python(SYNC, revision))
        for revision in ("HEAD~1", "HEAD"):
            hand.append(
                bench.shell(f"git checkout -q {revision} -- data/database.dvc && dvc checkout data/database.dvc")
            )
        bench.python(SYNC, "")
    ours_s, hand_s = statistics.median(ours), statistics.median(hand)
    return {
        "form": "switch 1 of 5, 1 % differ",
        "ours_s": ours_s,
        "other_s": hand_s,
        "other": "git checkout && dvc checkout",
        "ratio": ours_s / hand_s,
    }


class Store:
    """`rclone serve s3` over a folder, in which each bucket is a folder."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        where = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", "--dir-cache-time", "1s"]
        self.process = subprocess.Popen(
            ["rclone", "serve", "s3", *where, str(folder)],
            env=bench.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)

    def bucket(self, name: str) -> str:
        """A new bucket, once the server has looked again."""
        (self.folder / name).mkdir()
        self.forget()
        return name

    def forget(self) -> None:
        """Waits until the server knows nothing of its files any more: it hashes each one that it is asked for anew."""
        time.sleep(1.2)

    def copy(self, source: str, target: str) -> float:
        """The plain client, `rclone copy`; gives its seconds. What begins with STORE: is a bucket."""
        at = f":s3,provider=Other,endpoint='{self.endpoint}',access_key_id={KEY},secret_access_key={SECRET}:"
        return self.bench.shell(f'rclone copy --transfers 32 "{source}" "{target}"'.replace("STORE:", at))


MOVE = """
import sys
from pathlib import Path
from explicitlm.vcs.data_store import open_store
from explicitlm.vcs.pointer import parse_pointer
root, way, path = Path.cwd(), *sys.argv[1:]
pointers = {path: parse_pointer((root / f"{path}.dvc").read_text(), path)}
with open_store(root) as data_store:
    getattr(data_store, way)(pointers)
"""


def transfers(bench: Bench, base: Path, rounds: int) -> list[dict[str, Any]]:
    """Cold push and pull of one large file and of many small ones, whole processes in turn with the plain client's."""
    store = Store(bench, base / "store")
    try:
        rows = []
        for kind, path, size in (
            ("large", "data/embeddings", f"one file of {bench.big_gb} GB"),
            ("small", "data/database", f"{bench.files} files"),
        ):
            passes = [_both_ways(bench, store, base, f"{kind}-{number}", path) for number in range(rounds)]
            for way in ("push", "pull"):
                ours, plain = (statistics.median(each[way][who] for each in passes) for who in (0, 1))
                rows.append({"form": f"{way}_{kind}, cold, {size}", "ours_s": ours, "other_s": plain,
                             "other": "rclone copy", "ratio": ours / plain})  # fmt: skip
        return rows
    finally:
        store.process.kill()
        store.process.wait()


def _both_ways(bench: Bench, store: Store, base: Path, name: str, path: str) -> dict[str, tuple[float, float]]:
    """Seconds of us and of the plain client, once each way."""
    cache, objects = bench.root / ".dvc/cache", base / "objects"
    bucket, plain = store.bucket(name), store.bucket(f"{name}-plain")
    bench.shell(f"explicitlm remote minio --endpoint {store.endpoint} --bucket {bucket}")
    push = bench.python(MOVE, "push", path)
    shutil.copytree(store.folder / bucket / "files", objects)
    plain_push = store.copy(str(objects), f"STORE:{plain}")
    shutil.rmtree(objects)
    kept = cache.rename(cache.with_name("kept"))
    store.forget()
    plain_pull = store.copy(f"STORE:{plain}", str(objects))
    store.forget()
    pull = bench.python(MOVE, "fetch", path)
    shutil.rmtree(objects)
    shutil.rmtree(cache)
    kept.rename(cache)
    return {"push": (push, plain_push), "pull": (pull, plain_pull)}


def faults() -> int:
    """How many faults on the way to a store have a test; freeze and cut, push and pull count apart."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/storage/test_faults.py"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    return sum("::" in line for line in listed.splitlines())


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--big-gb", type=float, default=5.0)
    parser.add_argument("--moved-files", type=int, default=2_000)
    parser.add_argument("--moved-gb", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=3, help="of each transfer, of which the median counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="explicitlm-bench-") as name:
        bench = Bench(Path(name) / "large", options.files, options.big_gb)
        copies = bench.copies()
        noop, switched = nothing_to_do(bench), switch(bench)
        shutil.rmtree(bench.root)
        small = Path(name) / "small"
        moved = transfers(Bench(small, options.moved_files, options.moved_gb), small, options.rounds)
    ratios = {f"{row['form'].split(',')[0]}_over_plain": row["ratio"] for row in moved}
    for way in ("push", "pull"):  # of both kinds together
        ours, plain = (sum(row[who] for row in moved if row["form"].startswith(way)) for who in ("ours_s", "other_s"))
        ratios[f"{way}_over_plain"] = ours / plain
    numbers = {
        "noop_over_start_s": noop["ours_s"],
        "switch_over_dvc": switched["ratio"],
        **ratios,
        "copies_on_disk_after_dvc_add": copies,
        "files": options.files,
        "big_gb": options.big_gb,
        "faults_tested": faults(),
    }
    report("data versions", {"seconds": [noop, switched, *moved]}, numbers, options.json)


if __name__ == "__main__":
    main()
