"""The choices of settings: stages, write modes, ways to show pictures. The settings are in `sections`."""

from enum import Enum

from imgmig_dagster.errors import SettingsError


class Stage(str, Enum):
    """A stage of the platform."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"

    @property
    def env_file(self) -> str:
        """The file, in the current directory, that may hold this stage's variables."""
        return f".env.{self.value}"


class WriteMode(str, Enum):
    """How items are written that may already exist in the target."""

    CONDITIONAL = "conditional"
    """Inserts an item only where none exists: safe while the application writes to both sides."""
    BATCH = "batch"
    """Writes with BatchWriteItem, without a condition, after a read found no item. An item that another writer puts
    between read and write is replaced as a whole. Only for a target without other writers."""


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
