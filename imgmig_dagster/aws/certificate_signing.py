"""Signs certificates with a key of AWS KMS, and checks a signature without AWS.

`reporting.certificate_file` computes what is signed, the SHA-256 of canonical bytes. `SigningKey` is what
`signing_key` in [reports] names; without one a certificate has its hash alone.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

from imgmig_dagster.aws.access import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.aws.aws_faults import may_pass
from imgmig_dagster.errors import SigningRefused, SigningUnavailable

# In order of preference: an elliptic key has the first, an RSA key the second.
_ALGORITHMS: Final = ("ECDSA_SHA_256", "RSASSA_PSS_SHA_256")


@dataclass(frozen=True)
class Signature:
    """A signature of a SHA-256, in base64, with the ARN of the key of KMS and KMS's name of the algorithm.

    `public_key` is the key to verify it with, in PEM. Both `key` and `public_key` are what the file says of itself.
    """

    key: str
    algorithm: str
    public_key: str
    value: str

    def fits(self, sha256: bytes, public_key: str | None = None) -> bool:
        """Whether it signs this SHA-256, by its own public key or by the given one.

        Raises:
            ValueError: the given key is no public key in PEM, of an elliptic curve or of RSA.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

        hashed = Prehashed(hashes.SHA256())
        key = _loaded(self.public_key if public_key is None else public_key)
        try:
            value = base64.b64decode(self.value, validate=True)
            if self.algorithm == "ECDSA_SHA_256" and isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(value, sha256, ec.ECDSA(hashed))
            elif self.algorithm == "RSASSA_PSS_SHA_256" and isinstance(key, rsa.RSAPublicKey):
                salted = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
                key.verify(value, sha256, salted, hashed)
            else:
                return False
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """A key of AWS KMS by its ARN, id or alias."""

    access: AwsAccess
    name: str

    def sign(self, sha256: bytes) -> Signature:
        """Sign a SHA-256.

        Raises:
            SigningRefused: the key cannot be used: denied, disabled, gone, or of another kind.
            SigningUnavailable: KMS cannot be reached, or fails.
            AwsUnusable: every request to AWS would fail.
        """
        found = self._ask("GetPublicKey", "get_public_key", KeyId=self.name)
        algorithm = next((each for each in _ALGORITHMS if each in found.get("SigningAlgorithms", ())), None)
        if algorithm is None:
            raise SigningRefused(
                f"signing_key in [reports]: {self.name} signs by none of {', '.join(_ALGORITHMS)}: name a KMS key for "
                "SIGN_VERIFY of the kind ECC_NIST_P256 or RSA_2048"
            )
        # By its ARN: an alias may name another key by now.
        request = {"KeyId": found["KeyId"], "Message": sha256, "MessageType": "DIGEST", "SigningAlgorithm": algorithm}
        signed = self._ask("Sign", "sign", **request)
        value = base64.b64encode(signed["Signature"]).decode()
        signature = Signature(found["KeyId"], algorithm, _as_pem(found["PublicKey"]), value)
        if not signature.fits(sha256):
            raise SigningRefused(
                f"signing_key in [reports]: what KMS signed with {self.name} does not fit its public key: check "
                "AWS_ENDPOINT_URL_KMS, then imgmig report"
            )
        return signature

    def _ask(self, operation: str, method: str, **request: Any) -> Any:
        client = self.access.client("kms")
        try:
            return getattr(client, method)(**request)
        except ClientError as error:
            answered = f"signing_key in [reports]: KMS answered {error.response['Error']['Code']} to {operation}"
            if may_pass(error):
                raise SigningUnavailable(f"{answered}: give the same command again later") from None
            raise SigningRefused(
                f"{answered} of {self.name}: check the key, its state, AWS_REGION, and that key policy and role allow "
                "kms:GetPublicKey and kms:Sign"
            ) from None
        except BotoCoreError as error:
            raise SigningUnavailable(
                f"signing_key in [reports]: KMS cannot be reached at {client.meta.endpoint_url}: "
                f"{type(error).__name__}. "
                "A private subnet needs an interface endpoint of com.amazonaws.REGION.kms"
            ) from None


def _loaded(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError("a key of another kind") from error


def _as_pem(der: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    return load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
