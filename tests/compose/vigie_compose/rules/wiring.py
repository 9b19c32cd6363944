"""How services are joined: the specification, images, networks, ports, the order of the start, volumes."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files

from jsonschema import Draft202012Validator

from vigie_compose.images import OURS, name_of, tag_of
from vigie_compose.project import Project

INNER, OUTER = "inside", "outside"
PUBLISHED = {"grafana": 3000, "mail": 8025, "prometheus": 9090}
# Of the machine itself, for the figures of containers.
SYSTEM_PATHS = {"/sys", "/var/run/docker.sock", "/var/lib/docker", "/run/containerd"}


def specification(project: Project) -> Iterator[str]:
    """The file is what the compose specification's schema allows."""
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    for error in Draft202012Validator(schema).iter_errors(project.compose.tree):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"


def images(project: Project) -> Iterator[str]:
    """Every image is known, and of one version."""
    for service in project.compose.services.values():
        name, tag = name_of(service.image), tag_of(service.image)
        if project.image(service) is None:
            yield f"{service.name}: nothing is known of the image {name}; see images.py"
        if name == OURS:
            if service.raw.get("pull_policy") != "never":
                yield f"{service.name}: {service.image} is in no registry, and is asked for there"
        elif "latest" in tag or not re.search(r"\d+\.\d+", tag):
            yield f"{service.name}: the image {service.image!r} is not pinned to a version"


def builders(project: Project) -> Iterator[str]:
    """Our image is built once, before whoever else is made from it; two that build one tag get in each other's way."""
    services = project.compose.services
    builds = [name for name, service in services.items() if "build" in service.raw]
    for image in {service.image for service in services.values() if name_of(service.image) == OURS}:
        of_image = [name for name, service in services.items() if service.image == image]
        built_by = [name for name in of_image if name in builds]
        if len(built_by) != 1:
            yield f"{image} is built by {len(built_by)} services: {', '.join(built_by) or 'none'}"
            continue
        for name in of_image:
            if name != built_by[0] and built_by[0] not in _waited_for(project, name):
                yield f"{name}: does not wait for {built_by[0]}, which builds its image"
    yield from (f"{name}: builds what is not ours" for name in builds if name_of(services[name].image) != OURS)


def networks(project: Project) -> Iterator[str]:
    """One network without a way out, for all; another for the pages that are published."""
    declared = project.compose.section("networks")
    if not (declared.get(INNER) or {}).get("internal"):
        yield f"the network {INNER} has a way out: internal is missing"
    for service in project.compose.services.values():
        for network in service.networks:
            if network not in declared:
                yield f"{service.name}: no network {network}"
        if INNER not in service.networks:
            yield f"{service.name}: not on the network {INNER}"
        if (OUTER in service.networks) != bool(service.ports):
            yield f"{service.name}: {OUTER} is for those who publish a page, and for nobody else"


def ports(project: Project) -> Iterator[str]:
    """What is published: the pages, on the loopback, each once."""
    taken: Counter[str] = Counter()
    for service in project.compose.services.values():
        image = project.image(service)
        for port in service.ports:
            taken[port.published] += 1
            if port.address != "127.0.0.1":
                yield f"{service.name}: port {port.target} is published on {port.address or 'every address'}"
            if not port.published:
                yield f"{service.name}: port {port.target} is published anywhere"
            if PUBLISHED.get(service.name) != port.target:
                yield f"{service.name}: port {port.target} is not to be published"
            if image and port.target not in image.ports:
                yield f"{service.name}: nobody listens on port {port.target}"
    for name in PUBLISHED.keys() - {name for name, service in project.compose.services.items() if service.ports}:
        yield f"{name}: its page is not published"
    yield from (f"port {port} is published {times} times" for port, times in taken.items() if times > 1)


def order(project: Project) -> Iterator[str]:
    """Who waits for whom, and for what."""
    services = project.compose.services
    for service in services.values():
        for name, condition in service.depends_on.items():
            other = services.get(name)
            if other is None:
                yield f"{service.name}: waits for {name}, which is no service"
            elif condition == "service_healthy":
                if not other.health:
                    yield f"{service.name}: waits for the health of {name}, which has no health check"
            elif condition == "service_completed_successfully":
                if other.raw.get("restart") != "no":
                    yield f"{service.name}: waits for the end of {name}, which does not end"
            else:
                yield f"{service.name}: waits for {name} to be {condition or 'there'}, which says nothing"
    yield from _circles(project)


def _circles(project: Project) -> Iterator[str]:
    waiting = {name: set(service.depends_on) for name, service in project.compose.services.items()}
    while free := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in free:
            del waiting[name]
    if waiting:
        yield f"these wait for each other: {', '.join(sorted(waiting))}"


def needs(project: Project) -> Iterator[str]:
    """Who speaks to another service waits for it, itself or through others."""
    services = project.compose.services
    for service in services.values():
        spoken_to = {name for name in services if _speaks_to(" ".join(service.environment.values()), name)}
        spoken_to |= {name for name in services if _speaks_to(" ".join(service.words), name)}
        for name in spoken_to - _waited_for(project, service.name) - {service.name}:
            yield f"{service.name}: speaks to {name} and does not wait for it"


def _speaks_to(text: str, name: str) -> bool:
    return re.search(rf"(?:^|[\s=/,@]){re.escape(name)}(?::\d+|$|\s)", text) is not None and name != "mail"


def _waited_for(project: Project, name: str) -> set[str]:
    services, open_ones = project.compose.services, [name]
    found: set[str] = set()
    while open_ones:
        service = services.get(open_ones.pop())
        new = set(service.depends_on) - found if service else set()
        found |= new
        open_ones += new
    return found


def volumes(project: Project) -> Iterator[str]:
    """Named volumes are declared, used and writable; what comes from the tree is there and is not written to."""
    declared, used = project.compose.section("volumes"), set()
    for service in project.compose.services.values():
        image = project.image(service)
        for mount in service.mounts:
            if mount.is_named:
                used.add(mount.source)
                if mount.source not in declared:
                    yield f"{service.name}: no volume {mount.source}"
                if image and mount.target not in image.data:
                    yield f"{service.name}: a new volume at {mount.target} belongs to root"
                if image and mount.target in image.data and service.raw.get("user") != image.owner:
                    yield f"{service.name}: the data of {mount.source} belong to {image.owner}"
        for path in image.volumes if image else ():
            if not service.holds(path):
                yield f"{service.name}: its image declares a volume at {path}, where nothing is mounted"
    yield from (f"the volume {name} is nobody's" for name in declared.keys() - used)


def mounts(project: Project) -> Iterator[str]:
    """What is mounted from the tree is committed, and stays as it is."""
    for service, mount in project.bound():
        if not mount.read_only:
            yield f"{service.name}: {mount.source} is mounted to be written to"
        if mount.source in SYSTEM_PATHS:
            continue
        path = mount.source.removeprefix("./")
        if not any(file == path or file.startswith(f"{path}/") for file in project.committed):
            yield f"{service.name}: mounts {mount.source}, which is not there"


RULES = (specification, images, builders, networks, ports, order, needs, volumes, mounts)
