"""Opens a page that a command wrote, in the user's browser."""

import webbrowser

from imgmig_dagster.cli.console import Output
from imgmig_dagster.stage.settings import Settings


def open_page(place: str, settings: Settings, output: Output) -> None:
    """Open a file of the state; where no browser can be started, say the address."""
    from imgmig_dagster.defs.links import url_of

    url = url_of(place, settings.aws())
    if not webbrowser.open(url):
        output.say(f"No browser can be started here. Open {url}")
