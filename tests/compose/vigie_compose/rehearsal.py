"""Starts docker-compose.yml without a container engine, as far as its way of the data goes, and looks whether it works.

    python -m vigie_compose.rehearsal ROOT WORK CACHE

ROOT is the image's root, WORK a folder that is made anew, CACHE what scripts/stack.sh downloaded. Kafka, PostgreSQL,
their jobs, Prometheus, Alertmanager, Vigie and the producer are started in the file's order, with the file's commands,
settings, secrets, users, mounts and health checks. As root, in mount, network and process namespaces of its own: its
ports are nobody else's, and there is no way out of it.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from vigie_compose import ROOT, stand_ins
from vigie_compose.build_image import PATH
from vigie_compose.compose_file import Service
from vigie_compose.container import Container, Image
from vigie_compose.images import name_of
from vigie_compose.project import Project
from vigie_compose.shell import Failed, in_a_world_of_its_own, run, say

# A machine with more to do than this takes its time.
PATIENCE = 300
PAYMENTS = 1000
# What README.md names instead of the simulation; faster, since nobody looks on.
REPLAY = ["replay", "models/card/payments.csv.zst", "--rate", "1000", "--shift-to-now"]
TOPICS, PRODUCER = "/opt/kafka/bin/kafka-topics.sh", "/opt/kafka/bin/kafka-console-producer.sh"


class Rehearsal:
    """What is started, in this order."""

    def __init__(self, arguments: list[str]) -> None:
        """Takes the paths of the command line."""
        root, self.work, self.cache = map(Path, arguments)
        self.project = Project.of_root(variables=os.environ)
        self.containers: dict[str, Container] = {}
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.hosts = self.work / "hosts"
        names = " ".join(self.project.compose.services)
        self.hosts.write_text(f"127.0.0.1 localhost {names}\n")
        subprocess.run(["mount", "--bind", str(self.hosts), "/etc/hosts"], check=True)
        subprocess.run(["python3", "-c", LOOPBACK_UP], check=True)
        run([str(ROOT / "scripts/make_secrets.sh"), str(self.work / "secrets")], self.work / "secrets.log")
        runtime = self.project.runtime
        entrypoint, command, folder = (runtime.last(word) for word in ("ENTRYPOINT", "CMD", "WORKDIR"))
        # A file system of their own: a layer may not lie below the root that it is laid upon.
        stand_in = self.work / "stand-ins"
        stand_in.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(stand_in)], check=True)
        self.images = {
            "apache/kafka": stand_ins.kafka(stand_in / "kafka", self.cache),
            "postgres": stand_ins.postgres(stand_in / "postgres"),
            "prom/prometheus": stand_ins.monitor(stand_in / "prometheus", self.cache, "prometheus"),
            "prom/alertmanager": stand_ins.monitor(stand_in / "alertmanager", self.cache, "alertmanager"),
            "vigie": Image(
                [root],
                {"PATH": PATH} | runtime.environment(),
                entrypoint.words if entrypoint else [],
                command.words if command else [],
                folder.rest if folder else "/",
            ),
        }

    def perform(self) -> None:
        """Everything, one after the other."""
        for service in self._in_order():
            container = self._container(service)
            began = time.monotonic()
            if service.name == "producer":
                container.start()
                continue
            if service.raw.get("restart") == "no":
                container.start()
                self._finish(container)
                say(f"ok    {service.name} has done its work ({time.monotonic() - began:.1f} s)")
            else:
                container.start()
                self._await_health(container)
                say(f"ok    {service.name} is well ({time.monotonic() - began:.1f} s): {' '.join(service.health)}")
        self._look_at_contents()
        self._look_at_contained()
        self._look_at_secrets()
        self._look_at_packed_records()
        self._look_at_payments()
        self._look_at_prometheus()
        self._look_at_logins()
        self._look_at_people()
        self._look_at_the_end()

    def _in_order(self) -> Iterator[Service]:
        """Those that have an image here, each after those it waits for."""
        waiting = {
            name: service
            for name, service in self.project.compose.services.items()
            if name_of(service.image) in self.images and not service.raw.get("profiles")
        }
        self._start_mail()
        while waiting:
            free = [service for service in waiting.values() if not service.depends_on.keys() & waiting.keys()]
            for service in free:
                yield waiting.pop(service.name)

    def _start_mail(self) -> None:
        """The development stack's SMTP sink stands in for the mail catcher."""
        mode, mails = self.work / "smtp-mode", self.work / "mails"
        mode.write_text("accept")
        mails.mkdir()
        sink = ["scripts/smtp_sink.py", "--port", "1025", "--dir", str(mails), "--mode-file", str(mode)]
        with (self.work / "mail.log").open("ab") as out:
            subprocess.Popen([str(self.cache / "venv/bin/python"), *sink], cwd=ROOT, stdout=out, stderr=out)

    def _container(self, service: Service, image: Image | None = None) -> Container:
        image = image or self.images[name_of(service.image)]
        container = Container(service, image, ROOT, self.work, self.hosts, self.work / "secrets")
        self.containers[service.name] = container
        return container

    def _finish(self, container: Container) -> None:
        code = container.process.wait(PATIENCE) if container.process else None
        if code != 0:
            raise Failed(f"{container.service.name} ended with exit code {code}:\n{container.said()}")

    def _await_health(self, container: Container) -> None:
        def is_well() -> bool:
            if container.process and container.process.poll() is not None:
                raise Failed(f"{container.service.name} ended:\n{container.said()}")
            return container.execute(container.service.health).returncode == 0

        self._eventually(f"{container.service.name} is well", is_well, container)

    def _eventually(self, what: str, condition: Callable[[], bool], container: Container) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"not within {PATIENCE} s: {what}; {container.service.name} said:\n{container.said()}")
            time.sleep(0.2)

    def _look_at_contents(self) -> None:
        """The image's own programs answer, and every library they need is there."""
        vigie = self.containers["vigie"]
        for words in (["vigie", "--version"], ["vigie-producer", "--version"]):
            say(f"ok    {self._ask(vigie, words).strip()}")
        for file in ("/usr/local/bin/vigie", "/usr/local/bin/vigie-producer", "/usr/local/lib/libonnxruntime.so"):
            if "not found" in (needed := self._ask(vigie, ["ldd", file])):
                raise Failed(f"{file} lacks a library:\n{needed}")
        say("ok    every shared library that binaries and ONNX runtime need is in the image")
        for line in self._ask(vigie, ["vigie", "check"]).splitlines():
            say(f"      {line}")
        say("ok    vigie check finds nothing wrong")

    def _ask(self, container: Container, words: list[str]) -> str:
        done = container.execute(words)
        if done.returncode:
            raise Failed(f"{' '.join(words)} ended with exit code {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _look_at_contained(self) -> None:
        """The kernel says the same of every process as the file."""
        for name, container in self.containers.items():
            if container.process is None or container.process.poll() is not None:
                continue
            status, user = container.status(), container.service.raw["user"].split(":")
            if [status["Uid"].split()[1], status["Gid"].split()[1]] != user:
                raise Failed(f"{name} runs as {status['Uid']}")
            if int(status["CapEff"], 16) or int(status["CapBnd"], 16) or status["NoNewPrivs"] != "1":
                raise Failed(f"{name} has rights: {status['CapEff']}, {status['CapBnd']}, {status['NoNewPrivs']}")
            for place in ("/", container.image.folder, "/usr/local/bin", "/etc"):
                written = container.execute(["/bin/sh", "-c", f": > {place.rstrip('/')}/written"])
                if "Read-only file system" not in written.stdout:
                    raise Failed(f"{name} can write to {place}: {written.stdout}")
        say("ok    every process runs as its user, without capabilities, on a root that is read-only")

    def _look_at_secrets(self) -> None:
        """No password is in an environment or a log, and none goes over the network in clear."""
        names = (name for name in self.project.compose.section("secrets") if not name.endswith(".pem"))
        secrets = [(self.work / "secrets" / name).read_bytes() for name in names]
        for name, container in self.containers.items():
            seen = container.log.read_bytes()
            if container.process and container.process.poll() is None:
                seen += Path(f"/proc/{container.process.pid}/environ").read_bytes()
            if any(secret in seen for secret in secrets):
                raise Failed(f"{name} shows a secret in its environment or its log")
        in_clear = ["psql", "host=postgres user=vigie_admin dbname=postgres sslmode=disable", "-c", "SELECT 1"]
        refused = self.containers["postgres"].execute(["/usr/bin/env", "PGPASSWORD=x", *in_clear])
        if "no encryption" not in refused.stdout:
            raise Failed(f"PostgreSQL lets somebody in without encryption: {refused.stdout}")
        say("ok    no secret in an environment or a log; PostgreSQL refuses whoever comes without encryption")

    def _look_at_packed_records(self) -> None:
        """The broker takes a record that is packed with what it unpacks into its /tmp and runs from there."""
        for packing in ("zstd", "snappy"):
            topic = f"--bootstrap-server 127.0.0.1:9092 --topic packed-{packing}"
            sent = f"echo payment | {PRODUCER} {topic} --compression-codec={packing} --sync"
            script = f"{TOPICS} {topic} --create; {sent}"
            self._ask(self.containers["kafka"], ["env", "KAFKA_HEAP_OPTS=-Xmx128m", "bash", "-euc", script])
        say("ok    the broker takes records packed with zstd and snappy")

    def _look_at_payments(self) -> None:
        """Payments of the producer are scored and stored."""
        vigie, began = self.containers["vigie"], time.monotonic()
        self._eventually(f"{PAYMENTS} payments are scored", lambda: self._scored() >= PAYMENTS, vigie)
        say(f"ok    {self._scored():.0f} payments scored after {time.monotonic() - began:.0f} s")
        # Beside the simulation, in which frauds take their time.
        replay = replace(self.containers["producer"], process=None)
        replay.start_instead([*replay.service.entrypoint, *REPLAY])
        self._finish(replay)
        self._eventually("a mail arrives", lambda: any((self.work / "mails").iterdir()), vigie)
        say("ok    on-call has mail")

    def _scored(self) -> float:
        token = (self.work / "secrets/metrics_token").read_text()
        lines = _page(9464, "/metrics", {"Authorization": f"Bearer {token}"}).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith('vigie_events_total{outcome="scored"'))

    def _look_at_prometheus(self) -> None:
        """It reads the processor's page with the token, has its rules, and knows its Alertmanager."""

        def has_payments() -> bool:
            answer = json.loads(_page(9090, "/api/v1/query?query=sum(vigie_events_total)"))
            return any(float(series["value"][1]) > 0 for series in answer["data"]["result"])

        self._eventually("Prometheus has seen payments", has_payments, self.containers["prometheus"])
        groups = json.loads(_page(9090, "/api/v1/rules"))["data"]["groups"]
        managers = json.loads(_page(9090, "/api/v1/alertmanagers"))["data"]["activeAlertmanagers"]
        if not groups or not managers:
            raise Failed(f"Prometheus has {len(groups)} groups of rules and {len(managers)} Alertmanagers")
        rules = sum(len(group["rules"]) for group in groups)
        say(f"ok    Prometheus reads the processor's page, has {rules} rules, and knows its Alertmanager")

    def _look_at_logins(self) -> None:
        """Exporter and Grafana come in with what they are given, and see what is theirs."""
        exporter = 'PGPASSWORD=$(<$DATA_SOURCE_PASS_FILE) psql "postgresql://$DATA_SOURCE_USER@$DATA_SOURCE_URI"'
        grafana = (
            "PGPASSWORD=$(</run/secrets/reader_password) psql 'host=postgres dbname=vigie user=vigie_reader "
            "sslmode=verify-full sslrootcert=/run/secrets/database_ca.pem'"
        )
        figures, payments = "SELECT datname FROM pg_stat_database", "SELECT 1 FROM vigie.payments LIMIT 1"
        for name, login, query in (("postgres-exporter", exporter, figures), ("grafana", grafana, payments)):
            container = self._container(self.project.compose.services[name], self.images["postgres"])
            container.start_instead(["bash", "-euc", f"{login} -v ON_ERROR_STOP=1 -c '{query}'"])
            self._finish(container)
            say(f"ok    {name} is let in to the database, by a verified certificate")

    def _look_at_people(self) -> None:
        """People's commands, as `docker compose run --rm desk …` starts them."""
        for arguments in (["offsets", "show"], ["dead-letters", "list"]):
            container = self._container(self.project.compose.services["desk"])
            container.start_instead([*container.image.entrypoint, *arguments])
            self._finish(container)
            if "lag unknown" in (said := container.log.read_text()):
                raise Failed(f"desk {' '.join(arguments)} does not know everything:\n{said}")
            say(f"ok    desk {' '.join(arguments)}")

    def _look_at_the_end(self) -> None:
        """Asked to, each ends in order, the way of the data down."""
        for name in ("producer", "vigie", "prometheus", "alertmanager", "postgres", "kafka"):
            container = self.containers[name]
            grace = float(container.service.raw.get("stop_grace_period", "10s").removesuffix("s"))
            number = {"SIGINT": 2}.get(container.service.raw.get("stop_signal", ""), 15)
            if container.process is None:
                raise Failed(f"{name} was never started")
            container.process.send_signal(number)
            began = time.monotonic()
            try:
                code = container.process.wait(grace)
            except subprocess.TimeoutExpired:
                raise Failed(f"{name} does not end within {grace:.0f} s") from None
            if code not in ((0, 143) if name == "kafka" else (0,)):
                raise Failed(f"{name} ended with exit code {code}:\n{container.said()}")
            say(f"ok    {name} ended in order ({time.monotonic() - began:.1f} s)")


def _page(port: int, path: str, headers: Mapping[str, str] | None = None) -> str:
    page = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    page.request("GET", path, headers=dict(headers or {}))
    answer = page.getresponse()
    if answer.status != 200:
        raise Failed(f"{path} on port {port} answers {answer.status}")
    return answer.read().decode()


# SIOCSIFFLAGS with IFF_UP and IFF_RUNNING: a network namespace begins with its loopback down.
LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
    fcntl.ioctl(anything, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
"""


def main(arguments: list[str]) -> int:
    """Whether all of it works."""
    try:
        in_a_world_of_its_own()
        Rehearsal(arguments).perform()
    except Failed as failure:
        say(f"FAILED: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
