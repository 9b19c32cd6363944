"""A service of docker-compose.yml as a process, contained as the file says, without a container engine.

A read-only root with what is mounted on it, the user by number, no capabilities, no new privileges, nothing in the
environment but what image and file put there. Network and process ids are the caller's namespaces. Limits of CPU and
memory are not applied.
"""

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vigie_compose.compose_file import Service
from vigie_compose.shell import tail

DEVICES = ("null", "zero", "full", "random", "urandom")


@dataclass
class Image:
    """What a container is made from: layers of roots, the upper ones first, and what the image says about itself."""

    layers: list[Path]
    environment: dict[str, str]
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    folder: str = "/"


@dataclass
class Container:
    """A service, its image, and where its volumes and logs are."""

    service: Service
    image: Image
    root: Path
    """The tree that docker-compose.yml stands in."""
    work: Path
    hosts: Path
    secrets: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it says."""
        return self.work / f"{self.service.name}.log"

    @property
    def words(self) -> list[str]:
        """What is started: an entrypoint of the file's does away with the image's command."""
        if self.service.entrypoint:
            return self.service.entrypoint + self.service.command
        return self.image.entrypoint + (self.service.command or self.image.command)

    @property
    def environment(self) -> dict[str, str]:
        """The image's, then the file's."""
        return {"HOME": "/"} | self.image.environment | self.service.environment

    def start(self) -> None:
        """Starts what the file says."""
        self.start_instead(self.words)

    def start_instead(self, words: list[str]) -> None:
        """Starts another program in its place, contained like it."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/bash", "-euc", self._script(words)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def execute(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a program beside the started one, as a health check is run."""
        if self.process is None:
            raise RuntimeError(f"{self.service.name} is not running")
        enter = ["/usr/bin/nsenter", f"--target={self.process.pid}", "--mount", "--root", "--wd"]
        return subprocess.run(
            [*enter, "--", *self._contained(words)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )

    def status(self) -> Mapping[str, str]:
        """What the kernel says about the process."""
        pid = self.process.pid if self.process else 0
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def said(self) -> str:
        """The end of its log."""
        return tail(self.log)

    def _contained(self, words: list[str]) -> list[str]:
        user, _, group = self.service.raw["user"].partition(":")
        rights = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", *rights, *words]

    def _script(self, words: list[str]) -> str:
        """Mounts, then becomes the program: the process id stays the same."""
        new = self.work / f"{self.service.name}.root"
        new.mkdir(exist_ok=True)
        layers = ":".join(map(str, self.image.layers))
        lines = [
            f"mount -t tmpfs tmpfs {new}",
            f"mkdir {new}/upper {new}/work {new}/root",
            f"mount -t overlay overlay -o lowerdir={layers},upperdir={new}/upper,workdir={new}/work {new}/root",
            f"cd {new}/root",
            *_devices(),
            *self._mounts(),
            *_remount_read_only(bool(self.service.raw.get("read_only"))),
        ]
        inner = shlex.join(["/usr/bin/env", f"--chdir={self.image.folder}", *words])
        contained = shlex.join(self._contained([])) + " " + inner
        return "\n".join([*lines, f"exec /usr/sbin/chroot . {contained}"])

    def _mounts(self) -> list[str]:
        lines = [_shown(self.hosts, "/etc/hosts")]
        for path, options in self.service.tmpfs.items():
            # As an engine does it: nothing there is run, unless the file says so.
            given = ",".join(["noexec", "nosuid", "nodev", *options.split(",")]).rstrip(",")
            lines.append(f"mkdir -p .{path}; mount -t tmpfs -o {given} tmpfs .{path}")
        for mount in self.service.mounts:
            if mount.is_named:
                lines.append(_shown(self._volume(mount.source), mount.target))
            else:
                lines.append(_shown(self.root / mount.source, mount.target))
                lines.append(f"mount -o remount,bind,ro .{mount.target}")
        for path, source in self.service.secrets.items():
            lines += [_shown(self.secrets / source, path), f"mount -o remount,bind,ro .{path}"]
        return lines

    def _volume(self, name: str) -> Path:
        """A named volume, which belongs to whom the image's folder belongs to."""
        path = self.work / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            subprocess.run(["chown", self.service.raw["user"], str(path)], check=True)
        return path


def _shown(source: Path, target: str) -> str:
    made = f"mkdir -p .{target}" if source.is_dir() else f"mkdir -p $(dirname .{target}); : >> .{target}"
    return f"{made}; mount --bind {source} .{target}"


def _devices() -> list[str]:
    nodes = [f": > dev/{name}; mount --bind /dev/{name} dev/{name}" for name in DEVICES]
    return [
        "mkdir -p proc dev",
        "mount -t proc proc proc",
        "mount -t tmpfs -o mode=755 tmpfs dev",
        *nodes,
        "mkdir dev/shm; mount -t tmpfs -o mode=1777 tmpfs dev/shm; ln -s /proc/self/fd dev/fd",
    ]


def _remount_read_only(wanted: bool) -> list[str]:
    return ["mount -o remount,ro .", "mount -o remount,ro dev"] if wanted else []
