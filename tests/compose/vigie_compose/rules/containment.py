"""What a service that was broken into could do."""

import re
from collections.abc import Iterator

from vigie_compose.compose_file import Service
from vigie_compose.project import Project

# Reads the engine's socket and the kernel's accounts of other containers.
ROOT_NEEDED = {"cadvisor"}
# Java runs the libraries for zstd and snappy that it unpacks there.
RUN_FROM = {("kafka", "/tmp")}  # noqa: S108 - inside the container
OPENINGS = ("privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "volumes_from")


def rights(project: Project) -> Iterator[str]:
    """No root, no capability, nothing to write to but what is named."""
    for service in project.compose.services.values():
        raw, name = service.raw, service.name
        if raw.get("read_only") is not True:
            yield f"{name}: its file system can be written to"
        if raw.get("cap_drop") != ["ALL"]:
            yield f"{name}: keeps capabilities"
        if raw.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name}: may gain privileges"
        yield from (f"{name}: {opening} is not allowed" for opening in OPENINGS if opening in raw)
        if not re.fullmatch(r"\d+:\d+", str(raw.get("user", ""))):
            yield f"{name}: runs as whom its image says, not as a user given by number"
        elif raw["user"].startswith("0:") and name not in ROOT_NEEDED:
            yield f"{name}: runs as root"


def programs_of_its_own(project: Project) -> Iterator[str]:
    """What a service writes it cannot run, but where it must."""
    for service in project.compose.services.values():
        for path, given in service.tmpfs.items():
            needed, runs = (service.name, path) in RUN_FROM, "exec" in given.split(",")
            if needed and not runs:
                yield f"{service.name}: cannot run what it unpacks in {path}: exec is missing"
            elif runs and not needed:
                yield f"{service.name}: can run what it writes to {path}"


def limits(project: Project) -> Iterator[str]:
    """No service takes the machine, or fills its disk with logs."""
    for service in project.compose.services.values():
        given = service.raw.get("deploy", {}).get("resources", {}).get("limits", {})
        for resource in ("cpus", "memory", "pids"):
            if resource not in given:
                yield f"{service.name}: no limit of {resource}"
        options = service.raw.get("logging", {}).get("options", {})
        if not {"max-size", "max-file"} <= options.keys():
            yield f"{service.name}: its log grows for ever"
        yield from (
            f"{service.name}: {path} may grow for ever" for path, given in service.tmpfs.items() if "size=" not in given
        )


def staying(project: Project) -> Iterator[str]:
    """What is to stay is started again and asked whether it is well; what is to end is neither."""
    for service in project.compose.services.values():
        restart = service.raw.get("restart")
        if restart not in ("unless-stopped", "no") and not str(restart).startswith("on-failure:"):
            yield f"{service.name}: restart is {restart!r}"
        if service.is_job:
            if service.health or service.raw.get("healthcheck", {}).get("disable") is not True:
                yield f"{service.name}: ends by itself, and is asked whether it is well"
        else:
            yield from _health(project, service)


def _health(project: Project, service: Service) -> Iterator[str]:
    image, check = project.image(service), service.raw.get("healthcheck", {})
    if not service.health:
        yield f"{service.name}: no health check"
        return
    for program in _started(service.health):
        if image and program not in image.programs:
            yield f"{service.name}: its image has no {program}, which the health check starts"
    for word in ("interval", "timeout", "retries", "start_period", "start_interval"):
        if word not in check:
            yield f"{service.name}: the health check has no {word}"
    for port in re.findall(r"127\.0\.0\.1:(\d+)", " ".join(service.health)):
        if image and int(port) not in image.ports:
            yield f"{service.name}: the health check asks port {port}, where nobody listens"


def _started(words: list[str]) -> list[str]:
    """What a command starts: its first word, and after `env` with its settings the next."""
    if words[0] != "env":
        return words[:1]
    return ["env", next(word for word in words[1:] if "=" not in word)]


def programs(project: Project) -> Iterator[str]:
    """What is started is in the image."""
    for service in project.compose.services.values():
        image = project.image(service)
        started = service.entrypoint or [word for word in service.command[:1] if not word.startswith("-")]
        if service.image.startswith("vigie:") and not service.entrypoint:
            started = []  # the image's own entrypoint, and a verb
        for program in started[:1]:
            if image and program not in image.programs:
                yield f"{service.name}: its image has no {program}"


RULES = (rights, programs_of_its_own, limits, staying, programs)
