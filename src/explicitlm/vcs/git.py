"""The only place that calls git.

Everything goes through git's public commands (by GitPython's thin command wrapper), so that hooks,
worktrees, alternates and configuration behave as the user knows them.
"""

from __future__ import annotations

from pathlib import Path

from git import Git as GitCommand
from git.exc import GitCommandError, GitCommandNotFound, NoSuchPathError

from explicitlm.common.errors import DataError, ExplicitLMError, UsageError
from explicitlm.common.files import sha256


class Git:
    """The git repository that holds a folder.

    Raises:
        UsageError: the folder is in no git repository, or in one without a commit.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self._git = GitCommand(str(folder))
        try:
            self.head = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except (GitCommandNotFound, NoSuchPathError):
            raise UsageError("git is not installed, or the folder is gone", "apt-get install git") from None
        except GitCommandError:
            inside = self._try("rev-parse", "--is-inside-work-tree") == "true"
            cause = "has no commit yet" if inside else "is not inside a git repository"
            hint = "git add -A && git commit -m 'first commit'" if inside else "clone the project with git clone"
            raise UsageError(f"{folder} {cause}", hint) from None

    def _run(self, *arguments: str, strip: bool = True) -> str:
        output = self._git.execute(["git", *arguments], strip_newline_in_stdout=False)
        assert isinstance(output, str)
        return output.rstrip("\n") if strip else output

    def _try(self, *arguments: str, strip: bool = True) -> str | None:
        try:
            return self._run(*arguments, strip=strip)
        except GitCommandError:
            return None

    # -- reading ---------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """Full hash of the commit that a commit, tag, branch or experiment id names; None if there is none."""
        if revision.startswith("-"):
            return None
        return self._try("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")

    def is_shallow(self) -> bool:
        """Whether history was cut by `git clone --depth`."""
        return self._run("rev-parse", "--is-shallow-repository") == "true"

    def prefix(self) -> str:
        """Path of the folder inside the repository; "" at its top."""
        return self._run("rev-parse", "--show-prefix")

    def branch(self) -> str | None:
        """The current branch; None when HEAD is detached."""
        return self._try("symbolic-ref", "--quiet", "--short", "HEAD")

    def read(self, revision: str, path: str) -> str | None:
        """Text of a file at a revision; None where it did not exist."""
        return self._try("show", f"{revision}:./{path}", strip=False)

    def names(self, revision: str, folder: str) -> list[str]:
        """Paths of what a folder holds at a revision."""
        return (self._try("ls-tree", "--name-only", "-z", revision, f"{folder}/") or "").rstrip("\0").split("\0")

    def last_change(self, revision: str, path: str) -> str | None:
        """The commit that gave `path` the content it has at `revision`; None if it has none there."""
        return self._try("log", "-1", "--format=%H", revision, "--", path) or None

    def history(self, path: str) -> list[tuple[str, str, str]]:
        """Commits of any branch, remote branch or tag that changed `path`, newest first: (hash, ISO date, subject)."""
        output = self._run("log", "HEAD", "--branches", "--remotes", "--tags", "--topo-order",
                           "--format=%H%x09%cI%x09%s", "--", path)  # fmt: skip
        return [(commit, date, subject) for commit, date, subject in
                (line.split("\t", 2) for line in output.splitlines())]  # fmt: skip

    def tags(self) -> list[str]:
        """Names of all tags."""
        return self._run("for-each-ref", "--format=%(refname:strip=2)", "refs/tags").splitlines()

    def holds_version(self, path: str, file: Path) -> bool:
        """Whether a commit of HEAD or of any branch gave `path` the content of `file`.

        Experiments and their tags do not count: they also hold data that the user never committed.
        """
        blob = self._run("hash-object", "--no-filters", "--", str(file.resolve()))
        found = self._try(
            "log", "HEAD", "--branches", "--remotes", "-1", "--format=%H", f"--find-object={blob}", "--", path
        )
        return bool(found)

    def changed(self, exclude: tuple[str, ...]) -> list[str]:
        """Tracked files that differ from HEAD, staged or not, without the excluded paths."""
        output = self._run("diff", "--name-only", "-z", "HEAD", "--", ".", *_excluding(exclude))
        return [name for name in output.split("\0") if name]

    def diff_digest(self, exclude: tuple[str, ...]) -> str:
        """sha256 of the difference to HEAD, staged or not, without the excluded paths."""
        output = self._run("diff", "--binary", "--no-color", "--no-ext-diff", "HEAD", "--", ".", *_excluding(exclude))
        return sha256(output.encode("utf-8", "surrogateescape"))

    def untracked(self, exclude: tuple[str, ...]) -> list[str]:
        """Files that git neither tracks nor ignores, without the excluded paths."""
        output = self._run("ls-files", "--others", "--exclude-standard", "-z", "--", ".", *_excluding(exclude))
        return [name for name in output.split("\0") if name]

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
        found: dict[str, list[str]] = {}
        for line in self._run("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines():
            reference, commit = line.split(" ")
            parts = reference.split("/")
            # refs/exps/<2 hex>/<38 hex>/<name>; refs/exps/exec and others are DVC's own scratch space
            if len(parts) == 5 and len(parts[2]) == 2:
                found.setdefault(parts[4], []).append(commit)
        return found

    def tag_commit(self, name: str) -> str | None:
        """The commit a tag points to."""
        return self._try("rev-parse", "--verify", "--quiet", f"refs/tags/{name}^{{commit}}")

    def valid_name(self, name: str) -> bool:
        """Whether git takes the name for a tag."""
        return self._try("check-ref-format", f"refs/tags/{name}") is not None

    def check_committable(self) -> None:
        """Checks that a commit could be made here: before hours of training, not after them.

        Raises:
            UsageError: HEAD is on no branch, or git does not know who commits.
        """
        if self.branch() is None:
            raise UsageError(
                "HEAD is detached: the record would be on no branch", "git switch main, then the same command"
            )
        if self._try("var", "GIT_COMMITTER_IDENT") is None:
            raise UsageError(
                "git does not know who commits", 'git config user.name "..." && git config user.email "..."'
            )

    # -- writing ---------------------------------------------------------------------------------

    def stage(self, *paths: str) -> None:
        """Adds files to the index, ignored ones too."""
        self._write("add", "--force", "--", *paths)

    def tag(self, name: str, commit: str) -> None:
        """Names a commit for good."""
        self._write("tag", name, commit)

    def commit_only(self, message: str, *paths: str) -> str | None:
        """Commits just these paths, whatever else is staged; None when they hold nothing new."""
        self.stage(*paths)
        if self._try("diff", "--cached", "--quiet", "HEAD", "--", *paths) is not None:
            return None
        self._write("commit", "--quiet", "--only", "--message", message, "--", *paths)
        return self._run("rev-parse", "HEAD")

    def _write(self, *arguments: str) -> None:
        try:
            self._run(*arguments)
        except GitCommandError as error:
            said = _words(error)
            raise UsageError(f"git {arguments[0]} failed: {said}", _next_after(said)) from None


def _excluding(paths: tuple[str, ...]) -> list[str]:
    return [f":(exclude){path}" for path in paths]


def _words(error: GitCommandError) -> str:
    """What git said, without GitPython's quoting."""
    text = str(error.stderr or error.stdout or error).strip()
    return text.removeprefix("stderr: ").strip().strip("'").strip()


def _next_after(said: str) -> str:
    if "index.lock" in said:
        return "another git is at work here: wait for it, then the same command"
    return "git status"


def revision_error(name: str, revision: str, repository: Git) -> ExplicitLMError:
    """The error for a revision that git does not know."""
    cut = " (this clone is shallow: older commits are not in it)" if repository.is_shallow() else ""
    hint = "git fetch --unshallow --tags" if cut else f"git fetch --tags, or choose one of: git log --oneline -- {name}"
    return DataError(f"{revision!r} is not a revision that git knows{cut}", hint)
