"""The tree as it is committed, in a folder of its own that a test may break."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from vigie_compose.project import Project
from vigie_compose.rules import findings


@dataclass
class Tree:
    """A copy of what is committed."""

    root: Path

    def findings(self) -> list[str]:
        """What is broken in it."""
        return findings(Project.of_root(self.root))

    @contextmanager
    def changed(self, file: str, old: str, new: str) -> Iterator[None]:
        """With the first `old` of a file replaced, which must be there."""
        path = self.root / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"  # noqa: S101
        path.write_text(text.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(text)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The copy, a repository like the one it comes from."""
    project = Project.of_root()
    root = tmp_path_factory.mktemp("tree")
    for file in project.committed:
        if (project.root / file).is_file():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project.root / file, root / file)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return Tree(root)
