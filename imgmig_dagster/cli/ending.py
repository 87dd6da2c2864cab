"""Ends every command with an exit code, and an error in one line or in the JSON document."""

import sqlite3
import sys
from typing import Any, Final

import typer

from imgmig_dagster.cli.console import print_error, write_document
from imgmig_dagster.errors import FilesUnavailable, ImgmigError
from imgmig_dagster.files import refusal

_ABORTED: Final = 1


def run(app: typer.Typer) -> int:
    """Run the command that the process was started with, and return its exit code. No error shows a traceback.

    With `--json` standard output holds a document after an error too: `errors` in it says what ended the command.
    """
    try:
        return app(standalone_mode=False) or 0
    except ImgmigError as error:
        return _refused(str(error), error.exit_code)
    except (OSError, sqlite3.Error) as error:
        # Errors of files without a better message.
        return _refused(f"{refusal(error)}. Then give the same command again", FilesUnavailable.exit_code)
    except typer.Abort:
        _rich().rich_abort_error()
        return _ABORTED
    except typer.TyperException as error:  # wrong usage
        _rich().rich_format_error(error)
        _document(error.format_message())
        return error.exit_code


def _rich() -> Any:
    # It imports a parser of Markdown, which costs every command a tenth of a second.
    from typer import rich_utils

    return rich_utils


def _refused(message: str, exit_code: int) -> int:
    print_error(message)
    _document(message)
    return exit_code


def _document(message: str) -> None:
    # A wrong command line cannot be parsed for --json.
    if "--json" in sys.argv[1:]:
        write_document({"errors": [message]})
