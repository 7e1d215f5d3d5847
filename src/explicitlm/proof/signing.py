"""Signatures: OpenSSF model signing of an experiment's weights, record and seal together, by a key of one's own.

Hashes tell a mix-up from the real thing; a signature tells a forger too, who would have changed the hashes as well.
The signature is a Sigstore bundle that `model_signing verify` reads, and lies in git beside the record.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.common.files import write_text
from explicitlm.common.shown import printable
from explicitlm.records import store
from explicitlm.vcs.workspace import Workspace

RECORD, SEAL, WEIGHTS = "record.json", "seal.json", "weights"  # as the signature names them
_CHANGED = re.compile(r"Hash mismatch for '([^']*)'")
_OTHER_FILES = re.compile(r"(Extra|Missing) files[^:]*: ([^\"']*)")


def sign(workspace: Workspace, experiment: str, key: Path) -> str:
    """Signs a published experiment and gives the signature's project-relative path.

    Args:
        key: an unencrypted private key of an elliptic curve (P-256, P-384, P-521), PEM.

    Raises:
        UsageError: no such experiment, no such key, or the optional package is missing.
        DataError: its weights or its seal are not here, or its tag is not the record's.
    """
    library = _library()
    make = f"openssl ecparam -name prime256v1 -genkey -noout -out key.pem; explicitlm sign {experiment} --key key.pem"
    config = _configured(library.signing.Config().use_elliptic_key_signer, "private_key", key, make)
    with _signed_files(workspace, experiment) as folder:
        made = folder.with_name("signature")
        config.set_hashing_config(_hashing(library)).sign(folder, made)
        write_text(workspace.main / layout.signature(experiment), made.read_text(encoding="utf-8"))
    return layout.signature(experiment)


def verify(workspace: Workspace, experiment: str, public_key: Path) -> None:
    """Checks that weights, record and seal are those that the key's owner signed.

    Raises:
        UsageError: there is no signature, no such key, or the optional package is missing.
        DataError: they are not, with the files that differ; or something is not here.
    """
    library = _library()
    signature = workspace.main / layout.signature(experiment)
    if not signature.is_file():
        raise UsageError(f"{experiment} is not signed: {layout.signature(experiment)} does not exist",
                         f"git pull; or: explicitlm sign {experiment} --key FILE")  # fmt: skip
    use = library.verifying.Config().use_elliptic_key_verifier
    config = _configured(
        use, "public_key", public_key, "the signer makes it: openssl ec -in key.pem -pubout -out key.pub"
    )
    with _signed_files(workspace, experiment) as folder:
        try:
            config.set_hashing_config(_hashing(library)).verify(folder, signature)
        except Exception as error:  # a forged bundle fails in whatever part of the library it reaches
            look = f"git log -p -- {layout.record(experiment)} {layout.signature(experiment)}"
            raise DataError(f"{experiment} is not what was signed: {_cause(error)}", look) from None


def _library() -> ModuleType:
    try:
        import model_signing
    except ImportError:
        raise UsageError("signatures need OpenSSF model-signing", "pip install 'explicitlm[sign]'") from None
    return model_signing


def _hashing(library: ModuleType) -> Any:
    return library.hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _configured(use: Callable[..., Any], option: str, key: Path, hint: str) -> Any:
    """The library's configuration for a key.

    Raises:
        UsageError: the file is no such key.
    """
    try:
        return use(**{option: key})
    except OSError as error:
        raise UsageError(f"the key {key} cannot be read: {error.strerror}", hint) from None
    except Exception:  # of the cryptography below, whose kinds of error are many
        kind = option.replace("_", " ")
        raise UsageError(f"{key} is no unencrypted {kind} of an elliptic curve in PEM", hint) from None


@contextmanager
def _signed_files(workspace: Workspace, experiment: str) -> Iterator[Path]:
    """A folder with all that is signed of an experiment, as it is in this checkout.

    Raises:
        UsageError: it has no record. DataError: a part is not here, or its tag is not the record's.
    """
    record = store.load(workspace.main, experiment)
    weights = workspace.main / layout.weights(experiment)
    if not weights.is_dir():
        raise DataError(f"the weights of {experiment} are not here", f"dvc pull {layout.weights_pointer(experiment)}")
    commit = workspace.git.tag_commit(experiment)
    seal = workspace.git.read(commit, layout.MANIFEST) if commit else None
    if commit != record.versions.experiment_commit or seal is None:
        kept = f"git tag {experiment}-here {experiment} && " if commit else ""  # the only name of what it leads to now
        raise DataError(f"tag {experiment} is not the commit that its record names: there is no seal to check",
                        f"{kept}git fetch --force origin tag {experiment}")  # fmt: skip
    parent = workspace.main / layout.LOCAL
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="signing-") as temporary:
        folder = Path(temporary) / experiment
        folder.mkdir()
        shutil.copyfile(workspace.main / layout.record(experiment), folder / RECORD)
        write_text(folder / SEAL, seal)
        for file in sorted(path for path in weights.rglob("*") if path.is_file()):
            _link_or_copy(file, folder / WEIGHTS / file.relative_to(weights))
        yield folder


def _link_or_copy(file: Path, target: Path) -> None:
    """The file itself under another name, whatever kind of link DVC laid out; a copy where there are no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)


def _cause(error: Exception) -> str:
    """In one line: the files that differ, or what is wrong with the signature or the key."""
    text = str(error).replace("\\'", "'")  # the library gives a list of texts as Python writes it
    changed = _CHANGED.findall(text) + [name for _, names in _OTHER_FILES.findall(text) for name in names.split(", ")]
    if changed:
        return printable(", ".join(changed))
    if "Key mismatch" in text:
        return "it was signed with another key"
    return "the signature is damaged or forged"
