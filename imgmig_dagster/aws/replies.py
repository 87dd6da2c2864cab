"""Detects replies that are not AWS's: a page of a proxy, of a portal that asks for a login, of a gateway.

botocore would take such a page for an empty list or a successful deletion, or crash.
"""

from typing import Any, Final

from imgmig_dagster.aws.aws_faults import proxy_refused
from imgmig_dagster.aws.route import proxy_place
from imgmig_dagster.errors import ProxyRefused

# Content-Type is no help: emulators send XML as text/html.
_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<title", b"<body", b"<script", b"<!--")


def refuses_pages(client: Any) -> None:
    """Make a botocore client end at once where somebody other than AWS answered, as far as that shows."""

    def look(operation_model: Any, response_dict: dict[str, Any], **_others: Any) -> None:
        status = response_dict["status_code"]
        if status == 407:
            raise proxy_refused(proxy_place(client), status)
        if not _is_a_page(operation_model, response_dict):
            return
        if status < 500:
            raise ProxyRefused(
                f"{client.meta.endpoint_url} answered HTTP {status} with a page that is not AWS's: a proxy, a portal "
                "or a gateway answered in its place. Log in to it, or fix HTTPS_PROXY, NO_PROXY or AWS_ENDPOINT_URL*"
            )
        response_dict["body"] = b""  # botocore then looks at the status, and tries again

    client.meta.events.register_first("before-parse", look)


def _is_a_page(operation: Any, response: dict[str, Any]) -> bool:
    status = response["status_code"]
    if 300 <= status < 400:
        return "x-amz-bucket-region" not in response["headers"]  # S3's own say where to go
    members = operation.output_shape.members if operation.output_shape else {}
    if status < 300 and (operation.has_streaming_output or "ContentType" in members):
        return False  # an object of S3, which may be anything
    start = response["body"][:64].lstrip().lower()
    if start.startswith(_PAGES):
        return True
    protocol = operation.service_model.resolved_protocol
    if status >= 400:
        # An error of this protocol cannot be read from its status alone.
        return status < 500 and protocol == "query" and not start
    in_the_body = any(not member.serialization.get("location") for member in members.values())
    return in_the_body and not start.startswith(b"{" if "json" in protocol else b"<")
