"""Certificates as companies, proxies and forgetful people have them, made by openssl."""

import subprocess
from pathlib import Path
from typing import Final

from imgmig_dagster_tests.tls_front import Certificate

_CA: Final = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
# As many companies made theirs: OpenSSL's strict checks ask for key usage and identifiers.
_HOME_MADE_CA: Final = "basicConstraints=CA:TRUE\nsubjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n"
_LEAF: Final = "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\n"
_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """An authority with a certificate of its own in `file`; `strict` holds to all of X.509."""

    def __init__(self, folder: Path, strict: bool = True) -> None:
        self._folder = folder
        self._identifier = "keyid" if strict else "none"
        folder.mkdir()
        self.file, self._key = folder / "ca.pem", folder / "ca.key"
        (folder / "ca.conf").write_text(
            f"[req]\ndistinguished_name=n\nx509_extensions=e\n[n]\n[e]\n{_CA if strict else _HOME_MADE_CA}"
        )
        _openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=company"),
            *("-config", folder / "ca.conf", "-keyout", self._key, "-out", self.file),
        )

    def issue(self, names: str, days: int = 2) -> Certificate:
        """A certificate for these names, as openssl spells them; it has expired where `days` is negative."""
        made = Certificate(self._folder / "leaf.pem", self._folder / "leaf.key")
        request, extensions = self._folder / "leaf.csr", self._folder / "leaf.ext"
        extensions.write_text(f"{_LEAF}authorityKeyIdentifier={self._identifier}\nsubjectAltName={names}\n")
        _openssl("req", *_KEY, "-subj", "/CN=leaf", "-keyout", made.key, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", str(days), "-extfile", extensions, "-out", made.file),
        )
        return made


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
