"""The committed files keep to the rules, and each rule finds what breaks it."""

import pytest

from conftest import Tree
from vigie_compose.rules import ALL

COMPOSE = "docker-compose.yml"
SOURCES, DASHBOARDS = "grafana/provisioning/datasources/vigie.yml", "grafana/provisioning/dashboards/vigie.yml"
# File, what stands there, what is put there instead, and the finding that must follow.
PLANTED = [
    # wiring
    (COMPOSE, "restart: unless-stopped", "restart: 5", "services.kafka.restart: 5 is not of type"),
    (COMPOSE, "    image: apache/kafka:4.1.1", "    imagine: apache/kafka:4.1.1", "services.kafka: Unevaluated"),
    (COMPOSE, "prom/prometheus:v3.8.1", "prom/prometheus", "prometheus: the image 'prom/prometheus' is not pinned"),
    (COMPOSE, "grafana/grafana:12.3.1", "grafana/grafana:latest", "grafana: the image 'grafana/grafana:latest' is not"),
    (COMPOSE, "danielqsj/kafka-exporter", "danielqs/kafka-exporter", "nothing is known of the image danielqs/kafka"),
    (COMPOSE, "    build: { context: . }\n", "", "vigie:local is built by 0 services: none"),
    (
        COMPOSE,
        "  image: vigie:local\n",
        "  image: vigie:local\n  build: { context: . }\n",
        "vigie:local is built by 4 services: migrate, vigie, producer, desk",
    ),
    (
        COMPOSE,
        "      migrate: { condition: service_completed_successfully }\n      mail:",
        "      mail:",
        "vigie: does not wait for migrate, which builds its image",
    ),
    (COMPOSE, "  pull_policy: never\n", "", "producer: vigie:local is in no registry, and is asked for there"),
    (
        COMPOSE,
        "    image: axllent/mailpit:v1.28.0\n",
        "    image: axllent/mailpit:v1.28.0\n    build: { context: . }\n",
        "mail: builds what is not ours",
    ),
    (COMPOSE, "internal: true", "internal: false", "the network inside has a way out"),
    (COMPOSE, "  outside: {}\n", "", "grafana: no network outside"),
    (
        COMPOSE,
        '"127.0.0.1:${VIGIE_GRAFANA_PORT:-3000}:3000"',
        '"3000:3000"',
        "grafana: port 3000 is published on every",
    ),
    (COMPOSE, '"127.0.0.1:${VIGIE_MAIL_PORT:-8025}:8025"', '"127.0.0.1:1025:1025"', "mail: port 1025 is not to be"),
    (COMPOSE, "VIGIE_MAIL_PORT:-8025", "VIGIE_MAIL_PORT:-3000", "port 3000 is published 2 times"),
    (COMPOSE, "{ condition: service_healthy }", "{ condition: service_started }", "to be service_started, which says"),
    (COMPOSE, "kafka: { condition", "kaffka: { condition", "topics: waits for kaffka, which is no service"),
    (
        COMPOSE,
        "roles: { condition: service_completed_successfully }",
        "kafka: { condition: service_healthy }",
        "migrate: speaks to postgres and does not wait for it",
    ),
    (
        COMPOSE,
        "topics: { condition: service_completed_successfully }",
        "producer: { condition: service_completed_successfully }",
        "these wait for each other: ",
    ),
    (
        COMPOSE,
        "alertmanager: { condition: service_healthy }",
        "roles: { condition: service_healthy }",
        "prometheus: waits for the health of roles, which has no health check",
    ),
    (COMPOSE, "kafka-data:/var/lib/kafka/data", "kafka-data:/data", "kafka: a new volume at /data belongs to root"),
    (COMPOSE, "  grafana-data: {}\n", "", "grafana: no volume grafana-data"),
    (COMPOSE, "volumes:\n  kafka-data: {}", "volumes:\n  spare: {}\n  kafka-data: {}", "the volume spare is nobody's"),
    (COMPOSE, 'user: "472:0"', 'user: "473:0"', "grafana: the data of grafana-data belong to 472:0"),
    (COMPOSE, "      - /mnt/shared/config:size=1m\n", "", "kafka: its image declares a volume at /mnt/shared/config"),
    (COMPOSE, "start.sh:/etc/vigie/start.sh:ro", "stop.sh:/etc/vigie/start.sh:ro", "mounts ./docker/kafka/stop.sh, wh"),
    (COMPOSE, "pg_hba.conf:ro", "pg_hba.conf", "postgres: ./docker/postgres/pg_hba.conf is mounted to be written to"),
    # containment
    (COMPOSE, "read_only: true", "read_only: false", "cadvisor: its file system can be written to"),
    (COMPOSE, "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "vigie: keeps capabilities"),
    (COMPOSE, '["no-new-privileges:true"]', "[]", "postgres: may gain privileges"),
    (COMPOSE, 'user: "0:0"', 'user: "0:0"\n    privileged: true', "cadvisor: privileged is not allowed"),
    (COMPOSE, 'user: "999:999"', 'user: "postgres"', "postgres: runs as whom its image says"),
    (COMPOSE, '  user: "10001:10001"', '  user: "0:0"', "vigie: runs as root"),
    (COMPOSE, "memory: 2G, ", "", "postgres: no limit of memory"),
    (COMPOSE, "max-size: 10m, ", "", "mail: its log grows for ever"),
    (COMPOSE, "mode=1777,size=256m", "mode=1777", "mail: /tmp may grow for ever"),
    (COMPOSE, "mode=1777,size=256m", "exec,mode=1777,size=256m", "mail: can run what it writes to /tmp"),
    (COMPOSE, "/tmp:exec,", "/tmp:", "kafka: cannot run what it unpacks in /tmp: exec is missing"),
    (COMPOSE, "on-failure:5", "always", "producer: restart is 'always'"),
    (COMPOSE, 'test: ["CMD", "/mailpit", "readyz"]', "disable: true", "mail: no health check"),
    (COMPOSE, '"CMD", "/mailpit"', '"CMD", "curl"', "mail: its image has no curl, which the health check starts"),
    (COMPOSE, '"CMD", "vigie", "check"', '"CMD", "wget", "check"', "vigie: its image has no wget"),
    (COMPOSE, "start_interval: 3s", "", "kafka: the health check has no start_interval"),
    (COMPOSE, "127.0.0.1:9093/-/healthy", "127.0.0.1:9094/-/healthy", "alertmanager: the health check asks port 9094"),
    (COMPOSE, "entrypoint: [vigie-producer]", "entrypoint: [vigie-sender]", "producer: its image has no vigie-sender"),
    # inputs
    (
        COMPOSE,
        "VIGIE_KAFKA__BROKERS: kafka:9092",
        "VIGIE_KAFKA__BROKER: kafka:9092",
        "vigie: VIGIE_KAFKA__BROKER is",
    ),
    (
        COMPOSE,
        "      # How many payments wait is known to the broker alone.\n      VIGIE_KAFKA__BROKERS: kafka:9092\n",
        "",
        "desk: is not told where Kafka is",
    ),
    (COMPOSE, "--bootstrap-server=kafka:9092", "--bootstrap-server=kafka:9192", "kafka does not listen on 9192"),
    (COMPOSE, "VIGIE_MAIL__HOST: mail", "VIGIE_MAIL__HOST: mails", "vigie: VIGIE_MAIL__HOST: no service mails"),
    (
        COMPOSE,
        'VIGIE_MAIL__PORT: "1025"',
        'VIGIE_MAIL__PORT: "25"',
        "vigie: VIGIE_MAIL__HOST: mail does not listen",
    ),
    (
        COMPOSE,
        "VIGIE_DATABASE__HOST: postgres",
        "VIGIE_DATABASE__HOST: pg",
        "migrate: VIGIE_DATABASE__HOST: no service",
    ),
    (COMPOSE, "${VIGIE_BUSINESS_ZONE:-UTC}", "${BUSINESS_ZONE:-UTC}", "the variable BUSINESS_ZONE may mean something"),
    (COMPOSE, "#   VIGIE_PRODUCER ", "# ", "the variable VIGIE_PRODUCER is not explained"),
    (COMPOSE, "./secrets/token_key", "./secret/token_key", "the secret token_key is no file in ./secrets"),
    ("scripts/make_secrets.sh", " monitor_password", "", "the secret monitor_password is not made by"),
    (".gitignore", "/secrets/\n", "", "git would take the files in secrets/"),
    (
        COMPOSE,
        "secrets: [writer_password, token_key,",
        "secrets: [writer_password,",
        "vigie: names /run/secrets/token_key, which it is not given",
    ),
    (
        COMPOSE,
        "secrets: [writer_password, token_key,",
        "secrets: [writer_password, admin_password, token_key,",
        "vigie: is given admin_password and does not name it",
    ),
    (
        COMPOSE,
        "secrets: [migrator_password,",
        "secrets: [migrator_pass, migrator_password,",
        "migrate: no secret migrator_p",
    ),
    (
        COMPOSE,
        "  desk_password: {",
        "  spare: { file: ./secrets/spare }\n  desk_password: {",
        "secret spare is nobody's",
    ),
    (
        COMPOSE,
        "POSTGRES_PASSWORD_FILE: /run/secrets/admin_password",
        "POSTGRES_PASSWORD: hunter2",
        "postgres: POSTGRES_PASSWORD may hold a secret in clear",
    ),
    (
        COMPOSE,
        "config_file=/etc/vigie/postgresql.conf",
        "config_file=/etc/vigie/postgres.conf",
        "postgres: names /etc/vigie/postgres.conf, where nothing is mounted",
    ),
    (
        "docker/kafka/server.properties",
        "PLAINTEXT://kafka:9092",
        "PLAINTEXT://localhost:9092",
        "not what the broker calls",
    ),
    (COMPOSE, "--topic=payments", "--topic=payment", "topics: makes another topic than payments"),
    # the image
    ("Dockerfile", "rust:1.95.0", "rust:1.94.0", "Dockerfile: the build stage is rust:1.94.0-slim-bookworm"),
    ("Dockerfile", "RUSTUP_TOOLCHAIN=1.95.0", "RUSTUP_TOOLCHAIN=1.94.0", "Dockerfile: RUSTUP_TOOLCHAIN is not 1.95.0"),
    ("Dockerfile", "FROM debian:bookworm-slim", "FROM debian:trixie-slim", "the last stage is debian:trixie-slim"),
    ("Dockerfile", "COPY models/card/", "COPY models/cards/", "Dockerfile: models/cards/ is not there"),
    (".dockerignore", "!models/card\n", "", ".dockerignore: leaves out models/card/"),
    (".dockerignore", "\n*\n", "\n", ".dockerignore: lets secrets/token_key through"),
    (".dockerignore", "!migrations\n", "", ".dockerignore: leaves out migrations/0001_streams.sql"),
    ("Dockerfile", "USER 10001:10001", "USER vigie", "Dockerfile: the image's user is not given by number"),
    ("Dockerfile", "USER 10001:10001", "USER 10002:10002", "vigie: runs as 10001:10001, the image is made for"),
    ("Dockerfile", "STOPSIGNAL SIGTERM\n", "", "Dockerfile: no STOPSIGNAL"),
    ("Dockerfile", 'ENTRYPOINT ["vigie"]', 'ENTRYPOINT ["vigil"]', "Dockerfile: the entrypoint is not what is built"),
    ("Dockerfile", '"check", "--live"', '"check"', "vigie: another health check than the image's"),
    ("Dockerfile", "EXPOSE 9464", "EXPOSE 9465", "vigie: listens on 0.0.0.0:9464, which the image does not expose"),
    (
        "Dockerfile",
        "COPY --from=build /out/lib/ /usr/local/lib/\n",
        "",
        "nothing is copied to where '/usr/local/lib/lib",
    ),
    ("Dockerfile", "WORKDIR /srv/vigie", "WORKDIR /srv", "the bundle models/card is not where a process"),
    (
        "Dockerfile",
        "ENV VIGIE_MODEL__ONNXRUNTIME",
        "ENV VIGIE_MODEL__ONNX_RUNTIME",
        "VIGIE_MODEL__ONNX_RUNTIME is no sett",
    ),
    # the pages
    ("prometheus.yml", "vigie:9464", "vigie:9465", "vigie does not listen on 9465"),
    ("prometheus.yml", "cadvisor:8080", "prometheus:9090", "prometheus.yml: nobody asks cadvisor"),
    (SOURCES, "http://prometheus:9090", "http://prometheus:9091", "prometheus does not listen on 9091"),
    (SOURCES, "sslmode: verify-full", "sslmode: disable", "PostgreSQL has sslmode 'disable'"),
    (SOURCES, "$__file{/run/secrets/reader_password}", "hunter2", "the password of PostgreSQL is no secret's file"),
    (DASHBOARDS, "path: /etc/grafana/dashboards", "path: /dashboards", "no dashboards are mounted at /dashboards"),
    (
        "prometheus.yml",
        "prometheus/alerts.yml",
        "prometheus/rules.yml",
        "the rules prometheus/rules.yml are not mounted",
    ),
    ("alertmanager/alertmanager.yml", "mail:1025", "mailhog:1025", "mailhog:1025: no service mailhog"),
]


def test_the_committed_files_keep_to_every_rule(tree: Tree) -> None:
    assert tree.findings() == []


@pytest.mark.parametrize(("file", "old", "new", "finding"), PLANTED)
def test_a_planted_error_is_found(tree: Tree, file: str, old: str, new: str, finding: str) -> None:
    with tree.changed(file, old, new):
        found = tree.findings()
    assert any(finding in sentence for sentence in found), found


def test_every_rule_is_one_of_ours() -> None:
    assert all((rule.__doc__ or "").endswith(".") for rule in ALL)
    assert len(set(ALL)) == len(ALL)
