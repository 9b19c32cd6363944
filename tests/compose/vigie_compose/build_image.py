"""Follows the Dockerfile step by step in a clean Debian root, as a container engine would, with chroot.

    python -m vigie_compose.build_image BASE OUT WORK [--build]

BASE is a Debian root as debootstrap makes it. OUT is what the build stage leaves behind; with --build that stage is
followed as well, with the Rust of this machine in the place of the image's, otherwise OUT must be there already. The
image's root is WORK/root afterwards. As root, in mount and process namespaces of its own.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from vigie_compose import ROOT
from vigie_compose.dockerfile import Stage, Step, read
from vigie_compose.dockerignore import Ignored
from vigie_compose.project import Project
from vigie_compose.shell import Failed, in_a_world_of_its_own, run, say

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What this machine needs to reach the network: proxies and authorities, and the addresses of mirrors.
OF_THE_MACHINE = re.compile(r"(?i)(https?|all|no)_proxy|PIP_.*|CARGO_(REGISTR|HTTP|NET|BUILD).*|SSL_CERT_.*")


class Root:
    """A root that is changed step by step."""

    def __init__(self, root: Path, stage: Stage, out: Path, log: Path) -> None:
        """`out` stands for /out: what one stage hands to the next."""
        self.root, self.stage, self.out, self.log = root, stage, out, log
        self.folder = "/"
        self.env = {"PATH": PATH} | {name: text for name, text in os.environ.items() if OF_THE_MACHINE.fullmatch(name)}

    def follow(self, steps: list[Step]) -> None:
        """Does what the steps say."""
        for step in steps:
            match step.word:
                case "RUN":
                    self._run(step)
                case "COPY":
                    self._copy(step)
                case "ENV":
                    self.env |= dict(pair.split("=", 1) for pair in step.words)
                case "WORKDIR":
                    self.folder = step.rest
                    self.inside(step.rest).mkdir(parents=True, exist_ok=True)
                case "USER" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                    pass  # for whoever starts it
                case word:
                    raise Failed(f"Dockerfile: nobody knows how to follow {word}")

    def inside(self, path: str) -> Path:
        """A path of the root, seen from outside."""
        return self.root / (Path(self.folder) / path).relative_to("/")

    def _run(self, step: Step) -> None:
        say(f"  RUN {step.rest}")
        for value in (value for flag, value in step.flags if flag == "mount"):
            options = dict(option.split("=", 1) for option in value.split(","))
            if options["type"] == "bind":
                self.bind(ROOT / options["source"], options["target"])
            elif str(self.inside(options["target"])) not in self.mounts():
                raise Failed(f"Dockerfile: no cache at {options['target']}")
        words = ["chroot", str(self.root), "/bin/sh", "-c", f"cd {self.folder} && {step.rest}"]
        run(words, self.log, self.env)

    def _copy(self, step: Step) -> None:
        *sources, target = step.words
        say(f"  COPY {step.rest}")
        for source in sources:
            place = self.inside(target)
            if step.flag("from"):
                path = self.out / Path(source).relative_to("/out")
                shutil.copytree(path, place, dirs_exist_ok=True)
            else:
                self._copy_committed(source.rstrip("/"), place)

    def _copy_committed(self, source: str, place: Path) -> None:
        """What is committed below `source` and reaches the builder."""
        ignored = Ignored((ROOT / ".dockerignore").read_text())
        for file in Project.of_root().committed:
            within = source == "." or file == source or file.startswith(f"{source}/")
            if not within or ignored(file) or not (ROOT / file).is_file():
                continue
            name = Path(file).name if file == source else str(Path(file).relative_to(source))
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            # With its time: what has not changed is not built again.
            shutil.copy2(ROOT / file, place / name)

    def bind(self, source: Path, target: str) -> None:
        """Shows a file or folder of this machine inside the root, as long as this process lives."""
        place = self.inside(target)
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        subprocess.run(["mount", "--bind", str(source), str(place)], check=True)

    def overlay(self, source: Path, target: str, changes: Path) -> None:
        """Shows a folder of this machine inside the root; what is written to it goes to `changes`."""
        place = self.inside(target)
        for folder in (place, changes / "upper", changes / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={source},upperdir={changes / 'upper'},workdir={changes / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(place)], check=True)

    def reach_the_network(self) -> None:
        """As a container engine does it: names are resolved, and /proc is there."""
        self.bind(Path("/etc/resolv.conf"), "/etc/resolv.conf")
        subprocess.run(["mount", "-t", "proc", "proc", str(self.root / "proc")], check=True)

    def leave_the_network(self) -> None:
        """Takes off what was shown, the last first."""
        for place in reversed(self.mounts()):
            subprocess.run(["umount", place], check=True)

    def mounts(self) -> list[str]:
        """What is mounted in it, in this order."""
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return [place for place in places if place.startswith(f"{self.root}/")]


def fresh(base: Path, root: Path) -> None:
    """Copies a root; what was there is gone."""
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(root)], check=True)


def build(base: Path, out: Path, work: Path) -> None:
    """Follows the build stage; the binaries are in `out` afterwards.

    The compiler and the crates are this machine's: the one is shown read-only, and what cargo adds to the others stays
    in `work`. Nothing of the machine's own Rust can change.
    """
    stage, root = read(ROOT / "Dockerfile")[0], work / "build-root"
    say(f"the stage `{stage.name}` in a clean Debian root")
    fresh(base, root)
    stage_root = Root(root, stage, out, work / "build.log")
    stage_root.reach_the_network()
    # Those whom this machine trusts on its way to the network.
    trusted = Path("usr/local/share/ca-certificates")
    (root / trusted).mkdir(parents=True, exist_ok=True)
    for authority in (Path("/") / trusted).glob("*.crt"):
        shutil.copy(authority, root / trusted)
    compiler = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    stage_root.bind(Path(compiler.stdout.strip()), "/usr/local/rust")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root / "usr/local/rust")], check=True)
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    stage_root.overlay(cargo / "registry", "/usr/local/cargo/registry", work / "registry")
    kept = work / "build-target"
    for folder in (kept, out):
        folder.mkdir(parents=True, exist_ok=True)
    stage_root.bind(kept, "/src/target")
    stage_root.bind(out, "/out")
    stage_root.env |= {"CARGO_HOME": "/usr/local/cargo", "PATH": f"/usr/local/rust/bin:{PATH}"}
    stage_root.follow(stage.steps)
    stage_root.leave_the_network()
    shutil.rmtree(root)


def ship(base: Path, out: Path, work: Path) -> Path:
    """Follows the last stage; what its RUN steps make is kept until one of them, or their script, changes."""
    stage = read(ROOT / "Dockerfile")[-1]
    last = max(number for number, step in enumerate(stage.steps, 1) if step.word == "RUN")
    said = repr(stage.steps[:last]) + (ROOT / "docker/runtime.sh").read_text()
    layer = work / f"layer-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    say("the last stage in a clean Debian root")
    if not layer.exists():
        for former in work.glob("layer-*"):
            shutil.rmtree(former)
        growing = work / "growing"
        fresh(base, growing)
        root = Root(growing, stage, out, work / "runtime.log")
        root.reach_the_network()
        root.follow(stage.steps[:last])
        root.leave_the_network()
        growing.rename(layer)
    fresh(layer, work / "root")
    Root(work / "root", stage, out, work / "runtime.log").follow(stage.steps[last:])
    return work / "root"


def size(root: Path) -> int:
    """Bytes on the disk."""
    out = subprocess.run(["du", "--summarize", "--bytes", str(root)], check=True, stdout=subprocess.PIPE, text=True)
    return int(out.stdout.split()[0])


def main(arguments: list[str]) -> int:
    """Builds the image's root."""
    base, out, work = (Path(argument).resolve() for argument in arguments[:3])
    work.mkdir(parents=True, exist_ok=True)
    try:
        in_a_world_of_its_own()
        if "--build" in arguments[3:]:
            build(base, out, work)
        root = ship(base, out, work)
    except Failed as failure:
        say(f"FAILED: {failure}")
        return 1
    say(f"the image's root: {(size(root) - size(base)) / 1e6:.0f} MB more than Debian itself")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
