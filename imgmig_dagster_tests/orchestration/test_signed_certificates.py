"""Certificates that a key of KMS signs, from the report to `imgmig certificate verify`."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Imgmig

BUCKET = "images-dev-reports"


@pytest.fixture
def migrated(platform: Platform, services: Services) -> Platform:
    """One month, migrated and verified; KMS within reach."""
    platform.source.insert(images_of(3, range(5)))
    platform.set(AWS_ENDPOINT_URL_KMS=services.dynamodb_url)
    platform.succeed("migrate", MARCH)
    platform.succeed("verify", MARCH)
    return platform


def client(services: Services, service: str) -> Any:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.client(  # type: ignore[call-overload]
        service, endpoint_url=services.dynamodb_url, config=Config(proxies={})
    )


def new_key(kms: Any, pem: Path) -> str:
    """A key that signs; its public key goes to `pem`."""
    arn: str = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    key = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return arn


def test_a_report_signs_its_certificate_and_the_command_says_by_which_key(
    services: Services, migrated: Platform, imgmig: Imgmig, tmp_path: Path
) -> None:
    kms = client(services, "kms")
    migrated.set(IMGMIG_SIGNING_KEY=new_key(kms, tmp_path / "cutover.pem"))
    new_key(kms, tmp_path / "other.pem")
    migrated.succeed("report")

    found = imgmig("certificate", "verify")
    assert found.exit_code == 1, "it does not say READY: there is no census"
    assert "That does not say whose key it is" in found.stdout
    assert migrated.environment["IMGMIG_SIGNING_KEY"] in found.stdout
    assert "Verdict: NOT VERIFIED. Cutover: NOT READY" in found.stdout

    proven = imgmig("certificate", "verify", "--public-key", "cutover.pem")
    assert proven.exit_code == 1
    assert "by the key in cutover.pem. Nobody made or changed it who may not sign with that key." in proven.stdout
    assert imgmig("certificate", "verify", "--public-key", "cutover.pem", "--json").document["signature"][
        "by_public_key"
    ]

    refused = imgmig("certificate", "verify", "--public-key", "other.pem")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "latest is not signed by the key in other.pem" in refused.stderr
    (tmp_path / "other.pem").write_text("none")
    assert "other.pem is no public key in PEM" in imgmig("certificate", "verify", "--public-key", "other.pem").stderr
    assert imgmig("certificate", "verify", "--public-key", "gone.pem").exit_code == 2


def test_without_a_key_there_is_a_hash_and_the_command_says_what_it_is_not(migrated: Platform, imgmig: Imgmig) -> None:
    migrated.succeed("report")
    found = imgmig("certificate", "verify")
    assert "a deliberate forger can make a new hash" in found.stdout
    assert "No signature: nothing in the file says who made it." in found.stdout
    assert imgmig("certificate", "verify", "--json").document["signature"] is None
    refused = imgmig("certificate", "verify", "--public-key", "/dev/null")
    assert refused.exit_code == 2
    assert "bears no signature: set signing_key in [reports], then imgmig report" in refused.stderr


def signing_key_as_the_doctor_finds_it(imgmig: Imgmig) -> tuple[str, str]:
    (found,) = (each for each in imgmig("doctor", "--json").document["diagnoses"] if each["thing"] == "signing key")
    return found["health"], found["found"]


def test_a_key_that_is_disabled_costs_no_certificate(
    services: Services, migrated: Platform, imgmig: Imgmig, tmp_path: Path
) -> None:
    kms, s3 = client(services, "kms"), client(services, "s3")
    arn = new_key(kms, tmp_path / "cutover.pem")
    migrated.set(IMGMIG_SIGNING_KEY=arn)
    assert signing_key_as_the_doctor_finds_it(imgmig) == ("ok", f"{arn}, ECDSA_SHA_256")
    kms.disable_key(KeyId=arn.rpartition("/")[2])
    prefix = tmp_path.name
    migrated.set(IMGMIG_SIGNING_KEY=arn, IMGMIG_REPORTS_URL=f"s3://{BUCKET}/{prefix}")

    finished = imgmig("report")

    assert signing_key_as_the_doctor_finds_it(imgmig)[0] == "fail"
    assert finished.exit_code == 2
    assert "KMS answered DisabledException to GetPublicKey" in finished.stdout + finished.stderr
    kept = migrated.state.list("certificates/")
    assert len(kept) == 1
    found = migrated.state.read(kept[0])
    assert found
    assert "signature" not in json.loads(found.content)
    published = s3.get_object(Bucket=BUCKET, Key=f"{prefix}/dev/certificate.json")["Body"].read()
    assert published == found.content
