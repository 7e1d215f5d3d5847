"""Whether an exported experiment is a valid RO-Crate, as the validator of the RO-Crate community sees it.

    python -m venv /tmp/validator && /tmp/validator/bin/pip install roc-validator
    python benchmarks/crate.py --validator /tmp/validator/bin/python --json

roc-validator wants older packages than the project has, hence its own environment. Its profiles are in its package; the
JSON-LD context, which it would ask the network for, is the copy that the package rocrate holds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import rocrate
from _report import REPOSITORY, report

from explicitlm.common import layout
from explicitlm.export.folder import export
from explicitlm.vcs.workspace import Workspace

sys.path.insert(0, str(REPOSITORY / "tests/support"))
import made_records

CONTEXT = Path(rocrate.__file__).parent / "data/ro-crate.jsonld"
# Runs in the validator's environment: folder, context
VALIDATE = '''
import io, json, sys
import requests, urllib3
context = open(sys.argv[2], "rb").read()
known, kind = json.loads(context)["@id"], {"Content-Type": "application/ld+json"}
def send(self, request, **options):
    """The one address that is asked for, from the file."""
    assert request.url == known, request.url
    answer = requests.Response()
    answer.status_code, answer.url, answer.request = 200, request.url, request
    answer.headers.update(kind)
    answer.raw = urllib3.HTTPResponse(io.BytesIO(context), headers=kind, status=200, preload_content=False)
    return answer
requests.adapters.HTTPAdapter.send = send
from rocrate_validator import models, services
from importlib.metadata import version
found = {}
for name in ("REQUIRED", "RECOMMENDED"):
    settings = services.ValidationSettings(rocrate_uri=sys.argv[1], profile_identifier="ro-crate-1.3",
                                           requirement_severity=models.Severity[name])
    found[name] = [issue.message for issue in services.validate(settings).get_issues()]
print(json.dumps({"version": version("roc-validator"), "issues": found}))
'''


def main() -> None:
    """Exports a made-up experiment, has it checked, and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--validator", required=True, help="the Python that has roc-validator")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        target = exported(Path(folder))
        whole = validated(arguments.validator, target)
        metadata = target / "ro-crate-metadata.json"
        content = json.loads(metadata.read_text(encoding="utf-8"))
        content["@graph"] = [each for each in content["@graph"] if each["@id"] != "./"]
        metadata.write_text(json.dumps(content))
        damaged = validated(arguments.validator, target)
    rows = [
        {"crate": name, "required, not met": len(found["issues"]["REQUIRED"]),
         "recommended, not met": len(found["issues"]["RECOMMENDED"])}
        for name, found in (("as exported", whole), ("without its root", damaged))
    ]  # fmt: skip
    required = {"crate_required_issues": len(whole["issues"]["REQUIRED"]), "validator": whole["version"]}
    report("export", {"ro_crate": rows}, required, arguments.json)
    if whole["issues"]["REQUIRED"] or not damaged["issues"]["REQUIRED"]:
        sys.exit("the export is not valid, or the validator notices nothing")


def exported(folder: Path) -> Path:
    """An export of an experiment with all its files."""
    root = folder / "project"
    made_records.bare_project(root)
    (root / ".dvc/cache/files/md5/12").mkdir(parents=True)
    (root / ".dvc/cache/files/md5/12" / ("3" * 30)).write_text("answers")
    record = made_records.made("exp_003", metrics={"val_loss": 2.5}, description="中文 <b>")
    record["results"]["items"] = {"md5": "12" + "3" * 30, "size": 7}
    made_records.write(root, record)
    weights = root / layout.weights("exp_003")
    weights.mkdir(parents=True)
    for name in (*layout.CHECKPOINT_FILES, "knowledge.jsonl"):
        (weights / name).write_text("{}")
    return export(Workspace(root, root), "exp_003", folder / "exp_003")


def validated(python: str, folder: Path) -> dict[str, Any]:
    """What the validator says of a folder."""
    done = subprocess.run([python, "-c", VALIDATE, str(folder), str(CONTEXT)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
