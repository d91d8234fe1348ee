"""Signed folders are verified, and any change of them is named."""

import base64
import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from advance_tf.serving.signing import SIGNATURE, Signer, verify_export

PEM = serialization.Encoding.PEM


def write_keys(folder, curve=ec.SECP256R1, password=None, private=None):
    """The files of a private key and of its public key."""
    private = private or ec.generate_private_key(curve())
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    folder.mkdir(parents=True)
    (folder / "key.pem").write_bytes(
        private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, protection)
    )
    (folder / "key.pub").write_bytes(
        private.public_key().public_bytes(
            PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return folder / "key.pem", folder / "key.pub"


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path / "keys")


@pytest.fixture
def export(tmp_path):
    """A folder of the form of an export."""
    folder = tmp_path / "models" / "1"
    for name in ("saved_model.pb", "assets/scenes.csv", ".gitignore"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_a_signed_folder_is_verified(tmp_path, export, curve):
    private, public = write_keys(tmp_path / "own", curve)
    path = Signer(private).sign(export)
    assert path == export / SIGNATURE
    verify_export(export, public)
    # The name of the model is that of its folder; the files have their own digests.
    payload = json.loads(path.read_text())["dsseEnvelope"]["payload"]
    statement = json.loads(base64.b64decode(payload))
    assert statement["subject"][0]["name"] == "1"
    names = [each["name"] for each in statement["predicate"]["resources"]]
    assert names == [".gitignore", "assets/scenes.csv", "saved_model.pb"]


def test_the_program_of_the_package_verifies_it(keys, export):
    Signer(keys[0]).sign(export)
    command = [sys.executable, "-m", "model_signing", "verify", "key", export]
    command += ["--signature", export / SIGNATURE, "--public_key", keys[1]]
    command += ["--no-ignore-git-paths"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Verification succeeded\n")
    (export / "saved_model.pb").write_bytes(b"other")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def change(export):
    (export / "saved_model.pb").write_bytes(b"other")


def add(export):
    (export / "assets" / "more.csv").touch()


def remove(export):
    (export / "assets" / "scenes.csv").unlink()


def damage(export):
    bundle = json.loads((export / SIGNATURE).read_text())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    other = base64.b64encode(payload.replace(b"assets", b"assetz"))
    bundle["dsseEnvelope"]["payload"] = other.decode()
    (export / SIGNATURE).write_text(json.dumps(bundle))


def unsign(export):
    bundle = json.loads((export / SIGNATURE).read_text())
    bundle["dsseEnvelope"]["signatures"] = []
    (export / SIGNATURE).write_text(json.dumps(bundle))


def empty(export):
    (export / SIGNATURE).write_text("{}")


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (change, r"Hash mismatch for .*saved_model\.pb"),
        (add, r"Extra files found .*assets/more\.csv"),
        (remove, r"Missing files .*assets/scenes\.csv"),
        (damage, "received: InvalidSignature"),
        (unsign, "received: "),
        (empty, "received: "),
    ],
)
def test_a_change_is_an_error(keys, export, alter, message):
    Signer(keys[0]).sign(export)
    alter(export)
    with pytest.raises(ValueError, match=message):
        verify_export(export, keys[1])


def test_another_key_is_an_error(keys, export, tmp_path):
    Signer(keys[0]).sign(export)
    _, other = write_keys(tmp_path / "other")
    with pytest.raises(ValueError, match="Key mismatch"):
        verify_export(export, other)


def test_a_folder_without_signature_is_an_error(keys, export):
    with pytest.raises(ValueError, match=r"a folder without model\.sig\. Export it"):
        verify_export(export, keys[1])


def test_wrong_keys_are_named(tmp_path, keys, export):
    large = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    wrong = [
        tmp_path / "absent.pem",
        keys[1],
        write_keys(tmp_path / "password", password=b"secret")[0],
        write_keys(tmp_path / "curve", ec.SECP256K1)[0],
        write_keys(tmp_path / "rsa", private=large)[0],
    ]
    for path in wrong:
        rule = rf"^signing_key must be the PEM file of a private .* received {path}: "
        with pytest.raises(ValueError, match=rule):
            Signer(path)
    Signer(keys[0]).sign(export)
    with pytest.raises(ValueError, match="^public_key must be .* a public key"):
        verify_export(export, keys[0])
