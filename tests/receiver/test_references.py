"""What the documents, docstrings and comments name exists: files, links, make targets, commands and settings.

To have another kind of name checked, add the pattern that finds it and what it has to be.
"""

import ast
import re
import tokenize
from functools import cache
from pathlib import Path

import click
import pytest

from receiver.cli import NAMES
from receiver.cli.late import command_of
from tests.receiver.processes import ROOT

FOLDERS = ("app", "bench", "docs", "migrations", "receiver", "tests", ".ci")
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "UPGRADING.md", "AGENTS.md", "bench/RESULTS.md")]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
SOURCES = [ROOT / "gunicorn.conf.py", ROOT / "wsgi.py"]
SOURCES += [path for folder in FOLDERS if folder != ".ci" for path in (ROOT / folder).rglob("*.py")]
FORKS = {ROOT / "app", ROOT / "migrations", ROOT / "tests" / "app"}
OURS = [path for path in SOURCES if FORKS.isdisjoint(path.parents)]
"""What a fork writes into its own half breaks no test of ours."""
CODE = re.compile(r"```.*?\n(.*?)```|(?<!`)`([^`\n]+)`", re.DOTALL)
FILE = re.compile(
    r"(?<![\w/.<-])(?:app|bench|docs|migrations|receiver|tests|\.ci)/[\w./-]*\w|(?<![\w/.-])[a-z_]\w*\.(?:py|md)\b"
)
LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|srcset|href)=\"([^\"]+)\"")
TARGET = re.compile(r"\bmake ((?:[a-z]+-)*[a-z]+)")
COMMAND = re.compile(r"(?:flask --app wsgi |^)((?:events|senang|users|worker|init)\b[^#\n]*)", re.MULTILINE)
SETTING = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")
COMMANDS = {name: command_of(f"receiver.cli.{name}", name)() for name in NAMES}


def code(text: str) -> list[str]:
    """What stands between back quotes."""
    return [block or words for block, words in CODE.findall(text)]


def prose(path: Path) -> str:
    """The docstrings and comments of a module."""
    nodes = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Expr))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    with path.open("rb") as file:
        texts += [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return "\n".join(texts)


@cache
def files() -> set[str]:
    """The names of our own files, their paths, and the names by which templates extend the receiver's."""
    paths = [path for place in FOLDERS for path in (ROOT / place).rglob("*")] + list(ROOT.glob("*.*"))
    relative = {str(path.relative_to(ROOT)) for path in paths}
    extended = {f"receiver/{path.name}" for path in (ROOT / "receiver" / "web" / "templates").iterdir()}
    return relative | extended | {Path(name).name for name in relative}


@cache
def sources() -> str:
    return "\n".join(
        path.read_text() for path in [*SOURCES, ROOT / "Makefile", ROOT / ".env.example"] if path != Path(__file__)
    )


def anchors(document: Path) -> set[str]:
    """Where a link into the document may lead."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def commands_of(group: click.Command) -> dict[str, click.Command]:
    """The commands of a group. Some are loaded only when somebody asks for them."""
    if not isinstance(group, click.Group):
        return {}
    context = click.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def unknown_command(words: str) -> str | None:
    """The word of a command line that is no command, if there is one."""
    group = None
    for word in words.split():
        names = word.split("|")
        known = COMMANDS if group is None else commands_of(group)
        if not known or not all(re.fullmatch("[a-z]+", name) for name in names):
            return None
        if not set(names) <= set(known):
            return word
        group = known[names[0]]
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
class TestOfADocument:
    def test_every_file_exists(self, document):
        assert set(FILE.findall(document.read_text())) - files() == set()

    def test_every_link_leads_somewhere(self, document):
        found = {place for pair in LINK.findall(document.read_text()) for place in pair if place}
        ours = [place.partition("#") for place in found if not place.startswith("http")]

        assert [path for path, _, _ in ours if path and not (document.parent / path).exists()] == []
        for path, _, anchor in ours:
            assert not anchor or anchor in anchors(document.parent / path if path else document)

    def test_every_make_target_exists(self, document):
        named = {target for text in code(document.read_text()) for target in TARGET.findall(text)}

        assert named - targets() == set()

    def test_every_command_exists(self, document):
        lines = [line for text in code(document.read_text()) for line in COMMAND.findall(text)]

        assert [line for line in lines if unknown_command(line)] == []

    def test_every_setting_exists(self, document):
        named = {name for text in code(document.read_text()) for name in SETTING.findall(text)}

        assert {name for name in named if not re.search(rf"\b{name}", sources())} == set()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_file_that_a_docstring_or_a_comment_names_exists():
    missing = {str(path.relative_to(ROOT)): set(FILE.findall(prose(path))) - files() for path in OURS}

    assert {path: names for path, names in missing.items() if names} == {}


def test_every_make_target_and_command_that_a_docstring_names_exists():
    texts = [text for path in OURS for text in re.findall(r"`([^`\n]+)`", prose(path))]

    assert {target for text in texts for target in TARGET.findall(text)} - targets() == set()
    assert [text for text in texts for line in COMMAND.findall(text) if unknown_command(line)] == []


def test_an_unknown_command_would_be_noticed():
    assert isinstance(COMMANDS["events"], click.Group)
    assert unknown_command("events chek --json") == "chek"
    assert unknown_command("users add|dismiss NAME") == "add|dismiss"


def test_what_one_reads_for_a_real_handler_is_as_short_as_the_readme_says():
    (section,) = re.findall(r"^## 2\. .*?(?=^## )", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (most, named) = re.search(r"fewer than (\d+) lines: this section, (.*?)\n\n", section, re.DOTALL).groups()
    files = re.findall(r"[\w/]+\.(?:py|md)", re.sub(r"\]\(\S+\)", "", named))

    lines = section.count("\n") + sum(len((ROOT / name).read_text().splitlines()) for name in files)
    assert len(files) == 4
    assert lines < int(most)
