"""Unpacks the code of an earlier commit, to measure it side by side with the current code, by the same interpreter."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_GIT: Final = shutil.which("git") or "git"
CURRENT: Final = Path(__file__).resolve().parent.parent
_IMGMIG: Final = (sys.executable, "-c", "from imgmig_dagster.cli import main; main()")


@dataclass(frozen=True)
class Version:
    """A folder of code, and a sandbox that only it uses."""

    name: str
    code: Path
    sandbox: Path

    def command(self, *arguments: str) -> Sequence[str]:
        """`imgmig` with these arguments; `environment` makes it this version's."""
        return [*_IMGMIG, *arguments]

    def environment(self, **variables: str) -> Mapping[str, str]:
        """Only stage dev in the sandbox, without the user's own settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("IMGMIG_", "DAGSTER_"))}
        own = {"PYTHONPATH": str(self.code), "STAGE": "dev", "IMGMIG_SANDBOX_DIR": str(self.sandbox)}
        return {**inherited, **own, **variables}

    def imgmig(self, *arguments: str) -> None:
        """Run a command to its end."""
        folder = self.sandbox.parent
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            self.command(*arguments), env=self.environment(), cwd=folder, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: imgmig {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")


def versions(before: str | None, folder: Path) -> list[Version]:
    """The current code, and that of the commit `before`, if any, unpacked in the folder."""
    found = [Version("current", CURRENT, folder / "current" / "sandbox")]
    if before is not None:
        code = folder / "before" / "code"
        code.mkdir(parents=True)
        packed = subprocess.run(
            [_GIT, "archive", before, "imgmig_dagster"], cwd=CURRENT, check=True, capture_output=True
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(code, filter="data")
        found.append(Version(before, code, folder / "before" / "sandbox"))
    return found
