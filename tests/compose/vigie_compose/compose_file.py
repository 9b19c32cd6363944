"""A compose file as its services, with every short form written out."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from vigie_compose.interpolation import fill_in

Tree = dict[str, Any]


@dataclass(frozen=True)
class Port:
    """A port that is published: `address` is empty where every address of the machine is meant."""

    address: str
    published: str
    target: int


@dataclass(frozen=True)
class Mount:
    """A folder or file of the machine, or a named volume, inside a container."""

    source: str
    target: str
    read_only: bool

    @property
    def is_named(self) -> bool:
        """Whether the source is a volume and no path."""
        return not self.source.startswith((".", "/", "~"))


@dataclass
class Service:
    """One service; `raw` is what stands in the file."""

    name: str
    raw: Tree
    image: str = ""
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    """Source by the path it is found at."""
    mounts: list[Mount] = field(default_factory=list)
    tmpfs: dict[str, str] = field(default_factory=dict)
    """Options by path."""
    ports: list[Port] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    depends_on: dict[str, str] = field(default_factory=dict)
    """Condition by service."""
    health: list[str] = field(default_factory=list)
    """The health check's command; empty where there is none."""

    @property
    def is_job(self) -> bool:
        """Whether it is to end, and others may wait for that."""
        return bool(self.raw.get("restart") != "unless-stopped")

    @property
    def words(self) -> list[str]:
        """Everything that is run: entrypoint, command, health check."""
        return [*self.entrypoint, *self.command, *self.health]

    def holds(self, path: str) -> bool:
        """Whether a secret, a mount or a tmpfs is at this path, or above it."""
        places = [*self.secrets, *self.tmpfs, *(mount.target for mount in self.mounts)]
        return any(PurePosixPath(path).is_relative_to(place) for place in places)


@dataclass
class Compose:
    """The whole file: as it is written, with its variables filled in, and its services."""

    written: Tree
    tree: Tree
    services: dict[str, Service]

    def section(self, name: str) -> Tree:
        """A section beside the services, or an empty one."""
        return self.tree.get(name) or {}


def read(path: Path) -> Tree:
    """Reads YAML, anchors and merge keys resolved."""
    tree = YAML(typ="safe", pure=True).load(path)
    if not isinstance(tree, dict):
        raise TypeError(f"{path}: no mapping")
    return tree


def of_tree(written: Tree, variables: Mapping[str, str]) -> Compose:
    """Fills the variables in and writes the short forms out."""
    tree = fill_in(written, variables)
    assert isinstance(tree, dict)  # noqa: S101 - a mapping stays one
    return Compose(written, tree, {name: _service(name, raw) for name, raw in tree.get("services", {}).items()})


def _service(name: str, raw: Tree) -> Service:
    return Service(
        name=name,
        raw=raw,
        image=raw.get("image", ""),
        entrypoint=_words(raw.get("entrypoint")),
        command=_words(raw.get("command")),
        environment=_environment(raw.get("environment")),
        secrets=dict(map(_secret, raw.get("secrets", []))),
        mounts=[_mount(mount) for mount in raw.get("volumes", [])],
        tmpfs=dict(_tmpfs(place) for place in _list(raw.get("tmpfs"))),
        ports=[_port(port) for port in raw.get("ports", [])],
        networks=list(raw.get("networks", [])),
        depends_on=_depends_on(raw.get("depends_on", {})),
        health=_health(raw.get("healthcheck", {})),
    )


def _list(given: object) -> list[Any]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _words(given: object) -> list[str]:
    return shlex.split(given) if isinstance(given, str) else [str(word) for word in _list(given)]


def _environment(given: object) -> dict[str, str]:
    if isinstance(given, dict):
        return {name: str(value) for name, value in given.items()}
    return dict(entry.split("=", 1) for entry in _list(given))


def _secret(given: str | Tree) -> tuple[str, str]:
    if isinstance(given, str):
        return f"/run/secrets/{given}", given
    source = str(given["source"])
    return str(PurePosixPath("/run/secrets") / str(given.get("target", source))), source


def _mount(given: str | Tree) -> Mount:
    if isinstance(given, dict):
        return Mount(given.get("source", ""), given["target"], bool(given.get("read_only")))
    source, target, *options = given.split(":")
    return Mount(source, target, "ro" in ",".join(options).split(","))


def _tmpfs(given: str) -> tuple[str, str]:
    path, _, options = given.partition(":")
    return path, options


def _port(given: str | int | Tree) -> Port:
    if isinstance(given, dict):
        return Port(given.get("host_ip", ""), str(given.get("published", "")), int(given["target"]))
    match = re.fullmatch(
        r"(?:(?P<address>\d+(?:\.\d+){3}|\[[\w:]+\]):)?(?:(?P<published>\d+):)?(?P<target>\d+)", str(given)
    )
    if not match:
        raise ValueError(f"no port: {given!r}")
    return Port(match["address"] or "", match["published"] or "", int(match["target"]))


def _depends_on(given: list[str] | Tree) -> dict[str, str]:
    if isinstance(given, list):
        return dict.fromkeys(given, "service_started")
    return {name: detail.get("condition", "") for name, detail in given.items()}


def _health(given: Tree) -> list[str]:
    test = given.get("test", [])
    if given.get("disable") or test in ([], ["NONE"]):
        return []
    if isinstance(test, str):
        return ["/bin/sh", "-c", test]
    return ["/bin/sh", "-c", *test[1:]] if test[0] == "CMD-SHELL" else [str(word) for word in test[1:]]
