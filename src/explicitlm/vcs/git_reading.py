"""What the project reads from git: revisions, files as commits hold them, names, differences."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from explicitlm.common.errors import DataError, ExplicitLMError, UsageError
from explicitlm.common.files import sha256
from explicitlm.vcs.git_command import GitError, run_git

# What `git diff` would else take from the user's configuration
PLAIN_DIFF = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-relative", "--ignore-submodules=none",
    "--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers", "--unified=3", "--inter-hunk-context=0",
    "--submodule=short", "-O/dev/null",
)  # fmt: skip
SCRATCH = ("refs/exps/exec/", "refs/exps/stash", "refs/stash")  # where DVC notes commits for the time of a run
QUEUE = "refs/exps/celery/stash"  # where DVC keeps what is queued, each entry with its experiment's name


class NamesInUse(NamedTuple):
    """Names of tags, of branches of this clone, and of DVC's experiments with their commits."""

    tags: list[str]
    branches: list[str]
    experiments: dict[str, list[str]]


class GitReading:
    """The git repository that holds a folder.

    Raises:
        UsageError: the folder is in no git repository, or in one without a commit.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder
        try:
            self.head = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except FileNotFoundError:
            raise UsageError("git is not installed, or the folder is gone", "apt-get install git") from None
        except GitError:
            raise self._unusable() from None

    def _unusable(self) -> UsageError:
        try:
            self._run("rev-parse", "--is-inside-work-tree")
        except GitError as error:
            first, *rest = error.message.splitlines()
            if first.startswith("not a git repository"):
                return UsageError(f"{self.root} is not inside a git repository", "clone the project with git clone")
            advised = [line.strip() for line in rest if line.strip().startswith("git config")]
            return UsageError(f"git: {first}", advised[0] if advised else "")
        return UsageError(f"{self.root} has no commit yet", "git add -A && git commit -m 'first commit'")

    def _run(self, *args: str, text: str | None = None, more: Mapping[str, str] | None = None) -> str:
        return run_git(self.root, *args, text=text, more=more).rstrip("\n")

    def _try(self, *args: str) -> str | None:
        try:
            return self._run(*args)
        except GitError:
            return None

    def resolve(self, revision: str) -> str | None:
        """Full hash of the commit that a commit, tag, branch or experiment id names; None if there is none."""
        if revision.startswith("-"):
            return None
        return self._try("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")

    def is_shallow(self) -> bool:
        """Whether history was cut by `git clone --depth`."""
        return self._run("rev-parse", "--is-shallow-repository") == "true"

    def has_remote(self) -> bool:
        """Whether there is a repository to fetch from."""
        return bool(self._run("remote"))

    def branch(self) -> str | None:
        """The current branch; None when HEAD is detached."""
        reference = self._try("symbolic-ref", "--quiet", "HEAD")
        return reference and reference.removeprefix("refs/heads/")

    def branch_left(self) -> str | None:
        """The branch on which HEAD was before it was detached, by the reflog."""
        moves = (self._try("log", "--walk-reflogs", "-50", "--format=%gs", "HEAD") or "").splitlines()
        names = [move.removeprefix("checkout: moving from ").split(" to ")[0] for move in moves
                 if move.startswith("checkout: moving from ")]  # fmt: skip
        branches = self._run("for-each-ref", "--format=%(refname:strip=2)", "refs/heads").splitlines()
        return next((name for name in names if name in branches), branches[0] if len(branches) == 1 else None)

    def is_held(self) -> bool:
        """Whether a branch, a tag or an experiment keeps HEAD's commit, too."""
        kept = self._run("for-each-ref", "--format=%(refname)", "--contains", "HEAD").splitlines()
        return any(not name.startswith(SCRATCH) for name in kept)

    def read(self, revision: str, path: str) -> str | None:
        """Text of a file at a revision, as git holds it; None where it did not exist."""
        return self.read_each([revision], path)[revision]

    def read_each(self, revisions: Iterable[str], path: str) -> dict[str, str | None]:
        """Text of a file at many revisions; None where it did not exist."""
        unique = list(dict.fromkeys(revisions))
        return dict(zip(unique, self._texts([f"{revision}:./{path}" for revision in unique]), strict=True))

    def read_all(self, revision: str, paths: Iterable[str]) -> dict[str, str | None]:
        """Texts of many files at a revision; None where one did not exist."""
        unique = list(dict.fromkeys(paths))
        return dict(zip(unique, self._texts([f"{revision}:./{path}" for path in unique]), strict=True))

    def _texts(self, names: list[str]) -> list[str | None]:
        """Contents of blobs, as git holds them; None for a name of none."""
        if not names:
            return []
        # Without filters, unlike `git show`; one process for all
        output = run_git(self.root, "cat-file", "--batch", text="".join(f"{name}\n" for name in names))
        rest, found = output.encode("utf-8", "surrogateescape"), list[str | None]()
        for _ in names:
            header, _, rest = rest.partition(b"\n")
            blob = re.fullmatch(rb"[0-9a-f]+ (\w+) (\d+)", header)
            size = int(blob[2]) if blob else -1
            content, rest = (rest[:size], rest[size + 1 :]) if blob else (b"", rest)
            is_file = blob is not None and blob[1] == b"blob"
            found.append(content.decode("utf-8", "surrogateescape") if is_file else None)
        return found

    def names(self, revision: str, folder: str) -> list[str]:
        """Paths of what a folder holds at a revision."""
        return (self._try("ls-tree", "--name-only", "-z", revision, f"{folder}/") or "").rstrip("\0").split("\0")

    def author(self) -> str:
        """Who makes commits here: name and address."""
        return self._run("var", "GIT_AUTHOR_IDENT").rsplit(" ", 2)[0]

    def author_of(self, commit: str) -> str | None:
        """Who made a commit: name and address; None where there is no such commit here."""
        return self._try("log", "-1", "--format=%an <%ae>", commit) or None

    def history(self, path: str, branches_only: bool = False) -> list[tuple[str, str, str]]:
        """Commits of any branch, remote branch or tag that changed `path`, newest first: (hash, ISO date, subject).

        Args:
            branches_only: leave out what only HEAD or a tag holds, such as the commit of an experiment.
        """
        more = [] if branches_only else ["HEAD", "--tags"]
        output = self._run("log", *more, "--branches", "--remotes", "--topo-order", "--full-history",
                           "--format=%H%x09%cI%x09%s", "--", path)  # fmt: skip
        return [(commit, date, subject) for commit, date, subject in
                (line.split("\t", 2) for line in output.split("\n") if line)]  # fmt: skip

    def committed(self, path: str) -> set[str]:
        """The different texts that commits of HEAD or of any branch gave `path`.

        Experiments and their tags do not count: they also hold data that the user never committed.
        """
        commits = self._run("log", "HEAD", "--branches", "--remotes", "--full-history", "--format=%H", "--", path)
        return {text for text in self.read_each(commits.split(), path).values() if text is not None}

    def tags(self) -> list[str]:
        """Names of all tags."""
        return self._run("for-each-ref", "--format=%(refname:strip=2)", "refs/tags").splitlines()

    def branches(self) -> list[str]:
        """Names of all branches of this clone."""
        return self._run("for-each-ref", "--format=%(refname:strip=2)", "refs/heads").splitlines()

    def changed(self, exclude: tuple[str, ...]) -> list[str]:
        """Tracked files that differ from HEAD, staged or not, without the excluded paths."""
        output = self._run("diff", "--name-only", "-z", *PLAIN_DIFF, "HEAD", "--", ".", *_excluding(exclude))
        return [name for name in output.split("\0") if name]

    def unstaged(self, paths: tuple[str, ...]) -> list[str]:
        """Tracked files below some paths that are not as the index has them."""
        output = self._run("diff", "--name-only", "-z", *PLAIN_DIFF, "--", *paths)
        return [name for name in output.split("\0") if name]

    def diff_digest(self, exclude: tuple[str, ...]) -> str:
        """sha256 of the difference to HEAD, staged or not, without the excluded paths."""
        output = self._run("diff", "--binary", "--full-index", *PLAIN_DIFF, "HEAD", "--", ".", *_excluding(exclude))
        return sha256(output.encode("utf-8", "surrogateescape"))

    def untracked(self, exclude: tuple[str, ...]) -> list[str]:
        """Files that git neither tracks nor ignores, without the excluded paths."""
        output = self._run("ls-files", "--others", "--exclude-standard", "-z", "--", ".", *_excluding(exclude))
        return [name for name in output.split("\0") if name]

    def differing(self, revision: str, paths: tuple[str, ...], folder: Path) -> list[str] | None:
        """Files below some paths that are not in a folder as they are at a revision; None where git lacks that.

        The folder may be a copy that lies elsewhere and whose own repository does not know the revision.
        """
        listed = self._try("ls-tree", "-r", "-z", revision, "--", *paths)
        if listed is None:
            return None
        committed = {}
        for entry in filter(None, listed.split("\0")):
            description, _, name = entry.partition("\t")
            committed[name] = description.split(" ")[2]
        here = {str(file.relative_to(folder)) for path in paths for file in _files(folder / path)}
        return sorted(
            name
            for name in committed.keys() | here
            if name not in here or committed.get(name) != _blob(folder / name, committed)
        )

    def diff_stat(self, before: str, after: str | None, paths: tuple[str, ...]) -> list[str] | None:
        """What changed between two commits in some paths, a line a file; None where git lacks a commit.

        Args:
            before: a commit. after: another; None: the files as they are now. paths: what is looked at.
        """
        revisions = [before] if after is None else [before, after]
        output = self._try("diff", "--stat=100", "--no-color", "--no-ext-diff", *revisions, "--", *paths)
        return None if output is None else [line.strip() for line in output.splitlines()]

    def experiments(self) -> dict[str, list[str]]:
        """DVC's experiments: commits by name (a name is unique only per baseline)."""
        return self.names_in_use().experiments

    def experiment_references(self, name: str) -> list[tuple[str, str]]:
        """References and commits of the experiments of a name."""
        found = self._references("refs/exps")
        return [(reference, commit) for reference, commit in found if _experiment_of(reference) == name]

    def names_in_use(self) -> NamesInUse:
        """Names of tags, branches and experiments, by one look."""
        tags, branches, experiments = list[str](), list[str](), dict[str, list[str]]()
        for reference, commit in self._references("refs/tags", "refs/heads", "refs/exps"):
            kind, _, name = reference.removeprefix("refs/").partition("/")
            if kind == "tags":
                tags.append(name)
            elif kind == "heads":
                branches.append(name)
            elif experiment := _experiment_of(reference):
                experiments.setdefault(experiment, []).append(commit)
        return NamesInUse(tags, branches, experiments)

    def _references(self, *folders: str) -> Iterator[tuple[str, str]]:
        for line in self._run("for-each-ref", "--format=%(refname) %(objectname)", *folders).splitlines():
            reference, _, commit = line.partition(" ")
            yield reference, commit

    def queued(self) -> list[str]:
        """Names of the experiments in DVC's queue, waiting or running, the one that was put there first first."""
        kept = self._try("log", "--walk-reflogs", "--format=%gs", QUEUE, "--") or ""
        names = [line.rpartition(":")[2] for line in kept.splitlines()]  # commit: dvc-exp:COMMIT:BASELINE:NAME
        return [name for name in reversed(names) if name]

    def tag_commit(self, name: str) -> str | None:
        """The commit a tag points to."""
        return self._try("rev-parse", "--verify", "--quiet", f"refs/tags/{name}^{{commit}}")

    def valid_name(self, name: str) -> bool:
        """Whether git takes the name for a tag."""
        return self._try("check-ref-format", f"refs/tags/{name}") is not None


def _experiment_of(reference: str) -> str | None:
    """The name in refs/exps/<2 hex>/<38 hex>/<name>; refs/exps/exec and others are DVC's own scratch space."""
    parts = reference.split("/")
    return parts[4] if len(parts) == 5 and len(parts[2]) == 2 else None


def _excluding(paths: tuple[str, ...]) -> list[str]:
    return [f":(exclude){path}" for path in paths]


def revision_error(name: str, revision: str, repository: GitReading) -> ExplicitLMError:
    """The error for a revision that git does not know."""
    cut = " (this clone is shallow: older commits are not in it)" if repository.is_shallow() else ""
    choose = f"choose one of: git log --oneline -- {name}"
    if repository.has_remote():
        choose = "git fetch --unshallow --tags" if cut else f"git fetch --tags, or {choose}"
    return DataError(f"{revision!r} is not a revision that git knows{cut}", choose)


def _files(path: Path) -> list[Path]:
    """A file, or those of a folder, without what Python compiled."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _blob(path: Path, committed: Mapping[str, str]) -> str:
    """Git's name for a file's content, by the kind of hash that this repository uses."""
    content = path.read_bytes()
    sha1 = all(len(blob) == 40 for blob in committed.values())
    digest = hashlib.sha1(usedforsecurity=False) if sha1 else hashlib.sha256()
    digest.update(b"blob %d\0" % len(content) + content)
    return digest.hexdigest()
