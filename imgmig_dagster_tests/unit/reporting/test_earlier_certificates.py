"""Certificates that an earlier version wrote, with its words for the same things."""

import hashlib
import json

import orjson

from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.certificate_file import parse, serialize
from imgmig_dagster_tests.unit.reporting.stage_state import MARCH, StageState


def test_a_certificate_of_format_3_is_read_by_its_earlier_names(state: StageState) -> None:
    state.clean(MARCH, 100)
    document = orjson.loads(serialize(certify(state.report())))
    document["format"] = 3
    document["lacking"], document["lacking_review"] = document.pop("blockers"), document.pop("cutover_blockers")
    for each in document["partitions"]:
        each["void"] = each.pop("invalidation")
        if each["evidence"]:
            each["evidence"]["settled"] = each["evidence"].pop("agreed_on_recheck")
    del document["sha256"]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    content = orjson.dumps({**document, "sha256": hashlib.sha256(canonical.encode()).hexdigest()})

    found = parse("certificate.json", content).certificate

    assert (found.format, found.blockers) == (3, document["lacking"])
    assert found.cutover_blockers == document["lacking_review"]
