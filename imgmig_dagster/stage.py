"""The words that settings choose from: stages, ways to write, ways to show pictures. Their values are in `config`."""

from enum import Enum

from imgmig_dagster.errors import SettingsError


class Stage(str, Enum):
    """Where the platform runs."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"

    @property
    def env_file(self) -> str:
        """The file, in the current directory, that may hold this stage's variables."""
        return f".env.{self.value}"


class WriteMode(str, Enum):
    """How items that may already stand in the target are treated."""

    CONDITIONAL = "conditional"
    """Inserts where nothing stands, and only there: safe while the application writes to both sides."""
    BATCH = "batch"
    """BatchWriteItem, which takes no condition, where a look found nothing: an item that somebody else writes between
    look and write is replaced whole. Only for a target that nobody else writes to."""


class PictureMode(str, Enum):
    """How the spot check's page shows pictures."""

    EMBEDDED = "embedded"
    """In the page itself, which can be read without a network for as long as it is kept."""
    LINK = "link"
    """As links to S3, presigned for an hour."""


def parse_stage(name: str) -> Stage:
    """The stage of that name; `SettingsError` names the choices."""
    try:
        return Stage(name)
    except ValueError:
        choices = ", ".join(stage.value for stage in Stage)
        raise SettingsError(f"STAGE is {name!r}; choose one of {choices}") from None
