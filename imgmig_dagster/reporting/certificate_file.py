"""A certificate as a file: canonical bytes, their SHA-256 and its signature. Also keeps and finds those files.

`certificate` builds the certificate. docs/recheck.md defines the canonical bytes, so that anybody can check a file
without this package.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.aws.certificate_signing import Signature, SigningKey
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.reporting.certificate import FORMAT, READABLE, Certificate
from imgmig_dagster.state import names
from imgmig_dagster.state.store import StateStore

# In the file next to the certificate's fields, which the hash covers.
_NOT_COVERED: Final = ("sha256", "signature")
_AGAIN: Final = "Make a new one: imgmig report"


class CertificateRefused(ImgmigError):
    """A certificate does not exist, cannot be read, was altered, or is not signed as required."""


@dataclass(frozen=True)
class CertificateFile:
    """A certificate whose content fits its hash, with that hash and its signature."""

    certificate: Certificate
    sha256: str
    signature: Signature | None


def serialize(certificate: Certificate) -> bytes:
    """The certificate as JSON, with the SHA-256 of the rest of it."""
    body = orjson.loads(orjson.dumps(asdict(certificate)))
    return _dumped({**body, "sha256": _sha256(body)})


def keep_certificate(store: StateStore, certificate: Certificate) -> bytes:
    """Keep the certificate beside the earlier ones, and return its content."""
    content = serialize(certificate)
    store.write(names.certificate(certificate.made_at), content)
    return content


def sign_certificate(store: StateStore, made_at: str, key: SigningKey) -> None:
    """Sign the certificate of that time, where it is kept and in the report.

    Raises:
        SigningRefused, SigningUnavailable, AwsUnusable: as `SigningKey.sign`; the certificate stays unsigned.
        CertificateRefused: there is no such certificate.
    """
    kept = names.certificate(made_at)
    found = store.read(kept)
    if found is None:
        raise CertificateRefused(f"{store.locate(kept)} is gone although it was just written: imgmig report")
    document = orjson.loads(found.content)
    content = _dumped({**document, "signature": asdict(key.sign(bytes.fromhex(document["sha256"])))})
    for name in (kept, names.report(names.CERTIFICATE)):
        store.write(name, content)


def kept_certificate(store: StateStore, which: str) -> tuple[str, bytes]:
    """Place and content of the ``latest`` certificate, of the ``previous`` one, or of one by its name.

    Raises:
        CertificateRefused: there is none.
    """
    kept = [*reversed(store.list(names.CERTIFICATES))]
    place = {"latest": 0, "previous": 1}.get(which)
    named = [each for each in kept if _name(each) == which] if place is None else kept[place : place + 1]
    found = store.read(named[0]) if named else None
    if found is None:
        raise CertificateRefused(
            f"there is no {which} certificate below {store.locate(names.CERTIFICATES)}: see imgmig certificate list"
        )
    return store.locate(named[0]), found.content


def kept_names(store: StateStore) -> list[str]:
    """The names by which `kept_certificate` finds the kept certificates, the last one first."""
    return [_name(each) for each in reversed(store.list(names.CERTIFICATES))]


def _name(place: str) -> str:
    return PurePosixPath(place).stem


def parse(name: str, content: bytes) -> CertificateFile:
    """The certificate in a file.

    Raises:
        CertificateRefused: it is no certificate, or not as it was written.
    """
    try:
        document = orjson.loads(content)
        if document["format"] not in READABLE:
            raise CertificateRefused(
                f"{name} is a certificate of format {document['format']}, and this version reads {FORMAT}. Verify it "
                f"with the version that made it, or make a new one: imgmig report --stage {document['stage']}"
            )
        sha256 = document["sha256"]
        if sha256 != _sha256(document):
            raise CertificateRefused(f"{name} was altered since it was written: its SHA-256 does not fit. {_AGAIN}")
        signature = TypeAdapter(Signature | None).validate_python(document.get("signature"))
        if signature and not _fits(signature, sha256):
            raise CertificateRefused(f"{name} was altered since it was signed: its signature does not fit. {_AGAIN}")
        covered = {field: value for field, value in document.items() if field not in _NOT_COVERED}
        return CertificateFile(TypeAdapter(Certificate).validate_python(covered), sha256, signature)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValidationError):
        raise CertificateRefused(f"{name} is no certificate of format {FORMAT}: see imgmig certificate list") from None


def _fits(signature: Signature, sha256: str) -> bool:
    try:
        return signature.fits(bytes.fromhex(sha256))
    except ValueError:  # its public key cannot be read
        return False


def _sha256(document: Mapping[str, Any]) -> str:
    covered = {field: value for field, value in document.items() if field not in _NOT_COVERED}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _dumped(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
