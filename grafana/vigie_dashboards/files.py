"""The committed dashboards: what stands in grafana/dashboards, and what should."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import COMMITTED, fraud, operations, yesterday

BUILDERS = {"operations": operations.build, "fraud": fraud.build, "yesterday": yesterday.build}
Page = dict[str, Any]


def built() -> dict[str, str]:
    """The text of each dashboard, by its file's name without the ending."""
    pages = {name: json.loads(json.dumps(build().build(), cls=JSONEncoder)) for name, build in BUILDERS.items()}
    return {name: json.dumps(_numbered(page), indent=2, sort_keys=True) + "\n" for name, page in pages.items()}


def write() -> None:
    """Brings the committed files up to date."""
    COMMITTED.mkdir(exist_ok=True)
    for name, text in built().items():
        (COMMITTED / f"{name}.json").write_text(text)


def committed() -> dict[str, Page]:
    """What Grafana would read."""
    return {name: json.loads((COMMITTED / f"{name}.json").read_text()) for name in BUILDERS}


def _numbered(page: Page) -> Page:
    """Panels get the numbers by which links and alerts name them, in their order."""
    panels = [{**panel, "id": number} for number, panel in enumerate(page["panels"], 1)]
    return {**page, "panels": panels}
