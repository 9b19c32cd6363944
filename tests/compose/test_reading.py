"""Variables, short forms and the Dockerfile are read as a container engine reads them."""

import pytest

from vigie_compose.compose_file import Mount, Port, of_tree
from vigie_compose.dockerfile import parse
from vigie_compose.images import name_of, tag_of
from vigie_compose.interpolation import Missing, fill_in, names


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A and ${A}", "one and one"),
        ("${EMPTY:-word} ${EMPTY-word}", "word "),
        ("${NONE:-word} ${NONE-word} ${NONE}", "word word "),
        ("${A:+set} ${EMPTY:+set} ${EMPTY+set}", "set  set"),
        ("$$A costs $$5", "$A costs $5"),
        ("${NONE:-replay a.csv --rate 100}", "replay a.csv --rate 100"),
    ],
)
def test_variables_are_filled_in(text: str, value: str) -> None:
    assert fill_in({"a": [text]}, {"A": "one", "EMPTY": ""}) == {"a": [value]}


@pytest.mark.parametrize("text", ["${NONE:?say which}", "${EMPTY:?say which}", "a $ alone", "${A"])
def test_what_cannot_be_filled_in_is_refused(text: str) -> None:
    with pytest.raises(Missing):
        fill_in(text, {"A": "one", "EMPTY": ""})


def test_names_are_found_wherever_they_stand() -> None:
    assert names({"a": ["$ONE", {"b": "${TWO:-x} $$NOT"}], "c": 3}) == {"ONE", "TWO"}


def test_short_forms_are_written_out() -> None:
    service = of_tree(
        {
            "services": {
                "a": {
                    "image": "x:1.0",
                    "command": "run --name 'two words'",
                    "environment": ["A=1=2"],
                    "ports": ["127.0.0.1:${P:-3000}:80", "81", "8000:82"],
                    "volumes": ["data:/d", "./a:/b:ro"],
                    "tmpfs": "/tmp:size=1m",
                    "secrets": ["s", {"source": "t", "target": "u"}],
                    "depends_on": ["b"],
                    "healthcheck": {"test": "exit 0"},
                }
            }
        },
        {},
    ).services["a"]
    assert service.command == ["run", "--name", "two words"]
    assert service.environment == {"A": "1=2"}
    assert service.ports == [Port("127.0.0.1", "3000", 80), Port("", "", 81), Port("", "8000", 82)]
    assert service.mounts == [Mount("data", "/d", False), Mount("./a", "/b", True)]
    assert service.tmpfs == {"/tmp": "size=1m"}
    assert service.secrets == {"/run/secrets/s": "s", "/run/secrets/u": "t"}
    assert service.depends_on == {"b": "service_started"}
    assert service.health == ["/bin/sh", "-c", "exit 0"]


def test_an_image_is_split_at_its_tag_and_not_at_a_registry_s_port() -> None:
    assert (name_of("host:5000/a/b:1.2"), tag_of("host:5000/a/b:1.2")) == ("host:5000/a/b", "1.2")
    assert (name_of("host:5000/a/b"), tag_of("host:5000/a/b")) == ("host:5000/a/b", "")
    assert (name_of("postgres:17"), tag_of("postgres:17")) == ("postgres", "17")


def test_stages_flags_and_continued_lines_are_read() -> None:
    first, last = parse(
        "# a comment\nFROM a:1 AS build\nRUN --mount=type=cache,target=/c \\\n    make all\n"
        'FROM b:2\nCOPY --from=build /x /y\nENV A=1 B="two words"\nHEALTHCHECK --interval=1s \\\n  CMD ["v", "c"]\n'
    )
    assert (first.base, first.name, last.base, last.name) == ("a:1", "build", "b:2", "")
    assert (first.steps[0].flag("mount"), first.steps[0].rest) == ("type=cache,target=/c", "make all")
    assert (last.steps[0].flag("from"), last.steps[0].words) == ("build", ["/x", "/y"])
    assert last.environment() == {"A": "1", "B": "two words"}
    assert last.health() == ["v", "c"]
    with pytest.raises(ValueError, match="before FROM"):
        parse("RUN true\n")
