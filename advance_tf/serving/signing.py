"""Signatures of exports with a private key, by the package model-signing."""

import contextlib
import pathlib
from collections.abc import Iterator

from advance_tf.extras import check_extra

SIGNATURE = "model.sig"


class Signer:
    """Signs folders with one private key, which is read when the signer is created.

    Args:
        private_key: PEM file of a private key on the curve P-256, P-384 or P-521,
            without a password.

    Raises:
        ImportError: the extra `signing` is not installed.
        ValueError: the file is not such a key.
    """

    def __init__(self, private_key: str | pathlib.Path) -> None:
        check_extra("signing", "model_signing")
        from model_signing import signing

        with _key_problems("signing_key", "private", private_key):
            self._config = signing.Config().use_elliptic_key_signer(
                private_key=private_key
            )

    def sign(self, folder: pathlib.Path) -> pathlib.Path:
        """Writes the SHA-256 of every file of a folder, and their signature.

        Args:
            folder: folder of an export; a file `model.sig` in it is replaced.

        Returns:
            The path of `model.sig`: a Sigstore bundle without an entry of a
            transparency log.
        """
        from model_signing import hashing

        ignoring = hashing.Config().set_ignored_paths(
            paths=[SIGNATURE], ignore_git_paths=False
        )
        path = folder / SIGNATURE
        self._config.set_hashing_config(ignoring).sign(folder, path)
        return path


def verify_export(folder: str | pathlib.Path, public_key: str | pathlib.Path) -> None:
    """Verifies that an export has exactly the files that were signed.

    Args:
        folder: folder of the version, with its `model.sig`.
        public_key: PEM file of the public key of the signer.

    Raises:
        ImportError: the extra `signing` is not installed.
        ValueError: the folder has no signature, the signature is not of this key, or
            a file was changed, added or removed.

    Example:
        >>> from advance_tf import serving
        >>> serving.verify_export("models/advance/1", "signing.pub")  # doctest: +SKIP
    """
    check_extra("signing", "model_signing")
    from cryptography.exceptions import InvalidSignature
    from model_signing import hashing, verifying

    folder = pathlib.Path(folder)
    path = folder / SIGNATURE
    if not path.is_file():
        raise ValueError(
            f"{folder} must be a signed export; received a folder without {SIGNATURE}. "
            "Export it again with `signing_key`."
        )
    with _key_problems("public_key", "public", public_key):
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    verifier.set_hashing_config(
        hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    )
    try:
        verifier.verify(folder, path)
    # What the package raises depends on where a damaged signature fails to be read.
    except (
        *(InvalidSignature, ValueError, LookupError, TypeError, AttributeError),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{folder} must have the files and the key that {SIGNATURE} states; "
            f"received: {reason}. Do not use it: obtain the export again."
        ) from error


@contextlib.contextmanager
def _key_problems(name: str, kind: str, path: str | pathlib.Path) -> Iterator[None]:
    """Raises ValueError with rule and way out if a key cannot be read."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        yield
    # AttributeError: the key of another algorithm has no curve.
    except (
        *(OSError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm),
    ) as error:
        raise ValueError(
            f"{name} must be the PEM file of a {kind} key on the curve P-256, P-384 or "
            f"P-521, without a password; received {path}: {error}. Create a key with "
            "`openssl ecparam -name prime256v1 -genkey -noout -out signing.pem`."
        ) from error
