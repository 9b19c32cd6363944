"""The rules: each takes the project and yields a sentence for every place where it is broken."""

from collections.abc import Callable, Iterator

from vigie_compose.project import Project
from vigie_compose.rules import containment, image, inputs, pages, wiring

Rule = Callable[[Project], Iterator[str]]
ALL: tuple[Rule, ...] = (*wiring.RULES, *containment.RULES, *inputs.RULES, *image.RULES, *pages.RULES)


def findings(project: Project) -> list[str]:
    """Everything that is broken."""
    return [finding for rule in ALL for finding in rule(project)]
