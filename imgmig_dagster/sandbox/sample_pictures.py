"""The S3 objects that the sandbox's rows name: real small pictures, made when they are read.

A seed writes their list to a file, which moto's process reads within about a second; 27,000 uploads over HTTP would
take a minute. Every picture shows the beginning of its row's id, so that a person sees a wrong one at once.
"""

import colorsys
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from imgmig_dagster.sandbox.seed import ImageRow

# moto takes 4 KB of memory for an object that it only knows by name.
ROWS_WITH_PICTURES: Final = 50_000

_FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF"}
_THUMBNAIL_TYPE: Final = "image/webp"


@dataclass(frozen=True)
class PictureObject:
    """An object as its row declares it. `size` is in bytes, None for the picture's own; `label` is shown in it."""

    bucket: str
    key: str
    type: str
    size: int | None
    label: str

    def body(self) -> bytes:
        """The picture, filled up or cut to the declared size; only filling for types that cannot be drawn here.

        Decoders stop at the end of the picture and never see the filling.
        """
        scale = 1 if self.size is None else 2
        if self.type == "image/svg+xml":
            return _sized(_svg(self.label), self.size, b" ")
        drawn = _draw(self.label, _FORMATS[self.type], scale) if self.type in _FORMATS else b""
        return _sized(drawn, self.size, b"\0")


def recorded(rows: Iterable[ImageRow], file: IO[str]) -> Iterator[ImageRow]:
    """The rows as they are; the objects of the first `ROWS_WITH_PICTURES` are written to the file on their way past."""
    for number, row in enumerate(rows):
        if number < ROWS_WITH_PICTURES:
            file.writelines(json.dumps(asdict(found)) + "\n" for found in _objects(row))
        yield row


def read_objects(path: Path) -> Iterator[PictureObject]:
    """The objects that `recorded` wrote; none where there is no file."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield PictureObject(**json.loads(line))


def _objects(row: ImageRow) -> Iterator[PictureObject]:
    label = str(row.id)[:8]
    yield PictureObject(row.s3_bucket, row.s3_key, row.mime_type, row.size_bytes, label)
    if row.thumbnail_s3_key is not None:
        yield PictureObject(row.s3_bucket, row.thumbnail_s3_key, _THUMBNAIL_TYPE, None, label)


def _sized(picture: bytes, size: int | None, filling: bytes) -> bytes:
    return picture if size is None else picture[:size].ljust(size, filling)


def _colours(label: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    hue = hashlib.sha256(label.encode()).digest()[0] / 256
    light, dark = (colorsys.hls_to_rgb(hue, lightness, 0.5) for lightness in (0.8, 0.3))
    return _rgb(light), _rgb(dark)


def _rgb(colour: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue


def _draw(label: str, file_format: str, scale: int) -> bytes:
    from PIL import Image, ImageDraw

    light, dark = _colours(label)
    picture = Image.new("RGB", (160, 120), light)
    pen = ImageDraw.Draw(picture)
    pen.ellipse((10, 10, 50, 50), fill=dark)
    pen.polygon(((0, 120), (60, 60), (120, 120)), fill=dark)
    pen.text((60, 20), label, fill=dark)
    buffer = io.BytesIO()
    picture.resize((160 * scale, 120 * scale)).save(buffer, file_format)
    return buffer.getvalue()


def _svg(label: str) -> bytes:
    light, dark = (f"rgb{colour}" for colour in _colours(label))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="240" viewBox="0 0 160 120">'
        f'<rect width="160" height="120" fill="{light}"/><path d="M0 120 60 60 120 120" fill="{dark}"/>'
        f'<text x="60" y="32" font-size="12" fill="{dark}">{label}</text></svg>'
    ).encode()
