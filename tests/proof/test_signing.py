"""Signatures: what the key's owner signed verifies, and whatever a forger changes is named."""

from __future__ import annotations

import json
import subprocess
import sys

import made_records
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from explicitlm.common import layout
from explicitlm.common.errors import DataError, UsageError
from explicitlm.proof import signing
from explicitlm.vcs.workspace import Workspace

ID = "exp_001"


def make_key(folder, name: str):
    """A private key and its public one, in the files that openssl would write."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder, "lab"), make_key(folder, "other")


def git(root, *words: str) -> str:
    done = subprocess.run(["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words], cwd=root, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout.strip()


def seal(root, text: str) -> str:
    """Commits a seal and lets the tag name it."""
    (root / layout.MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    (root / layout.MANIFEST).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "seal")
    git(root, "tag", "-f", ID)
    return git(root, "rev-parse", "HEAD")


def edit_record(root, **versions: str) -> None:
    path = root / layout.record(ID)
    record = json.loads(path.read_text())
    record["versions"] |= versions
    made_records.write(root, record)


@pytest.fixture
def signed(tmp_path, keys):
    """A published and signed experiment; its weights are links, as DVC lays them out."""
    root = tmp_path / "project"
    made_records.bare_project(root)
    git(root, "init", "-q")
    made_records.write(root, made_records.made(ID))
    edit_record(root, experiment_commit=seal(root, '{"id": "exp_001"}'))
    weights = root / layout.weights(ID)
    weights.mkdir(parents=True)
    for name in layout.CHECKPOINT_FILES:
        (tmp_path / name).write_bytes(name.encode() * 1000)
        (weights / name).symlink_to(tmp_path / name)
    workspace = Workspace(root, root)
    assert signing.sign(workspace, ID, keys[0][0]) == "experiments/signatures/exp_001.sig"
    return workspace


def test_what_was_signed_verifies_and_leaves_nothing_behind(signed, keys) -> None:
    signing.verify(signed, ID, keys[0][1])
    assert not list((signed.main / layout.LOCAL).iterdir())


def test_another_weight_is_named(signed, keys) -> None:
    weights = signed.main / layout.weights(ID) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[7] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(DataError, match=r"not what was signed: weights/model\.safetensors$"):
        signing.verify(signed, ID, keys[0][1])


def test_a_further_and_a_missing_file_are_named(signed, keys) -> None:
    folder = signed.main / layout.weights(ID)
    (folder / ".gitignore").write_text("code that a loader might run")
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"signed: weights/\.gitignore, weights/config\.json$"):
        signing.verify(signed, ID, keys[0][1])


def test_another_record_is_named(signed, keys) -> None:
    path = signed.main / layout.record(ID)
    record = json.loads(path.read_text())
    record["results"]["metrics"] = {"val_loss": 0.1}
    made_records.write(signed.main, record)
    with pytest.raises(DataError, match=r"not what was signed: record\.json$"):
        signing.verify(signed, ID, keys[0][1])


def test_another_seal_is_named_whether_the_record_follows_it_or_not(signed, keys) -> None:
    commit = seal(signed.main, '{"id": "exp_001", "description": "forged"}')
    with pytest.raises(DataError, match="tag exp_001 is not the commit that its record names"):
        signing.verify(signed, ID, keys[0][1])
    edit_record(signed.main, experiment_commit=commit)
    with pytest.raises(DataError, match=r"not what was signed: record\.json, seal\.json$"):
        signing.verify(signed, ID, keys[0][1])


def test_another_key_is_told(signed, keys) -> None:
    with pytest.raises(DataError, match="it was signed with another key"):
        signing.verify(signed, ID, keys[1][1])


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "\ufffd", '{"dsseEnvelope": {"payload": "e30=", "signatures": []}}']
)
def test_a_forged_signature_is_one_line(signed, keys, content: str) -> None:
    (signed.main / layout.signature(ID)).write_text(content)
    with pytest.raises(DataError, match="the signature is damaged or forged"):
        signing.verify(signed, ID, keys[0][1])


def test_a_signature_over_other_words_is_forged(signed, keys) -> None:
    """The payload is replaced, the signature kept."""
    path = signed.main / layout.signature(ID)
    bundle = json.loads(path.read_text())
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = payload[:-8] + payload[-8:].swapcase()
    path.write_text(json.dumps(bundle))
    with pytest.raises(DataError, match="the signature is damaged or forged"):
        signing.verify(signed, ID, keys[0][1])


def test_what_is_missing_is_said(signed, keys, monkeypatch) -> None:
    for key in (keys[0][1], signed.main / "absent.pem"):
        with pytest.raises(UsageError, match=r"is no unencrypted private key|cannot be read"):
            signing.sign(signed, ID, key)
    with pytest.raises(UsageError, match="is no unencrypted public key"):
        signing.verify(signed, ID, keys[0][0])
    (signed.main / layout.signature(ID)).unlink()
    with pytest.raises(UsageError, match="exp_001 is not signed"):
        signing.verify(signed, ID, keys[0][1])
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(UsageError, match="signatures need OpenSSF model-signing"):
        signing.sign(signed, ID, keys[0][0])
