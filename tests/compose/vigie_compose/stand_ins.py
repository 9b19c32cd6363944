"""The software of this machine in the place of images that cannot be fetched.

The development stack's Kafka, PostgreSQL, Prometheus and Alertmanager, behind the commands that the images have.
"""

import shutil
from pathlib import Path

from vigie_compose.container import Image
from vigie_compose.shell import Failed

PEOPLE = "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/:/bin/sh\nappuser:x:1000:1000::/:/bin/sh\n"
KAFKA = {
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-server-start.sh": "kafka.Kafka",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-broker-api-versions.sh": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
}
# Both start one class with the broker's jars, and take heap and log settings from the same variables.
KAFKA_SCRIPT = """#!/bin/bash
exec java ${{KAFKA_HEAP_OPTS:-}} ${{KAFKA_GC_LOG_OPTS:-}} ${{KAFKA_LOG4J_OPTS:-}} -cp "/opt/kafka/libs/*" {program} "$@"
"""
# What the image's script does with these variables at the first start, as far as it matters here.
POSTGRES_SCRIPT = """#!/bin/bash
set -euo pipefail
export PGDATA=/var/lib/postgresql/data
chmod 700 "$PGDATA"
if [[ ! -s $PGDATA/PG_VERSION ]]; then
  eval "initdb --username=$POSTGRES_USER --pwfile=$POSTGRES_PASSWORD_FILE $POSTGRES_INITDB_ARGS"
fi
exec "$@"
"""


def kafka(folder: Path, cache: Path) -> Image:
    """Like apache/kafka, with the newest broker that scripts/stack.sh downloaded."""
    scripts = folder / "opt/kafka/bin"
    scripts.mkdir(parents=True)
    for name, program in KAFKA.items():
        _write(scripts / name, KAFKA_SCRIPT.format(program=program))
    shutil.copytree(max(cache.glob("kafka-*")), folder / "opt/kafka/libs")
    return _image(folder, _program("java", []).parent)


def postgres(folder: Path) -> Image:
    """Like postgres, with the newest server of this machine."""
    (folder / "usr/local/bin").mkdir(parents=True)
    _write(folder / "usr/local/bin/docker-entrypoint.sh", POSTGRES_SCRIPT)
    packages = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return _image(folder, _program("initdb", packages).parent)


def monitor(folder: Path, cache: Path, name: str) -> Image:
    """Like prom/prometheus or prom/alertmanager, with what scripts/stack.sh downloaded or found."""
    tools, target = cache / "prometheus", Path("/opt") / name
    program = (tools / name).resolve()
    if (tools / "packages").is_dir():
        shutil.copytree(tools / "packages", folder / target.relative_to("/"), symlinks=True)
        place = target / program.relative_to((tools / "packages").resolve())
    else:
        (folder / "opt").mkdir(parents=True)
        shutil.copy(program, folder / target.relative_to("/"))
        place = target
    image = _image(folder, Path("/usr/bin"))
    image.entrypoint = [str(place)]
    return image


def _program(name: str, places: list[Path]) -> Path:
    found = shutil.which(name)
    if not found and not places:
        raise Failed(f"{name} is missing: scripts/install.sh installs it or says how")
    return places[-1] if places else Path(str(found))


def _image(folder: Path, programs: Path) -> Image:
    (folder / "etc").mkdir()
    (folder / "etc/passwd").write_text(PEOPLE)
    return Image([folder, Path("/")], {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"})


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
