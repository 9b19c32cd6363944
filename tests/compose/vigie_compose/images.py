"""What is known of the images of others, from their Dockerfiles and manuals, as far as docker-compose.yml leans on it.

A new image, or a new version of one, is looked up and written down here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """One image by its name without the tag."""

    programs: frozenset[str]
    """What commands and health checks may start, by the name they use."""
    ports: frozenset[int]
    """What it listens on, as it is configured here."""
    owner: str
    """User and group that its data folders belong to, and that a new volume therefore belongs to."""
    data: frozenset[str] = frozenset()
    """Folders that belong to the owner."""
    volumes: frozenset[str] = frozenset()
    """Volumes that the image declares: each start makes an anonymous one where nothing is mounted."""


def _image(programs: str, ports: set[int], owner: str, data: str = "", volumes: str = "") -> Image:
    return Image(
        frozenset(programs.split()), frozenset(ports), owner, frozenset(data.split()), frozenset(volumes.split())
    )


BUSYBOX = "wget sh"
KNOWN = {
    "apache/kafka": _image(
        "bash sh env /opt/kafka/bin/kafka-broker-api-versions.sh /opt/kafka/bin/kafka-topics.sh "
        "/opt/kafka/bin/kafka-storage.sh /opt/kafka/bin/kafka-server-start.sh",
        {9092},
        "1000:1000",
        "/var/lib/kafka/data",
        "/etc/kafka/secrets /mnt/shared/config /var/lib/kafka/data",
    ),
    "postgres": _image(
        "bash sh postgres pg_isready psql docker-entrypoint.sh install",
        {5432},
        "999:999",
        "/var/lib/postgresql/data",
        "/var/lib/postgresql/data",
    ),
    "axllent/mailpit": _image("/mailpit", {1025, 8025}, "0:0"),
    "prom/prometheus": _image(BUSYBOX, {9090}, "65534:65534", "/prometheus", "/prometheus"),
    "prom/alertmanager": _image(BUSYBOX, {9093}, "65534:65534", "/alertmanager", "/alertmanager"),
    "grafana/grafana": _image(BUSYBOX, {3000}, "472:0", "/var/lib/grafana"),
    "quay.io/prometheuscommunity/postgres-exporter": _image(BUSYBOX, {9187}, "65534:65534"),
    "danielqsj/kafka-exporter": _image(BUSYBOX, {9308}, "65534:65534"),
    "gcr.io/cadvisor/cadvisor": _image(BUSYBOX, {8080}, "0:0"),
}
OURS = "vigie"


def name_of(image: str) -> str:
    """The image's name without its tag."""
    head, _, last = image.rpartition("/")
    return f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]


def tag_of(image: str) -> str:
    """The image's tag; empty where none is given."""
    return image.rpartition("/")[2].partition(":")[2]
