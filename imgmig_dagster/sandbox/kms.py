"""Makes moto's KMS behave as AWS's: it signs a digest as it is, and refuses the keys that AWS refuses.

moto hashes a digest once more before it signs, fills a signature of RSASSA-PSS with as much salt as it holds, and signs
with disabled keys. What AWS does instead is in docs/aws.md.
"""

import base64
import json
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse

_HASHED: Final = Prehashed(hashes.SHA256())
_SALTED: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
_ALGORITHMS: Final = ("ECDSA_SHA_256", "RSASSA_PSS_SHA_256")


class _Refused(JsonRESTError):
    code = 400


def answer_as_kms() -> None:
    """Have moto's server sign as AWS does."""
    KmsResponse.sign = _sign  # type: ignore[assignment, method-assign]
    KmsResponse.get_public_key = _get_public_key  # type: ignore[assignment, method-assign]


def _sign(response: KmsResponse) -> str:
    asked = json.loads(response.body)
    key, algorithm, digest = _usable_key(response, asked), asked["SigningAlgorithm"], base64.b64decode(asked["Message"])
    if algorithm not in key.signing_algorithms or algorithm not in _ALGORITHMS:
        raise _Refused("InvalidKeyUsageException", f"{key.arn} does not sign by {algorithm}")
    if asked.get("MessageType") != "DIGEST" or len(digest) != hashes.SHA256.digest_size:
        raise _Refused("ValidationException", f"Digest is invalid length for algorithm {algorithm}.")
    private = key.private_key.private_key
    elliptic = algorithm.startswith("ECDSA")
    signature = private.sign(digest, ec.ECDSA(_HASHED)) if elliptic else private.sign(digest, _SALTED, _HASHED)
    signed = {"KeyId": key.arn, "Signature": base64.b64encode(signature).decode(), "SigningAlgorithm": algorithm}
    return json.dumps(signed)


def _get_public_key(response: KmsResponse) -> str:
    key = _usable_key(response, json.loads(response.body))
    public = base64.b64encode(key.private_key.public_key()).decode()
    return json.dumps({"KeyId": key.arn, "PublicKey": public, "SigningAlgorithms": key.signing_algorithms})


def _usable_key(response: KmsResponse, asked: dict[str, Any]) -> Any:
    keys, alias = response.kms_backend, response.kms_backend.get_alias_name(asked["KeyId"])
    found = keys.get_key_id_from_alias(alias) if alias.startswith("alias/") else keys.get_key_id(asked["KeyId"])
    key = keys.keys.get(found)  # type: ignore[arg-type]
    if key is None:
        raise _Refused("NotFoundException", f"{asked['KeyId']} is not found.")
    if key.key_state == "PendingDeletion":
        raise _Refused("KMSInvalidStateException", f"{key.arn} is pending deletion.")
    if not key.enabled:
        raise _Refused("DisabledException", f"{key.arn} is disabled.")
    if key.key_usage != "SIGN_VERIFY":
        raise _Refused("UnsupportedOperationException", f"{key.arn} has no public key to verify with.")
    return key
