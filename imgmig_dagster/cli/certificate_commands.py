"""``imgmig certificate``: shows certificates, checks hash and signature, and compares two (`reporting/`)."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from imgmig_dagster.cli.console import CommandResult, Output, finish
from imgmig_dagster.cli.options import Json, StageOption, TableOption, chosen
from imgmig_dagster.cli.wording import add_row, table_of, verdict_line
from imgmig_dagster.files import refusals_as
from imgmig_dagster.reporting.certificate import Certificate, compare
from imgmig_dagster.reporting.certificate_file import (
    CertificateFile,
    CertificateRefused,
    kept_certificate,
    kept_names,
    parse,
)
from imgmig_dagster.reporting.cutover import Cutover
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.services import stage_state
from imgmig_dagster.stage.tables import chosen_table
from imgmig_dagster.state.opening import table_state
from imgmig_dagster.state.store import StateStore

app = typer.Typer(help="The certificates of a stage: what was proved, and when.", no_args_is_help=True)

# These name a certificate that the state keeps; anything else is a file.
_KEPT: Final = re.compile(r"latest|previous|\d{4}-\d\d-\d\dT\d{6}[.]\d{3}Z")
_LISTED: Final = 20
_HASH_PROVES: Final = "That reveals an accident or a careless edit; a deliberate forger can make a new hash."
_SIGNATURE_PROVES: Final = "Nobody made or changed it who may not sign with that key."
_OWN_KEY_PROVES: Final = (
    "That does not say whose key it is: a forger can put their own key into the file. Name the right one by "
    "--public-key."
)
Which = Annotated[str, typer.Argument(help="A file; or latest, previous, or a name of imgmig certificate list.")]
PublicKey = Annotated[
    str | None, typer.Option("--public-key", help="File with the public key, in PEM, that must have signed it.")
]


@app.command(epilog="Example: imgmig certificate show latest --stage staging")
def show(
    which: Which = "latest",
    stage: StageOption = None,
    table: TableOption = None,
    json: Json = False,
) -> None:
    """Check that a certificate is as it was written, and show what it says. Exit code 0 only for READY."""
    found = _load(which, stage, table).certificate
    census = found.census
    lines = [
        *(f"blocked by: {each}" for each in found.blockers),
        *(f"before cutover: {each}" for each in found.cutover_blockers),
        f"Stage {found.stage}{_of_table(found)}, {found.made_at}. {verdict_line(found.verdict, found.cutover)}",
        found.meaning,
        *(f"assumed: {each}" for each in found.assumptions),
        *found.columns.ignored_lines,
        *found.schema.lines,
        f"{len(found.partitions):,} partitions, {found.rows:,} rows; "
        + (f"census of {census.source_rows:,} rows and {census.target_items:,} items" if census else "no census"),
    ]
    finish(Output(json), CommandResult(0 if found.cutover is Cutover.READY else 1, asdict(found), lines))


@app.command("list", epilog="Example: imgmig certificate list --stage staging")
def list_kept(stage: StageOption = None, table: TableOption = None, json: Json = False) -> None:
    """Show which certificates the state keeps, the last one first, and what each says."""
    state = _state(stage, table)
    kept = kept_names(state)
    shown = [_entry(state, name) for name in kept[:_LISTED]]
    lines = [f"... and {len(kept) - _LISTED:,} earlier ones"] if len(kept) > _LISTED else []
    if not kept:
        lines = ["The state keeps no certificate: imgmig report makes one"]
    shown_as = table_of("certificate", "rows", "verdict", "cutover")
    for entry in shown:
        add_row(shown_as, *entry.values())
    document = {"certificates": shown, "kept": len(kept)}
    finish(Output(json), CommandResult(0, document, lines, shown_as if shown else None))


def _entry(state: StateStore, name: str) -> dict[str, str | int | None]:
    try:
        found = parse(*kept_certificate(state, name)).certificate
    except CertificateRefused:  # altered, or of another version: `show` says which
        return {"certificate": name, "rows": None, "verdict": "cannot be read", "cutover": None}
    return {
        "certificate": name,
        "rows": found.rows,
        "verdict": found.verdict.value,
        "cutover": found.cutover.value,
    }


@app.command(epilog="Example: imgmig certificate diff previous latest --stage staging")
def diff(
    before: Which = "previous",
    after: Which = "latest",
    stage: StageOption = None,
    table: TableOption = None,
    json: Json = False,
) -> None:
    """Show what changed between two certificates. Exit code 0 if nothing did, 1 otherwise."""
    changes = compare(_load(before, stage, table).certificate, _load(after, stage, table).certificate)
    lines = [f"{each.where}: {each.what}: {_shown(each.before)} -> {_shown(each.after)}" for each in changes]
    document = {"changes": [asdict(each) for each in changes]}
    finish(Output(json), CommandResult(1 if changes else 0, document, lines or ["Nothing changed."]))


@app.command(epilog="Example: imgmig certificate verify certificate.json --public-key cutover.pem")
def verify(
    which: Which = "latest",
    public_key: PublicKey = None,
    stage: StageOption = None,
    table: TableOption = None,
    json: Json = False,
) -> None:
    """Check a certificate's hash and signature, without AWS, and say what each proves.

    Exit code 0: both hold, and it says READY. 1: both hold, and it says something else. 2: one of them does not hold,
    or there is no signature by the key of --public-key.
    """
    found = _load(which, stage, table)
    signature, proven = found.signature, False
    if public_key is not None:
        _refuse_unless_signed_by(public_key, which, found)
        proven = True
    lines = [f"SHA-256 {found.sha256}: the file is as it was written. {_HASH_PROVES}"]
    if signature is None:
        lines.append("No signature: nothing in the file says who made it.")
    elif proven:
        lines.append(f"Signature ({signature.algorithm}): by the key in {public_key}. {_SIGNATURE_PROVES}")
    else:
        lines.append(f"Signature ({signature.algorithm}): by the public key in the file itself. {_OWN_KEY_PROVES}")
        lines.append(f"The file says that this is the key {signature.key}")
    certificate = found.certificate
    verdict = verdict_line(certificate.verdict, certificate.cutover)
    lines.append(f"Stage {certificate.stage}{_of_table(certificate)}, as of {certificate.counted_at}. {verdict}")
    document = {
        "sha256": found.sha256,
        "signature": None if signature is None else {**asdict(signature), "by_public_key": proven},
        "verdict": certificate.verdict.value,
        "cutover": certificate.cutover.value,
    }
    finish(Output(json), CommandResult(0 if certificate.cutover is Cutover.READY else 1, document, lines))


def _refuse_unless_signed_by(public_key: str, which: str, found: CertificateFile) -> None:
    with refusals_as(CertificateRefused, public_key, "name a file with the public key in PEM", reads=True):
        pem = Path(public_key).read_bytes()
    if found.signature is None:
        raise CertificateRefused(f"{which} bears no signature: set signing_key in [reports], then imgmig report")
    try:
        fits = found.signature.fits(bytes.fromhex(found.sha256), pem.decode("ascii", "replace"))
    except ValueError:
        raise CertificateRefused(
            f"{public_key} is no public key in PEM, of an elliptic curve or of RSA: aws kms get-public-key gives it in "
            "DER, and openssl pkey -pubin -inform DER makes PEM of it"
        ) from None
    if not fits:
        raise CertificateRefused(
            f"{which} is not signed by the key in {public_key}. The file names {found.signature.key}: ask whose key "
            "that is, and the keeper of the certificates for the right file"
        )


def _of_table(certificate: Certificate) -> str:
    return f", table {certificate.table.shown}" if certificate.table else ""


def _load(which: str, stage: str | None, table: str | None) -> CertificateFile:
    if not _KEPT.fullmatch(which):
        with refusals_as(CertificateRefused, which, "name another file, or latest, or previous", reads=True):
            content = Path(which).read_bytes()
        return parse(which, content)
    return parse(*kept_certificate(_state(stage, table), which))


def _state(stage: str | None, table: str | None) -> StateStore:
    settings = load_settings(chosen(stage))
    state = stage_state(settings)
    return table_state(state, chosen_table(settings.stage, table))


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
