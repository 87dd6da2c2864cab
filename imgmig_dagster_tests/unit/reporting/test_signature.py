"""Signatures by the sandbox's KMS, which signs as AWS's does, checked by OpenSSL and by us without KMS."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from imgmig_dagster.aws.certificate_signing import SigningKey
from imgmig_dagster.errors import ImgmigError, SigningRefused, SigningUnavailable
from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.certificate_file import (
    CertificateRefused,
    keep_certificate,
    kept_certificate,
    parse,
    sign_certificate,
)
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import Action, FaultProxy, error, reset_before
from imgmig_dagster_tests.unit.reporting.stage_state import FACTS, MARCH, StageState

KINDS = {"ECC_NIST_P256": "ECDSA_SHA_256", "RSA_2048": "RSASSA_PSS_SHA_256"}
NewKey = Callable[..., str]
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def kms(services: Services) -> Any:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.client("kms", endpoint_url=services.dynamodb_url, config=Config(proxies={}))


@pytest.fixture
def new_key(kms: Any) -> NewKey:
    def create(kind: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
        arn: str = kms.create_key(KeySpec=kind, KeyUsage=usage)["KeyMetadata"]["Arn"]
        return arn

    return create


@pytest.fixture
def state(tmp_path: Path) -> LocalStateStore:
    """A stage with a certificate, which is not signed."""
    stage = StageState(LocalStateStore(tmp_path / "staging"))
    stage.clean(MARCH, 100)
    keep_certificate(stage.store, certify(stage.report()))
    assert isinstance(stage.store, LocalStateStore)
    return stage.store


def public_key(kms: Any, arn: str, folder: Path) -> Path:
    """The public key in PEM, as OpenSSL makes it of what KMS gives."""
    der, pem = folder / "key.der", folder / "key.pem"
    der.write_bytes(kms.get_public_key(KeyId=arn)["PublicKey"])
    subprocess.run(["openssl", "pkey", "-pubin", "-inform", "DER", "-in", der, "-out", pem], check=True)
    return pem


@each_kind
def test_a_certificate_is_signed_and_checked_without_kms(
    services: Services, kms: Any, new_key: NewKey, state: LocalStateStore, tmp_path: Path, kind: str
) -> None:
    arn = new_key(kind)
    before = parse(*kept_certificate(state, "latest"))
    assert before.signature is None

    sign_certificate(state, FACTS.made_at, SigningKey(access(services.dynamodb_url), arn))

    found = parse(*kept_certificate(state, "latest"))
    assert found.signature
    assert (found.certificate, found.sha256) == (before.certificate, before.sha256)
    assert (found.signature.key, found.signature.algorithm) == (arn, KINDS[kind])
    assert found.signature.fits(bytes.fromhex(found.sha256), public_key(kms, arn, tmp_path).read_text())
    assert not found.signature.fits(hashlib.sha256(b"another").digest())
    other = public_key(kms, new_key(kind), tmp_path).read_text()
    assert not found.signature.fits(bytes.fromhex(found.sha256), other)
    report = state.read("reports/certificate.json")
    assert report
    assert report.content == kept_certificate(state, "latest")[1]


@each_kind
def test_openssl_verifies_the_signature_of_the_canonical_bytes(
    services: Services, kms: Any, new_key: NewKey, state: LocalStateStore, tmp_path: Path, kind: str
) -> None:
    arn = new_key(kind)
    sign_certificate(state, FACTS.made_at, SigningKey(access(services.dynamodb_url), arn))
    document = json.loads(kept_certificate(state, "latest")[1])
    signature = document.pop("signature")
    document.pop("sha256")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (tmp_path / "canonical.bin").write_text(canonical, encoding="utf-8")
    (tmp_path / "signature.bin").write_bytes(base64.b64decode(signature["value"]))
    salted = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] if kind == "RSA_2048" else []

    verified = subprocess.run(
        [
            "openssl",
            "dgst",
            "-sha256",
            "-verify",
            public_key(kms, arn, tmp_path),
            *salted,
            "-signature",
            tmp_path / "signature.bin",
            tmp_path / "canonical.bin",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert verified.stdout == "Verified OK\n"


def test_an_edit_is_told_although_its_hash_was_made_anew(
    services: Services, new_key: NewKey, state: LocalStateStore
) -> None:
    sign_certificate(state, FACTS.made_at, SigningKey(access(services.dynamodb_url), new_key()))
    document = orjson.loads(kept_certificate(state, "latest")[1])
    document["verdict"] = "PASS"
    covered = {name: value for name, value in document.items() if name not in ("sha256", "signature")}
    canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    document["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()

    with pytest.raises(CertificateRefused, match="c was altered since it was signed"):
        parse("c", orjson.dumps(document))

    document["signature"]["public_key"] = "none"
    with pytest.raises(CertificateRefused, match="c was altered since it was signed"):
        parse("c", orjson.dumps(document))


def test_a_digest_is_signed_and_not_hashed_again(services: Services, new_key: NewKey, state: LocalStateStore) -> None:
    with FaultProxy(services.dynamodb_url) as proxy:
        sign_certificate(state, FACTS.made_at, SigningKey(access(proxy.url), new_key()))
    (sign,) = proxy.of("Sign")
    sha256 = parse(*kept_certificate(state, "latest")).sha256
    assert (sign.body["MessageType"], base64.b64decode(sign.body["Message"]).hex()) == ("DIGEST", sha256)


def disabled(kms: Any, arn: str) -> str:
    kms.disable_key(KeyId=arn.rpartition("/")[2])
    return arn


def pending_deletion(kms: Any, arn: str) -> str:
    kms.schedule_key_deletion(KeyId=arn.rpartition("/")[2], PendingWindowInDays=7)
    return arn


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda kms, new_key: disabled(kms, new_key()), "DisabledException"),
        (lambda kms, new_key: pending_deletion(kms, new_key()), "KMSInvalidStateException"),
        (lambda _kms, new_key: new_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), "UnsupportedOperationException"),
        (lambda _kms, new_key: new_key("ECC_NIST_P384"), "signs by none of"),
        (lambda _kms, _new_key: "alias/gone", "NotFoundException"),
    ],
    ids=["disabled", "pending deletion", "symmetric", "P384", "gone"],
)
def test_a_key_that_cannot_be_used_leaves_the_certificate_unsigned(
    services: Services, kms: Any, new_key: NewKey, state: LocalStateStore, make: Callable[..., str], says: str
) -> None:
    before = kept_certificate(state, "latest")
    key = SigningKey(access(services.dynamodb_url), make(kms, new_key))

    with pytest.raises(SigningRefused, match=says) as refused:
        sign_certificate(state, FACTS.made_at, key)

    assert str(refused.value).startswith("signing_key in [reports]: ")
    assert kept_certificate(state, "latest") == before


@pytest.mark.parametrize("operation", ["GetPublicKey", "Sign"])
@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (error("AccessDeniedException"), SigningRefused, "kms:GetPublicKey and kms:Sign"),
        (error("KMSInternalException", 500), SigningUnavailable, "KMSInternalException"),
        (error("ThrottlingException"), SigningUnavailable, "again later"),
        (reset_before, SigningUnavailable, "interface endpoint of com.amazonaws.REGION.kms"),
    ],
    ids=["denied", "fails", "throttled", "away"],
)
def test_a_service_that_does_not_sign_leaves_the_certificate_unsigned(
    services: Services,
    new_key: NewKey,
    state: LocalStateStore,
    operation: str,
    answer: Action,
    kind: type[ImgmigError],
    says: str,
) -> None:
    before = kept_certificate(state, "latest")
    arn = new_key()
    with FaultProxy(services.dynamodb_url) as proxy:
        proxy.inject(answer, operation, times=100)
        with pytest.raises(kind, match=says) as refused:
            sign_certificate(state, FACTS.made_at, SigningKey(access(proxy.url), arn))
    assert "IMAGE#secret" not in str(refused.value)
    assert kept_certificate(state, "latest") == before


class TestTheSandboxsKms:
    """As docs/aws.md says of AWS's."""

    @each_kind
    def test_it_refuses_what_is_no_digest(self, kms: Any, new_key: NewKey, kind: str) -> None:
        with pytest.raises(ClientError, match="Digest is invalid length"):
            kms.sign(KeyId=new_key(kind), Message=b"x" * 33, MessageType="DIGEST", SigningAlgorithm=KINDS[kind])

    def test_it_signs_by_an_alias_and_names_the_keys_arn(self, kms: Any, new_key: NewKey) -> None:
        arn = new_key()
        kms.create_alias(AliasName="alias/cutover", TargetKeyId=arn.rpartition("/")[2])
        request = {"KeyId": "alias/cutover", "Message": b"x" * 32, "MessageType": "DIGEST"}
        assert kms.sign(**request, SigningAlgorithm="ECDSA_SHA_256")["KeyId"] == arn
        assert kms.get_public_key(KeyId="alias/cutover")["KeyId"] == arn
        kms.delete_alias(AliasName="alias/cutover")
