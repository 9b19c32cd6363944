"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from measure.database import connect
from measure.settings import Settings


@dataclass
class Machine:
    """Hardware, system, versions, and how busy it was before."""

    cores: int
    cpu: str
    memory_gib: float
    system: str
    python: str
    postgres: str
    load_before: float


def machine(settings: Settings) -> Machine:
    """Looks around. To be called before anything is measured."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    with connect(settings, "admin") as admin:
        version = admin.execute("SHOW server_version").fetchone()
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=cpu[1] if cpu else platform.machine(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=sys.version.split()[0],
        postgres=version[0] if version else "",
        load_before=round(os.getloadavg()[0], 2),
    )
