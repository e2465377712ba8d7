"""Flows in files: findings with their lines, the commands, and drawings that can be read again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ringline import cli, log, settings
from ringline.flows import check, drawing, graph
from ringline.flows.actions import Action
from ringline.flows.documents import Unreadable, read
from ringline.flows.located import Located

from .test_page import EXAMPLE, PAGE

A, B = "a0000000-0000-4000-8000-00000000000a", "b0000000-0000-4000-8000-00000000000b"
WRONG = """{
  "name": "menu",
  "actions": [
    {"type": "talk", "option": {"text": "hello", "langauge": "en-US"}},
    {"type": "hangup"},
    {
      "type": "branch",
      "option": {
        "default_target_id": "a0000000-0000-4000-8000-00000000000a",
        "target_ids": {"1": "a0000000-0000-4000-8000-00000000000a",
                       "2": "x"}
      }
    },
    {"type": "sleep", "option": {}}, {"type": "slep"}
  ]
}
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "configure", lambda *_: None)
    settings.load.cache_clear()


def ringline(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, ["flow", *arguments], input=stdin)


def file(folder: Path, content: Any, name: str = "flow.json") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


class TestCheck:
    def test_every_fault_has_its_line(self, tmp_path: Path) -> None:
        done = ringline("check", file(tmp_path, WRONG))
        assert done.exit_code == 1
        lines = [line.removeprefix(f"{tmp_path}/") for line in done.stdout.splitlines()]
        assert [line.split(" ")[0] for line in lines] == [
            "flow.json:4:50:",
            "flow.json:11:24:",
            "flow.json:14:23:",
            "flow.json:14:39:",
            "flow.json:",
        ]
        assert "did you mean `language`?" in lines[0]
        assert "actions[2].option.target_ids.2 must be a UUID" in lines[1]
        assert "actions[3].option.duration is required" in lines[2]
        assert "actions[4].type is not a known action: 'slep'; did you mean `sleep`?" in lines[3]
        assert lines[4] == "flow.json: 5 actions, 4 faults."
        assert "\x1b" not in done.stdout, "no colours where nobody sees them"

    def test_a_bare_list_and_the_standard_input(self) -> None:
        done = ringline(
            "check", "-", stdin='[{"type": "beep"},\n {"type": "sleep", "option": {"duration": 0}}]'
        )
        assert done.exit_code == 1
        assert done.stdout.startswith("-:2:31: fault: actions[1].option.duration must be at least 1, not 0")

    def test_a_warning_is_no_fault(self, tmp_path: Path) -> None:
        done = ringline("check", file(tmp_path, [{"type": "stop"}, {"type": "beep"}]))
        assert (done.exit_code, "warning: actions[1] can never be reached" in done.stdout) == (0, True)
        assert "2 actions, 1 warning." in done.stdout

    def test_several_files(self, tmp_path: Path) -> None:
        good, wrong = file(tmp_path, [{"type": "beep"}]), file(tmp_path, WRONG, "wrong.json")
        assert ringline("check", good, good).exit_code == 0
        assert ringline("check", good, wrong).exit_code == 1
        assert ringline("check", good, str(tmp_path / "none.json")).exit_code == 2

    def test_as_json(self, tmp_path: Path) -> None:
        done = ringline("check", "--json", file(tmp_path, WRONG))
        (shown,) = json.loads(done.stdout)["files"]
        assert (done.exit_code, shown["faults"][1]["field"], shown["faults"][1]["line"]) == (
            1,
            "actions[2].option.target_ids.2",
            11,
        )

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{"actions": [}', "1:14: it is no JSON: expecting value"),
            ("", "1:1: it is no JSON"),
            ('"flow"', "must be a list of actions, or an object with `actions`"),
            ('{"action": []}', "must be a list of actions, or an object with `actions`"),
            ("[" * 100_000, "nested too deep"),
        ],
    )
    def test_what_cannot_be_read(self, text: str, says: str) -> None:
        with pytest.raises(Unreadable, match=re.escape(says)):
            read(None, text)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
        for name, says in (("latin.json", "UTF-8"), ("none.json", "No such file"), (".", "director")):
            done = ringline("check", str(tmp_path / name))
            assert done.exit_code == 2
            assert says in done.stderr
            assert "Traceback" not in done.output


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON, st.sampled_from([None, 0, 3]), st.booleans())
def test_every_value_of_a_text_is_found(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = Located(text)

    def look(inner: Any, location: tuple[str | int, ...]) -> None:
        offset = found._offsets[location]
        line, column = found.line(location)
        assert text.split("\n")[line - 1][column - 1 :].startswith(text[offset : offset + 1].split("\n")[0])
        start: Any = location[-1] if location and isinstance(location[-1], str) else inner
        assert json.JSONDecoder().raw_decode(text, offset)[0] == start
        if isinstance(inner, dict):
            for name, item in inner.items():
                look(item, (*location, name))
        elif isinstance(inner, list):
            for index, item in enumerate(inner):
                look(item, (*location, index))

    look(value, ())


NODE = re.compile(r'(\w+)(\{|\[|\(\[)"([^"]*)"(\}|\]|\]\))$')
EDGE = re.compile(r'(\w+) -->(?:\|"([^"]*)"\|)? (\w+)$')
LABEL = re.compile(r"(?:[\w .,:;!?'()/+*=@%$-]|#\d+;|<br/>)*", re.ASCII)


def parse(text: str) -> tuple[dict[str, str], set[tuple[str, str, str]]]:
    """Nodes with their labels, and edges, of a drawing; whatever is not of its grammar is an error."""
    nodes: dict[str, str] = {}
    edges: set[tuple[str, str, str]] = set()
    first, *rest = text.splitlines()
    assert first == "flowchart TD"
    depth = 0
    for line in map(str.strip, rest):
        if line.startswith("subgraph "):
            assert re.fullmatch(r'subgraph \w+ \["[^"]*"\]', line), line
            depth += 1
        elif line == "end":
            depth -= 1
        elif node := NODE.match(line):
            assert node[1] not in nodes
            nodes[node[1]] = node[3]
        elif edge := EDGE.match(line):
            edges.add((edge[1], edge[2] or "", edge[3]))
        else:
            assert re.fullmatch(r"\w+ -\.-> \w+", line), line
    assert depth == 0
    assert all(LABEL.fullmatch(label) for label in [*nodes.values(), *(label for _, label, _ in edges)])
    assert {name for start, _, to in edges for name in (start, to)} <= set(nodes)
    return nodes, edges


def good(raw: list[dict[str, Any]]) -> list[Action]:
    found = check.examine(raw)
    assert found.faults == []
    return found.actions


def test_a_drawing_has_every_action_and_every_way() -> None:
    actions = good(
        [
            {"id": A, "type": "talk", "option": {"text": 'say "1" & <2>; #hash\n`now` ]) end'}},
            {"type": "digits_receive", "option": {"duration": 3000}},
            {"type": "branch", "option": {"default_target_id": A, "target_ids": {"1": B, '"#|': A}}},
            {"id": B, "type": "goto", "option": {"target_id": A, "loop_count": 2}},
            {"type": "hangup"},
        ]
    )
    nodes, edges = parse(drawing.draw(actions))
    assert list(nodes) == ["a_start", "a0", "a1", "a2", "a3", "a4", "a_end"]
    assert nodes["a0"] == ("0. talk<br/>text: say #34;1#34; #38; #60;2#62;; #35;hash #96;now#96; #93;) end")
    assert edges == {
        ("a_start", "", "a0"),
        ("a0", "", "a1"),
        ("a1", "", "a2"),
        ("a2", "otherwise", "a0"),
        ("a2", "1", "a3"),
        ("a2", "#34;#35;#124;", "a0"),
        ("a3", "at most 2 times", "a0"),
        ("a3", "then", "a4"),
        ("a4", "", "a_end"),
    }


def test_flows_of_their_own_stand_in_boxes() -> None:
    inner = [{"type": "talk", "option": {"text": "x" * 100}}]
    to = [{"type": "tel", "target": "+15559876543"}]
    nodes, edges = parse(
        drawing.draw(good([{"type": "call", "option": {"destinations": to, "actions": inner}}]))
    )
    assert nodes["a0_actions_0"] == f"0. talk<br/>text: {'x' * 57}..."
    assert ("a0_actions__start", "", "a0_actions_0") in edges


@pytest.mark.parametrize("text", [match[1] for match in EXAMPLE.finditer(PAGE)])
def test_every_example_can_be_drawn(text: str) -> None:
    data = json.loads(text)
    if isinstance(data, dict) and "actions" not in data:
        return
    actions = good(data if isinstance(data, list) else data["actions"])
    nodes, edges = parse(drawing.draw(actions))
    assert {f"a{index}" for index in range(len(actions))} <= set(nodes)
    for edge in graph.edges(actions):
        target = "a_end" if edge.target is None else f"a{edge.target}"
        assert any((start, to) == (f"a{edge.source}", target) for start, _, to in edges)


def test_the_command_draws_good_flows_only(tmp_path: Path) -> None:
    done = ringline("draw", file(tmp_path, [{"type": "beep"}]))
    assert (done.exit_code, len(parse(done.stdout)[0])) == (0, 3)
    wrong = ringline("draw", file(tmp_path, WRONG))
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "4 faults" in wrong.stderr
