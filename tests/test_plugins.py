"""What goes wrong with a method of one's own, and what is said then: names, facts, settings, bounds."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from toys import ToyPlain, ToyQuestions

import sightline as sl
from sightline import cards, registry
from sightline.cases import Eps, ThreatModel
from sightline.console import PAUSE, LineProgress
from sightline.contracts import Attack, Defense, Judge
from sightline.errors import ContractError, SightlineError, UsageError
from sightline.records import Draft
from sightline.registry import attack, defense, judge
from sightline.study.config import load, parse
from sightline.study.lock import study_of

ANY = ThreatModel()


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in cards.KINDS:
        for name in registry.names(kind):
            registry.card(kind, name)  # ours are registered for good
    monkeypatch.setattr(registry, "_cards", dict(registry._cards))


def registered(name: str, cls: str = "Mine", **facts: Any) -> Any:
    """A class of that name, registered as an attack, as a cell of a notebook would."""

    def craft(self: Any, cases: Any, ctx: Any) -> Iterator[Draft]:
        yield from (Draft(case=case) for case in cases)

    made = type(cls, (Attack,), {"craft": craft, "__module__": __name__, "__doc__": "Mine."})
    return attack(name, **{"threat": ANY, **facts})(dataclass(frozen=True, kw_only=True)(made))


# -- names -------------------------------------------------------------------------------------------------


def test_a_script_cannot_take_the_name_of_one_of_ours() -> None:
    before = sl.attacks.FigStep
    with pytest.raises(
        UsageError, match=r"attack 'figstep' is Sightline's \(.*figstep\); register yours under"
    ):
        registered("figstep")
    assert sl.attacks.FigStep is before
    assert registry.card("attack", "figstep").factory is before


def test_nor_before_ours_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._cards, ("attack", "figstep"))
    with pytest.raises(
        UsageError, match=r"'figstep' is Sightline's \(module sightline.attacks.typographic.fig"
    ):
        registered("figstep")


def test_the_same_cell_may_run_again_and_another_class_may_not_take_its_name() -> None:
    registered("mine")
    again = registered("mine")
    assert registry.card("attack", "mine").factory is again
    with pytest.raises(UsageError, match=r"'mine' is registered already \(class Mine of .*test_plugins\)"):
        registered("mine", cls="Other")


PLUGIN = """
from dataclasses import dataclass
from sightline import Draft, ThreatModel
from sightline.registry import attack, defense, judge
from sightline.study.config import load, parse
from sightline.study.lock import study_of
@attack("{name}", threat=ThreatModel(), {facts})
@dataclass(frozen=True, kw_only=True)
class {cls}:
    '''Mine.'''
    def craft(self, cases, ctx):
        yield from (Draft(case=case, text="{cls}") for case in cases)
"""


def package(folder: Path, name: str, modules: dict[str, str], points: dict[str, str]) -> None:
    """A package as installed, whose entry points are attacks."""
    facts = folder / f"{name}-1.0.dist-info"
    for each in (folder / name, facts):
        each.mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(textwrap.dedent(text))
    lines = "".join(f"{left} = {right}\n" for left, right in points.items())
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[sightline.attacks]\n{lines}")
    (facts / "RECORD").write_text("")


def python(folder: Path, *arguments: str) -> str:
    """What Python says with these packages beside ours; on standard error too."""
    path = os.pathsep.join([str(folder), str(Path(sl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": path, "COLUMNS": "300"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return " ".join((done.stdout + done.stderr).split())


def test_entry_points_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    def plugin(name: str, cls: str, facts: str = "") -> str:
        return PLUGIN.format(name=name, cls=cls, facts=facts)

    modules = {
        "figs": plugin("figstep", "Figs"), "good": plugin("good_one", "GoodOne"),
        "impl": plugin("via", "Via"), "api": "from bad_pkg.impl import Via\n",
        "odd": plugin("e_named", "Odd"),
        "fact": plugin("fact", "Fact", "foo=1"), "two": plugin("two", "Two"),
    }  # fmt: skip
    points = {
        "figstep": "bad_pkg.figs", "good_one": "bad_pkg.good", "via": "bad_pkg.api", "e_other": "bad_pkg.odd",
        "missing": "bad_pkg.e_missing", "fact": "bad_pkg.fact", "two": "bad_pkg.two",
    }  # fmt: skip
    package(tmp_path, "bad_pkg", modules, points)
    package(tmp_path, "other_pkg", {"two": plugin("two", "Two")}, {"two": "other_pkg.two"})
    listed = python(tmp_path, "-m", "sightline", "list", "attacks")
    for told in (
        "plug-in bad_pkg.figs: ignored, name taken by sightline.attacks.typographic.figstep",
        "does not register an attack called 'e_other': it registers 'e_named'",
        "package 'bad_pkg' has no module 'e_missing'; check the entry point",
        "attack 'fact': unknown fact of @attack 'foo'. Known:",
        "attack 'two' is the name of two plug-ins",
        "good_one Mine.",
        "via Mine.",
    ):
        assert told in listed, listed
    code = "import sightline as sl; print(sl.attacks.FigStep, sl.attacks.GoodOne); import bad_pkg.figs"
    said = python(tmp_path, "-c", code)
    assert "typographic.figstep.FigStep" in said
    assert "UsageError: attack 'figstep' is Sightline's" in said


def test_an_attack_without_a_threat_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"attack 'mine': .* threat=ThreatModel"):
        attack("mine")  # type: ignore[call-arg]


# -- settings ----------------------------------------------------------------------------------------------


@attack("toy_ruled", threat=ThreatModel(may_edit=frozenset({"image"})))
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRuled(Attack):
    """`eps` is promised; `shift`: what is done."""

    eps: str = "4/255"
    rule: Literal["sign", "raw"] = "sign"
    words: tuple[str, ...] = ()
    shift: int = 3
    measured: bool = True

    def craft(self, cases: Any, ctx: Any) -> Iterator[Draft]:
        assert isinstance(self.words, tuple)
        for case in cases:
            clean = np.full((8, 8, 3), 20, np.uint8)
            yield Draft(case=case, clean=clean if self.measured else None, image=clean + np.uint8(self.shift))


def study(method: Any) -> sl.Study:
    return sl.Study(
        "own", targets=["scripted/echo"], benchmarks=[ToyQuestions(n=3)], attacks=["none", method],
        judges=["toy_judge"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rule": "adam"}, "attack 'toy_ruled', setting 'rule': Input should be 'sign' or 'raw', got 'adam'"),
        ({"eps": 16}, "attack 'toy_ruled', setting 'eps': Input should be a valid string, got 16"),
        ({"eps": "16/256"}, "attack 'toy_ruled', setting 'eps': eps='16/256' is not N/255: write '8/255'"),
        ({"eps": "16"}, "eps='16' is ambiguous"),
    ],
)
def test_settings_are_checked_in_python_as_in_a_study(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        ToyRuled(**settings)(None, "hi", quiet=True)
    assert told in str(raised.value)
    with pytest.raises(UsageError) as raised:
        study(ToyRuled(**settings))
    assert told in str(raised.value)


def test_a_list_that_stands_for_a_tuple_becomes_one_and_what_is_right_stays() -> None:
    assert ToyRuled(words=["a", "b"])(None, "hi", quiet=True).norms["linf"] == 3  # type: ignore[arg-type]
    right = ToyRuled(rule="raw")
    assert registry.checked(right) is right
    assert registry.checked(sl.judges.TestbedPolicy()) == sl.judges.TestbedPolicy()


@pytest.mark.parametrize(
    "called",
    [
        lambda: sl.defenses.SystemPrompt(placement="x")("scripted/echo"),
        lambda: sl.judges.RefusalPrefix(mode="x")("a", "b"),
        lambda: sl.benchmarks.TestbedRequests(subset="x")(),
    ],
)
def test_other_kinds_are_checked_when_they_are_called(called: Any) -> None:
    with pytest.raises(UsageError, match=r"setting '.*': Input should be .*, got .x."):
        called()


# -- bounds ------------------------------------------------------------------------------------------------


def test_a_setting_eps_is_a_promise_that_every_file_is_held_to(tmp_path: Path) -> None:
    assert ToyRuled()(None, "hi", quiet=True).norms["linf"] == 3
    broken = r"attack 'toy_ruled', case .*: linf 200 on the written file, more than eps 4"
    with pytest.raises(ContractError, match=broken):
        ToyRuled(shift=200)(None, "hi", quiet=True)
    with pytest.raises(ContractError, match=broken):
        study(ToyRuled(shift=200)).run(out=tmp_path, quiet=True)
    with pytest.raises(ContractError, match="no clean picture"):
        ToyRuled(measured=False)(None, "hi", quiet=True)
    assert ToyRuled(eps="", shift=200)(None, "hi", quiet=True).norms["linf"] == 200


def test_of_two_promises_the_smaller_one_holds() -> None:
    assert registry.promised(ToyRuled()) == Eps(raw=4)
    assert registry.promised(ToyPlain()) is None
    small = registered("small", threat=ThreatModel(eps=Eps(raw=2)))
    assert registry.promised(small()) == Eps(raw=2)


# -- exceptions --------------------------------------------------------------------------------------------


@attack("toy_bug", threat=ANY)
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyBug(Attack):
    """Fails in one of several ways."""

    how: str = "raises"

    def craft(self, cases: Any, ctx: Any) -> Any:
        if self.how == "nothing":
            return None
        if self.how == "texts":
            return iter(["a text"])
        return self._drafts(cases)

    def _drafts(self, cases: Any) -> Iterator[Draft]:
        for case in cases:
            yield Draft(case=case, text={"a": "b"}[self.how])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raises", r"attack 'toy_bug', case .*: KeyError: 'raises' \(tests/test_plugins.py:\d+\)"),
        ("nothing", r"attack 'toy_bug': craft returned None: yield one Draft per case"),
        ("texts", r"attack 'toy_bug': craft gave str: yield one Draft per case"),
    ],
)
def test_an_attack_that_fails_is_told_in_one_line(tmp_path: Path, how: str, told: str) -> None:
    with pytest.raises(SightlineError, match=f"^{told}") as raised:
        study(ToyBug(how=how)).run(out=tmp_path, quiet=True)
    assert "\n" not in str(raised.value)
    kept = tmp_path / "traceback.txt"
    assert kept.exists() == (how == "raises")
    if how == "raises":
        assert str(raised.value).endswith(f"; the traceback is in {kept}")
        assert "in _drafts" in kept.read_text()
    with pytest.raises(SightlineError, match=f"^{told}"):
        ToyBug(how=how)(None, "hi", quiet=True)


def test_a_judge_and_a_defense_that_fail_are_counted_with_their_place(tmp_path: Path) -> None:
    @judge("toy_broken_judge")
    @dataclass(frozen=True, kw_only=True)
    class Broken(Judge):
        """Fails, or says nothing."""

        silent: bool = False

        @property
        def id(self) -> str:
            return f"toy_broken_judge({self.silent})"

        async def judge(self, case: Any, shown: Any, response: Any) -> Any:
            return None if self.silent else {}["oops"]

    @defense("toy_broken_defense")
    @dataclass(frozen=True, kw_only=True)
    class BrokenDefense(Defense):
        """Fails."""

        calls = 1

        async def respond(self, conversation: Any, ctx: Any) -> Any:
            return {}["oops"]

    place = r"KeyError: 'oops' \(tests/test_plugins.py:\d+\)$"
    verdict = Broken()("a", "b")
    assert verdict.outcome == "error"
    assert re.fullmatch(f"judge failed: {place}", verdict.reason)
    with pytest.raises(ContractError, match="judge 'toy_broken_judge' returned NoneType, not a Verdict"):
        Broken(silent=True)("a", "b")
    reply = BrokenDefense()("scripted/echo").ask("hi")
    assert reply.stop == "error"
    assert re.fullmatch(place, reply.error or "")


# -- messages of a study -----------------------------------------------------------------------------------

STUDY = """study: own
benchmarks: [toy_questions]
targets: [scripted/echo]
judges: [toy_judge]
attacks:
  - name: gcg
    surrogate: testbed/linear
    """


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            "budget: {backward: 10}",
            r":8: attacks.0.budget.backward: .*Did you mean 'backwards' .* Known: aux_calls, backwards",
        ),
        ("surogate: testbed/linear", r"unknown key of attack 'gcg' 'surogate'. Did you mean 'surrogate'"),
        ("budgets: {backwards: 10}", r"unknown key of attack 'gcg' 'budgets'. Did you mean 'budget'"),
        ("stepps: 3", r"unknown setting of attack 'gcg' 'stepps'. Did you mean 'steps'"),
        (
            "label: x\ndecoding: {max_token: 3}",
            r"'max_token'. Did you mean 'max_tokens'\? Known: max_tokens, te",
        ),
        ("label: x\nresponses: {file: a.csv}", r"Did you mean 'files'"),
    ],
)
def test_an_unknown_key_is_told_with_the_keys_of_its_place(more: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse(STUDY + more)


def test_the_lock_of_a_run_is_no_study_and_methods_of_a_script_are_told(tmp_path: Path) -> None:
    registered("shouted")
    study("shouted").run(out=tmp_path, quiet=True)
    with pytest.raises(UsageError, match=r"is the lock of a run.*`sightline craft .*`, then"):
        load(tmp_path / "study.lock.yaml")
    del registry._cards["attack", "shouted"]
    with pytest.raises(UsageError, match=r"unknown attack 'shouted'.*of a script .* entry point"):
        study_of(tmp_path)


def test_a_call_in_python_says_nothing_unless_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    registered("quick")()(None, "hi")
    assert capsys.readouterr() == ("", "")
    shown, now = io.StringIO(), 0.0
    lines = LineProgress(shown, lambda: now, brief=True)
    lines.start("slow", 5, 0)
    now = PAUSE
    lines.advance()
    lines.finish()
    assert shown.getvalue().splitlines() == [
        "slow: started, 5 rows",
        "slow: 1 of 5 (20 %)",
        "slow: done, 1 rows",
    ]
