"""The command line ``imgmig``: thin, everything it does is a Dagster job or a call of the domain."""

from imgmig_dagster.garbage import kept_for_good

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with an exit code of `errors`."""
    with kept_for_good():
        from imgmig_dagster.cli import app
    app.main()
