"""Every hint that holds a command is run by a test, in the situation in which it is given.

A test says which it runs: `@pytest.mark.hint("git fetch --tags, or ...")`, with {} for what the code fills in.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from hints import COMMAND, ROOT, hints

INSTALLS = "it installs packages, from a network that tests do not have"
MACHINE = "it changes the machine itself"
MORE_RIGHTS = "it only gives rights; root, who runs the tests, lacks none"
EXAMPLE = "an example of the form, with names that nothing has"
STORY = "tests/hints/test_about_experiments.py"
SAME_COMMAND = "a command that tests/hints/test_about_clusters.py runs for another reason, told elsewhere"
SLURM = "it needs a cluster's login node; tests/cluster/test_slurm.py submits the same script"
KILLED = "given after a kill between two writes, which benchmarks/faults.py finds and follows"
# Not to be run by a test, each with the reason
NOT_RUN = {
    "apt-get install git": INSTALLS,
    "apt-get install rsync": INSTALLS,
    "pip install 'dvc[{}]'": INSTALLS,
    "pip install 'explicitlm[export]'": INSTALLS,
    "pip install 'explicitlm[notebook]'": INSTALLS,
    "pip install 'explicitlm[sign]'": INSTALLS,
    "pip install 'explicitlm[parquet]', or: pip install pyarrow": INSTALLS,
    "make env": INSTALLS + "; `make run` is it",
    "timedatectl set-ntp true": MACHINE,
    "set the clock (date -u; timedatectl set-ntp true)": MACHINE,
    "chmod u+w {}": MORE_RIGHTS,
    "chmod -R u+rX {}": MORE_RIGHTS,
    "clone the project with git clone": "nobody here knows the address of the project",
    "cd into your clone of the project": "nobody here knows where it is",
    "source {}/activate": "it changes the shell alone",
    "explicitlm compare exp_010 exp_040 --seeds 5 --run": EXAMPLE,
    "explicitlm compare exp_010 exp_040 --facts": EXAMPLE,
    "explicitlm watch --notify https://HOST/PATH": EXAMPLE,
    "git pull; or: explicitlm sign {} --key FILE": EXAMPLE,
    "git push origin HEAD {}": f"as `git push --atomic origin HEAD ID`, which {STORY} runs",
    "explicitlm knowledge search ID WORDS": "tests/e2e/test_knowledge.py runs it for another reason",
    "git add {}": "it adds to git's index",
    "explicitlm cluster fetch {} HOST:DIR": SAME_COMMAND,
    "explicitlm cluster push ID HOST:DIR, on the login node": SAME_COMMAND,
    "explicitlm cluster push, on the login node": SAME_COMMAND,
    "{}; on a compute node: explicitlm cluster push ID HOST:DIR again, on the login node": SAME_COMMAND,
    "git -C {} diff HEAD -- {}": SAME_COMMAND,
    "explicitlm cluster submit": SLURM,
    "sbatch {}": SLURM,
    "submit it where Slurm is: sbatch {}": SLURM,
    "accelerate launch --multi_gpu --num_processes N 1_pretrain.py ...": "it needs several GPUs",
    "git tag -l shows the names in use; rename the other one, then the same command": "it only looks",
    "rm -r {}": "given where removing compiled code has just failed, and only for that",
    "explicitlm publish {}, if that is the one; else {}": KILLED,
    "explicitlm run {} --resume begins it again as it was; {}": KILLED,
}


# Verbs that look and change nothing, whatever they are told for; test_what_only_looks_changes_nothing runs them
LOOKING = re.compile(r"explicitlm (?:compare|doctor|data log|cluster list|archive --dry|[a-z ]+ --help)\b(?!.*--run)")


def only_looks(text: str) -> bool:
    """Whether each command of a hint is such a verb of ours."""
    return all(LOOKING.match(text, found.start()) for found in COMMAND.finditer(text))


def run_by_tests() -> dict[str, str]:
    """The hints that tests are marked with, and the test."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        functions = [
            each for each in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(each, ast.FunctionDef)
        ]
        for node in functions:
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.hint":
                    found[ast.literal_eval(mark.args[0])] = f"{path.relative_to(ROOT)}::{node.name}"
    return found


def test_each_hint_with_a_command_is_run() -> None:
    run, known = run_by_tests(), hints()
    lacking = {text: place for text, place in known.items() if not (text in run or text in NOT_RUN or only_looks(text))}
    assert not lacking, "mark the test that runs it (pytest.mark.hint), or say in NOT_RUN why none can:\n" + "\n".join(
        f"{place}: {text!r}" for text, place in lacking.items()
    )
    gone = [text for text in (*run, *NOT_RUN) if text not in known]
    assert not gone, f"no hint of the code any more: {gone}"


def test_what_is_not_run_has_a_reason() -> None:
    assert all(len(reason.split()) > 2 for reason in NOT_RUN.values()) and Path(ROOT / "tests").is_dir()
