"""What services are told: settings, secrets, files of settings."""

import re
from collections.abc import Iterator

from vigie_compose.images import OURS, name_of
from vigie_compose.interpolation import names
from vigie_compose.project import Project

SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL")
SECRETS = "/run/secrets/"
MADE_BY = "scripts/make_secrets.sh"
# Read by scripts that the services start, not by Vigie.
OTHER_VARIABLES = {"VIGIE_ROLE_SECRETS"}


def settings(project: Project) -> Iterator[str]:
    """Every VIGIE_ variable is a setting, and every address one that a service listens on."""
    for service in project.compose.services.values():
        for name, value in service.environment.items():
            if name.startswith("VIGIE_") and name not in project.settings | OTHER_VARIABLES:
                yield f"{service.name}: {name} is no setting"
            yield from _addresses(project, service.name, f"{name}={value}", value)
        for word in service.words:
            yield from _addresses(project, service.name, word, word)
    for service in project.compose.services.values():
        host, port = service.environment.get("VIGIE_MAIL__HOST"), service.environment.get("VIGIE_MAIL__PORT", "25")
        if host:
            yield from _addresses(project, service.name, "VIGIE_MAIL__HOST", f"{host}:{port}")
        host = service.environment.get("VIGIE_DATABASE__HOST")
        if host:
            yield from _addresses(project, service.name, "VIGIE_DATABASE__HOST", f"{host}:5432")


def told_of_kafka(project: Project) -> Iterator[str]:
    """Who is made from our image is told where Kafka is; making the schema alone needs none."""
    for service in project.compose.services.values():
        needs_it = name_of(service.image) == OURS and service.command[:1] != ["migrate"]
        if needs_it and "VIGIE_KAFKA__BROKERS" not in service.environment:
            yield f"{service.name}: is not told where Kafka is"


def _addresses(project: Project, service: str, place: str, text: str) -> Iterator[str]:
    for host, port in re.findall(r"(?:^|[/=,@\s])([a-z][a-z0-9-]*):(\d{2,5})(?!\d)", text):
        yield from (f"{service}: {place}: {problem}" for problem in wrong_address(project, host, int(port)))


def wrong_address(project: Project, host: str, port: int) -> Iterator[str]:
    """Why `host:port` reaches nobody."""
    other = project.compose.services.get(host)
    if other is None:
        yield f"no service {host}"
        return
    image = project.image(other)
    if image and port not in image.ports:
        yield f"{host} does not listen on {port}"


def variables(project: Project) -> Iterator[str]:
    """Each variable of the file has a default, and is explained at its top."""
    text = (project.root / "docker-compose.yml").read_text()
    head = text[: text.index("\nname:")]
    for name in names(project.compose.written):
        if name not in head:
            yield f"the variable {name} is not explained at the top of docker-compose.yml"
        if not name.startswith("VIGIE_"):
            yield f"the variable {name} may mean something else to others"


def secrets(project: Project) -> Iterator[str]:
    """Each secret is a file that the script makes and git does not see; who names one has it."""
    declared, used = project.compose.section("secrets"), set()
    made = (project.root / MADE_BY).read_text()
    for name, detail in declared.items():
        if detail.get("file") != f"./secrets/{name}":
            yield f"the secret {name} is no file in ./secrets"
        if not re.search(rf"\b{re.escape(name)}\b", made):
            yield f"the secret {name} is not made by {MADE_BY}"
    if not project.is_ignored("secrets/token_key"):
        yield "git would take the files in secrets/"
    for service in project.compose.services.values():
        for source in service.secrets.values():
            used.add(source)
            if source not in declared:
                yield f"{service.name}: no secret {source}"
        said = " ".join([*service.environment.values(), *service.words, *_files(project, service.name)])
        for path in re.findall(rf"{SECRETS}[\w.-]*\w", said):
            if path not in service.secrets:
                yield f"{service.name}: names {path}, which it is not given"
        for path, source in service.secrets.items():
            folder_named = SECRETS.rstrip("/") in service.environment.values()
            if path not in said and not folder_named:
                yield f"{service.name}: is given {source} and does not name it"
    yield from (f"the secret {name} is nobody's" for name in declared.keys() - used)


def _files(project: Project, name: str) -> Iterator[str]:
    """What stands in the settings that a service finds mounted."""
    for mount in project.compose.services[name].mounts:
        path = project.root / mount.source
        if mount.is_named or mount.source.startswith("/"):
            continue
        for file in [path] if path.is_file() else path.rglob("*.y*ml"):
            # Without what is only said: a comment shows what others may want.
            yield re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.MULTILINE)


def nothing_in_clear(project: Project) -> Iterator[str]:
    """No password stands in a variable: those who look at a container would see it."""
    for service in project.compose.services.values():
        for name, value in service.environment.items():
            is_path = name.endswith(("_FILE", "ROOTCERT", "ROLE_SECRETS")) and value.startswith("/run/secrets")
            if SECRET_NAME.search(name) and value and not is_path:
                yield f"{service.name}: {name} may hold a secret in clear"


def files(project: Project) -> Iterator[str]:
    """A file that a command names is mounted where it says."""
    for service in project.compose.services.values():
        said = " ".join([*service.environment.values(), *service.words])
        for path in re.findall(r"(?<![\w:])/etc/[\w./-]*\w", said):
            found = project.on_disk(service, path)
            if found is None or not found.exists():
                yield f"{service.name}: names {path}, where nothing is mounted"


def broker(project: Project) -> Iterator[str]:
    """Clients are sent to the address they know the broker by, and the topic is the one that is read."""
    properties = (project.root / "docker/kafka/server.properties").read_text()
    for service in project.compose.services.values():
        address = service.environment.get("VIGIE_KAFKA__BROKERS")
        if address and f"advertised.listeners=PLAINTEXT://{address}," not in properties:
            yield f"{service.name}: {address} is not what the broker calls itself"
    topic = project.defaults["stream"]["topic"]
    if f"--topic={topic}" not in project.compose.services["topics"].command:
        yield f"topics: makes another topic than {topic}"


RULES = (settings, told_of_kafka, variables, secrets, nothing_in_clear, files, broker)
