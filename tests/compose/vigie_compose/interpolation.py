"""Variables in a compose file: `${NAME:-default}` and its relatives, as the compose specification has them."""

import re
from collections.abc import Mapping

PATTERN = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<kind>:?[-?+])(?P<word>[^}]*))?\}|)"
)


class Missing(Exception):
    """A variable that must be set and is not, or a `$` that begins nothing."""


def fill_in(tree: object, variables: Mapping[str, str]) -> object:
    """Returns the tree with the variables of all its texts filled in; keys stay as they are."""
    if isinstance(tree, dict):
        return {key: fill_in(value, variables) for key, value in tree.items()}
    if isinstance(tree, list):
        return [fill_in(value, variables) for value in tree]
    if isinstance(tree, str):
        return PATTERN.sub(lambda match: _value(match, variables), tree)
    return tree


def names(tree: object) -> set[str]:
    """Returns every variable that the tree's texts name."""
    if isinstance(tree, dict):
        return set().union(*map(names, tree.values()))
    if isinstance(tree, list):
        return set().union(*map(names, tree))
    found = PATTERN.finditer(tree) if isinstance(tree, str) else ()
    return {name for match in found if (name := match["plain"] or match["name"])}


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    name = match["plain"] or match["name"]
    if name is None:
        raise Missing(f"a lone $ in {match.string!r}; write $$ for one that stays")
    kind, word = match["kind"] or "", match["word"] or ""
    value = variables.get(name)
    given = bool(value) if kind.startswith(":") else value is not None
    match kind[-1:]:
        case "-":
            return value if given and value is not None else word
        case "+":
            return word if given else ""
        case "?" if not given:
            raise Missing(f"{name}: {word}")
        case _:
            return value or ""
