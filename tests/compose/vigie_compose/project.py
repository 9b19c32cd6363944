"""Everything that the rules look at, read once."""

import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from vigie_compose import ROOT
from vigie_compose.compose_file import Compose, Mount, Service, Tree, of_tree, read
from vigie_compose.dockerfile import Stage, parse
from vigie_compose.images import KNOWN, OURS, Image, name_of


@dataclass
class Project:
    """The compose file, the Dockerfile, and the tree they stand in."""

    compose: Compose
    dockerfile: str
    root: Path = ROOT

    @classmethod
    def of_root(cls, root: Path = ROOT, variables: Mapping[str, str] = MappingProxyType({})) -> "Project":
        """As it is committed, with no variable set unless some are given."""
        return cls(of_tree(read(root / "docker-compose.yml"), variables), (root / "Dockerfile").read_text(), root)

    @cached_property
    def stages(self) -> list[Stage]:
        """The Dockerfile's stages."""
        return parse(self.dockerfile)

    @property
    def runtime(self) -> Stage:
        """The stage that is shipped."""
        return self.stages[-1]

    @cached_property
    def defaults(self) -> Tree:
        """Vigie's settings by section."""
        return tomllib.loads((self.root / "src/config.default.toml").read_text())

    @cached_property
    def settings(self) -> set[str]:
        """Every variable that Vigie knows."""
        pairs = ((section, key) for section, keys in self.defaults.items() for key in keys)
        return {f"VIGIE_{section}__{key}".upper() for section, key in pairs}

    @cached_property
    def committed(self) -> set[str]:
        """Files that are committed, or about to be."""
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.root,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return set(listing.stdout.split("\0")) - {""}

    def is_ignored(self, path: str) -> bool:
        """Whether git leaves the path out."""
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=self.root, check=False).returncode == 0

    def image(self, service: Service) -> Image | None:
        """What is known of the service's image."""
        name = name_of(service.image)
        if name != OURS:
            return KNOWN.get(name)
        programs = {PurePosixPath(program).name for program in self.binaries}
        exposed = {int(step.rest) for step in self.runtime.steps if step.word == "EXPOSE"}
        user = self.runtime.last("USER")
        return Image(frozenset(programs), frozenset(exposed), user.rest if user else "0:0")

    @property
    def binaries(self) -> list[str]:
        """What docker/build.sh puts into the image's bin folder."""
        script = (self.root / "docker/build.sh").read_text()
        line = next(line for line in script.splitlines() if line.strip().startswith("for name in "))
        return [f"/usr/local/bin/{name}" for name in line.split(" in ")[1].rstrip("; do").split()]

    def on_disk(self, service: Service, path: str) -> Path | None:
        """The file of this tree that a container finds at `path`."""
        place = PurePosixPath(path)
        for mount in service.mounts:
            if not mount.is_named and place.is_relative_to(mount.target):
                return self.root / mount.source / place.relative_to(mount.target)
        return None

    def bound(self) -> list[tuple[Service, Mount]]:
        """Every file or folder of the machine that a container sees."""
        services = self.compose.services.values()
        return [(service, mount) for service in services for mount in service.mounts if not mount.is_named]
