"""What transform and compare of a row of `images` cost, compared with an earlier commit: ``python -m benchmarks.mapping
REV``.

Both trees are measured in turn, each in a process of its own, by the CPU that it takes. `docs/benchmarks.md` has the
results.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.before import versions

_TURNS: Final = 5
# Runs in either tree, of which the earlier may have the mapping of images in a module of its own.
_MEASURE: Final = """
import gc, json, time
try:
    from imgmig_dagster.mapping.declaration import PACKAGED, load
    IMAGE = load(PACKAGED / "images.yaml").mapping
except ImportError:
    from imgmig_dagster.mapping.image import IMAGE
try:
    from imgmig_dagster.mapping.rows import Row
except ImportError:
    from imgmig_dagster.mapping.spec import Row
from imgmig_dagster.mapping.compare import comparer
from imgmig_dagster.mapping.transform import transformer
# The columns of images: id, user_id, created_at, updated_at, original_filename, s3_key, s3_bucket, thumbnail_s3_key,
# mime_type, size_bytes, width, height.
FULL_ROW = Row((
    "7f3d9a52-1c0b-4f4e-9c39-0f6b4ce2a9d1", "0b6a2f6e-5a0c-4b7e-9a59-8f1d5a2f7c11", 1_709_209_696_123_456,
    1_714_979_289_123_456, "IMG_1234.jpg", "uploads/2024/02/IMG_1234.jpg", "images-prod", "thumbs/IMG_1234.webp",
    "image/jpeg", 4_194_304, 4032, 3024,
))
ROWS = 200_000
transform, compare = transformer(IMAGE), comparer(IMAGE)
item = transform(FULL_ROW)
works = {
    "transform": lambda: transform(FULL_ROW),
    "compare": lambda: compare(FULL_ROW, item),
    "key of an id": lambda: IMAGE.key(FULL_ROW.id),
    "id of a key": lambda: IMAGE.row_id(item),
}
assert IMAGE.row_id(item) == FULL_ROW.id and compare(FULL_ROW, item).equal
gc.disable()
found = {}
for name, work in works.items():
    began = time.process_time()
    for _row in range(ROWS):
        work()
    found[name] = 1e6 * (time.process_time() - began) / ROWS
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapping", description=__doc__)
    parser.add_argument("revision", help="the commit to compare this tree with")
    revision = parser.parse_args().revision
    with tempfile.TemporaryDirectory(prefix="imgmig-before-") as folder:
        current, before = versions(revision, Path(folder))
        turns = [(_measured(before.code), _measured(current.code)) for _turn in range(_TURNS)]
    sys.stdout.write(f"µs of CPU a row, medians of {_TURNS} turns: before, current, current in before's\n")
    for name in turns[0][0]:
        then, now = (statistics.median(turn[which][name] for turn in turns) for which in (0, 1))
        ratio = statistics.median(turn[1][name] / turn[0][name] for turn in turns)
        sys.stdout.write(f"| {name} | {then:.2f} | {now:.2f} | {ratio:.2f} |\n")


def _measured(tree: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE], cwd=tree, env=environment, check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
