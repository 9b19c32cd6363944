"""What .dockerignore leaves out."""

from fnmatch import fnmatchcase
from pathlib import PurePosixPath


class Ignored:
    """Whether a path is left out: the last pattern that fits it, or a folder above it, decides."""

    def __init__(self, text: str) -> None:
        """Reads the patterns, as far as ours go: names, `*`, `**/` at the front, `!`."""
        lines = (line.strip() for line in text.splitlines())
        self.patterns = [line for line in lines if line and not line.startswith("#")]

    def __call__(self, path: str) -> bool:
        """Looks at a path relative to the tree's root."""
        places = [path, *(str(above) for above in PurePosixPath(path).parents if str(above) != ".")]
        left_out = False
        for line in self.patterns:
            pattern = line.removeprefix("!").rstrip("/").removeprefix("**/")
            names = [PurePosixPath(place).name for place in places] if "**/" in line else places
            if any(fnmatchcase(name, pattern) for name in names):
                left_out = not line.startswith("!")
        return left_out
