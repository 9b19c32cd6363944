"""Our own image: the Dockerfile, what it copies, and that docker-compose.yml agrees with it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath

from vigie_compose.dockerignore import Ignored
from vigie_compose.images import OURS, name_of
from vigie_compose.project import Project


def toolchain(project: Project) -> Iterator[str]:
    """The image of the build stage has the compiler of rust-toolchain.toml."""
    wanted = tomllib.loads((project.root / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    build = project.stages[0]
    if build.base != f"rust:{wanted}-slim-bookworm":
        yield f"Dockerfile: the build stage is {build.base}, rust-toolchain.toml says {wanted}"
    if build.environment().get("RUSTUP_TOOLCHAIN") != wanted:
        yield f"Dockerfile: RUSTUP_TOOLCHAIN is not {wanted}"
    if project.runtime.base != "debian:bookworm-slim":
        yield f"Dockerfile: the last stage is {project.runtime.base}, not the Debian that was built on"


def copies(project: Project) -> Iterator[str]:
    """What is copied is in the tree and reaches the builder; what is secret does not."""
    ignored = Ignored((project.root / ".dockerignore").read_text())
    for stage in project.stages:
        for step in stage.steps:
            sources = step.words[:-1] if step.word == "COPY" and not step.flag("from") else []
            mounted = re.search(r"source=([^,\s]+)", step.flag("mount"))
            for source in [*sources, *([mounted[1]] if mounted else [])]:
                if not (project.root / source).exists():
                    yield f"Dockerfile: {source} is not there"
                elif source != "." and ignored(source.rstrip("/")):
                    yield f".dockerignore: leaves out {source}, which the Dockerfile takes"
    wanted = ("Cargo.lock", "src/main.rs", "producer/src/main.rs", "migrations/0001_streams.sql", "docker/build.sh")
    for path in (*wanted, "scripts/stack/downloads.sh", "scripts/requirements.txt", "models/card/model.onnx"):
        if ignored(path):
            yield f".dockerignore: leaves out {path}, which building needs"
    for path in ("secrets/token_key", ".git/config", ".stack/dev/secrets/token_key", ".env", "target/release/vigie"):
        if not ignored(path):
            yield f".dockerignore: lets {path} through"


def agreement(project: Project) -> Iterator[str]:
    """User, health check, port and programs are the same in the Dockerfile and where the image is used."""
    user, entrypoint, stop = (project.runtime.last(word) for word in ("USER", "ENTRYPOINT", "STOPSIGNAL"))
    if not user or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.rest):
        yield "Dockerfile: the image's user is not given by number, or is root"
    if not stop:
        yield "Dockerfile: no STOPSIGNAL"
    if not entrypoint or f"/usr/local/bin/{entrypoint.words[0]}" not in project.binaries:
        yield "Dockerfile: the entrypoint is not what is built"
    for service in project.compose.services.values():
        if name_of(service.image) != OURS:
            continue
        if user and service.raw.get("user") != user.rest:
            yield f"{service.name}: runs as {service.raw.get('user')}, the image is made for {user.rest}"
        if service.health and service.health != project.runtime.health():
            yield f"{service.name}: another health check than the image's"
    listen = project.compose.services["vigie"].environment["VIGIE_HTTP__LISTEN"]
    exposed = project.runtime.last("EXPOSE")
    if not exposed or not listen.endswith(f":{exposed.rest}"):
        yield f"vigie: listens on {listen}, which the image does not expose"


def library(project: Project) -> Iterator[str]:
    """The image's settings name files that its steps put there."""
    copied = {step.words[-1].rstrip("/") for step in project.runtime.steps if step.word == "COPY"}
    named = project.runtime.environment().get("VIGIE_MODEL__ONNXRUNTIME", "")
    if str(PurePosixPath(named).parent) not in copied:
        yield f"Dockerfile: nothing is copied to where {named!r} is to be"
    folder = project.runtime.last("WORKDIR")
    bundle = project.defaults["stream"]["bundle"]
    if not folder or f"{folder.rest}/{bundle}" not in copied:
        yield f"Dockerfile: the bundle {bundle} is not where a process that starts there looks for it"
    for name in project.runtime.environment():
        if name.startswith("VIGIE_") and name not in project.settings:
            yield f"Dockerfile: {name} is no setting"


RULES = (toolchain, copies, agreement, library)
