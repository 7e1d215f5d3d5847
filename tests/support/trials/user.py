"""A user who does what the printed hints say, and no more: the first command that a hint names, a few times."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox import Sandbox

COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:explicitlm|dvc|git|rm|mv|mkdir|ls|df|tail|swanlab|kill) ")
LOSES = re.compile(r"^(?:rm -r|kill|swanlab)\b")  # what a user does only after thinking; here: never
SECONDS = 180


@dataclass
class Said:
    """A command of the user's, its exit code (None: it did not end) and what it printed."""

    words: str
    code: int | None
    output: str


@dataclass
class User:
    """One person at a terminal.

    Attributes:
        box: where the commands run.
        settle: waits until nothing of the trial runs any more; false if something still does.
        free: makes room on a disk that is full.
        patience: commands that this person tries before giving up.
        said: everything that was typed.
    """

    box: Sandbox
    settle: Callable[[], bool]
    free: Callable[[], None]
    patience: int = 9
    said: list[Said] = field(default_factory=list)

    def reach(self, words: str, output: str | None = None, done: Callable[[], bool] = lambda: False) -> bool:
        """Types a command until it ends well, in between whatever the hints say; false when patience is at an end.

        Args:
            words: the command. output: what it printed when it failed already; None: it was not typed yet.
            done: whether the goal is reached, in whatever way.
        """
        asked_doctor = False
        while self.patience > 0:
            if output is None:
                last = self.type(words)
                if last.code == 0:
                    return True
                output = last.output
            self.free()
            hint = hints(output)[-1:]
            output = None
            if not hint:  # nothing was said, as after a kill: the same again, then the check list
                if asked_doctor:
                    continue
                asked_doctor = bool(self.said)
                if self.said and self.said[-1].words == words:
                    hint = hints(self.type("explicitlm doctor").output)[:1]
            for step in steps(hint[0]) if hint else []:
                if step == "wait":
                    self.settle()
                    continue
                if step == "same":
                    break
                last = self.type(step)
                if done():
                    return True
                if last.code and step.startswith("explicitlm"):
                    output, words = last.output, step
                elif last.code == 0 and _is_the_goal(step, words):
                    return True
        return False

    def type(self, words: str) -> Said:
        """One command line, as pasted."""
        self.patience -= 1
        try:
            done = subprocess.run(
                ["bash", "-c", words], cwd=self.box.root, env=self.box.env, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS,
            )  # fmt: skip
            self.said.append(Said(words, done.returncode, done.stdout))
        except subprocess.TimeoutExpired as error:
            self.said.append(Said(words, None, str(error.stdout)))
        return self.said[-1]


def hints(output: str) -> list[str]:
    """What follows `next:` in an output, in its order."""
    return [line.split("next: ", 1)[1].strip() for line in output.splitlines() if "next: " in line]


def steps(hint: str) -> list[str]:
    """A hint as what to do: commands, `wait` or `same` (the same command again); alternatives are left out."""
    plain = re.sub(r" \((?!s\))[^()]*\)", "", hint).replace("HOST:DIR", "../node")
    found: list[str] = []
    for clause in re.split(r"; |, then (?:there: )?| then: |, on the login node|, and ", plain):
        clause = clause.strip().removeprefix("then: ")
        if not found and "put it aside: " in clause:  # the last resort; nothing is lost by it
            return [clause.split("put it aside: ")[1], "same"]
        if clause.startswith(("or ", "to give it up", "if ")):
            break
        if clause.startswith("wait"):
            found.append("wait")
        elif clause.startswith("the same command"):
            found.append("same")
        elif COMMAND.match(f"{clause} ") and not LOSES.match(clause):
            found.append(re.sub(r",? (?:keeps|starts|begins|shows|names|again|after|if that|or take)\b.*", "", clause))
    return found


def _is_the_goal(step: str, words: str) -> bool:
    """Whether a command that a hint named does all that the user wanted: the same verb, or the way on of a run."""
    verbs = [line.split()[: 3 if "cluster" in line else 2] for line in (step, words)]
    return verbs[0] == verbs[1] or (verbs[0] == ["explicitlm", "run"] and "--resume" in step)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
