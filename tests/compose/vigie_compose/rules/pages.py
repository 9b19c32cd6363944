"""What Prometheus, Alertmanager and Grafana are told about the others."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vigie_compose.compose_file import Service, read
from vigie_compose.project import Project
from vigie_compose.rules.inputs import wrong_address

SCRAPED = {"vigie", "postgres-exporter", "kafka-exporter", "cadvisor"}


def prometheus(project: Project) -> Iterator[str]:
    """Every target is a service and its port; rules and credentials are mounted."""
    service = project.compose.services["prometheus"]
    settings, folder = _settings(project, service)
    if settings is None:
        yield "prometheus: its settings are not mounted"
        return
    targets = set(_targets(settings))
    for target in targets:
        host, _, port = target.partition(":")
        if host not in ("localhost", "127.0.0.1"):
            yield from (f"prometheus.yml: {target}: {problem}" for problem in wrong_address(project, host, int(port)))
    for name in SCRAPED - {target.partition(":")[0] for target in targets}:
        yield f"prometheus.yml: nobody asks {name}"
    for pattern in settings.get("rule_files", []):
        path = project.on_disk(service, str(PurePosixPath(folder) / pattern))
        if path is None or not list(path.parent.glob(path.name)):
            yield f"prometheus.yml: the rules {pattern} are not mounted"


def _settings(project: Project, service: Service) -> tuple[dict[str, Any] | None, str]:
    place = next((word.partition("=")[2] for word in service.command if word.startswith("--config.file=")), "")
    path = project.on_disk(service, place)
    return (read(path) if path and path.is_file() else None), str(PurePosixPath(place).parent)


def _targets(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "targets" and isinstance(value, list):
                yield from map(str, value)
            else:
                yield from _targets(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _targets(value)


def alertmanager(project: Project) -> Iterator[str]:
    """Mail goes to a service that takes it."""
    settings, _ = _settings(project, project.compose.services["alertmanager"])
    if settings is None:
        yield "alertmanager: its settings are not mounted"
        return
    for address in set(_values(settings, {"smtp_smarthost", "smarthost"})):
        host, _, port = address.partition(":")
        problems = wrong_address(project, host, int(port))
        yield from (f"alertmanager.yml: {address}: {problem}" for problem in problems)


def _values(tree: object, keys: set[str]) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in keys:
                yield str(value)
            yield from _values(value, keys)
    elif isinstance(tree, list):
        for value in tree:
            yield from _values(value, keys)


def grafana(project: Project) -> Iterator[str]:
    """Data sources are services; dashboards are where Grafana looks for them."""
    service = project.compose.services["grafana"]
    sources = _provisioned(project, service, "datasources")
    dashboards = _provisioned(project, service, "dashboards")
    if not sources:
        yield "grafana: no data sources are mounted"
    if not dashboards:
        yield "grafana: no dashboards are mounted"
    for file in sources:
        yield from _database_sources(file)
        for url in _values(read(file), {"url"}):
            host, _, port = re.sub(r"^https?://", "", url).rstrip("/").partition(":")
            problems = wrong_address(project, host, int(port or 80))
            yield from (f"{file.name}: {url}: {problem}" for problem in problems)
    for file in dashboards:
        for path in _values(read(file), {"path"}):
            found = project.on_disk(service, path)
            if found is None or not list(found.rglob("*.json")):
                yield f"{file.name}: no dashboards are mounted at {path}"


def _database_sources(file: Path) -> Iterator[str]:
    """PostgreSQL takes nobody without encryption, and a password stands in no file of the tree."""
    for source in read(file).get("datasources", []):
        if "postgres" not in source["type"]:
            continue
        mode, password = source.get("jsonData", {}).get("sslmode"), source.get("secureJsonData", {}).get("password", "")
        if mode != "verify-full":
            yield f"{file.name}: {source['name']} has sslmode {mode!r}"
        if not password.startswith("$__file{/run/secrets/"):
            yield f"{file.name}: the password of {source['name']} is no secret's file"


def _provisioned(project: Project, service: Service, kind: str) -> list[Path]:
    folder = project.on_disk(service, f"/etc/grafana/provisioning/{kind}")
    return sorted(folder.glob("*.y*ml")) if folder else []


RULES = (prometheus, alertmanager, grafana)
