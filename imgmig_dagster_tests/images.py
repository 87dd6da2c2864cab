"""The mapping of `images`, as the package's declaration has it."""

from typing import Final

from imgmig_dagster.mapping.declaration import PACKAGED, load

DECLARATION: Final = PACKAGED / "images.yaml"
IMAGE: Final = load(DECLARATION).mapping
assert IMAGE.pictures is not None
PICTURE: Final = IMAGE.pictures
