"""A tree of prompts: an attacker branches from each reply, off-topic and weak branches are cut (TAP).

Mehrotra et al., "Tree of Attacks: Jailbreaking Black-Box LLMs Automatically", arXiv:2312.02119. Official:
RICommunity/TAP, main_TAP.py, evaluators.py, conversers.py, common.py, commit 7bcdad3. Verified there: one
root; per level every node is continued `branching` times, prompts that an evaluator finds off topic are cut
and the rest down to `width`, these are sent to the target without a history and judged, and the best
`width` go on; ties are broken at random; the attacker's history is cut to the last 3 exchanges, 5 tries to
read its JSON, 500 tokens at temperature 1; a full success ends it. Width 10 and depth 10 are the defaults
of its code, branching 4 is the paper's (from memory; 1 in the code, which is PAIR). PyRIT (romanlutz/PyRIT,
tree_of_attacks_with_pruning_orchestrator.py) has width 3, depth 5, branching 2 and stops at 0.8: preset
`pyrit`; its first level holds `width` nodes.

Known there, not here. If every branch is cut, the official `prune` takes a score for an index and keeps
other branches than it says; an evaluator or judge that cannot be read counts as on topic, or as the lowest
score. Here the tree ends where all are off topic, an evaluator that cannot be read is an error of crafting,
and a verdict that cannot be read is told as such.

Deviations. The prompts are ours. The attacker itself says what is on topic unless `evaluator` names another
role ('' for none). Each continuation says its number, so that an attacker that decodes greedily branches,
too. As in the official code a branch that cannot be read is dropped; the note counts these, and a level
without any other is an error of crafting. The case's pictures stay beside the prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from sightline.attacks.answers import Parts, choice, parts
from sightline.attacks.conversation._texts import texts
from sightline.attacks.dialogue import ask_until_read, progress, prompt, settled
from sightline.attacks.loops import (
    Attacker,
    Attempt,
    Best,
    attempts,
    check_counts,
    check_threshold,
    goal_slots,
    result,
    shown_reply,
    written,
)
from sightline.attacks.templates import filled
from sightline.budget import SpentError
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import IN_LOOP_JUDGE, TARGET, ConversingAttack, Craft
from sightline.errors import UsageError
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng

T = TypeVar("T")
TOPIC_TRIES = 3
TOPIC_TOKENS = 64
PRESETS: Presets = {"pyrit": {"roots": 3, "width": 3, "depth": 5, "branching": 2, "threshold": 0.8}}


class Node(NamedTuple):
    """Where the tree goes on: an attacker with its history, and what it is asked next."""

    attacker: Attacker
    question: str


class Leaf(NamedTuple):
    """A node and the prompt that its attacker wrote."""

    node: Node
    proposal: Parts


@dataclass(slots=True)
class Cut:
    """How many branches were dropped, and why one could not be read."""

    unreadable: int = 0
    off_topic: int = 0
    why: str = field(default="")


@attack(
    "tap",
    paper="arXiv:2312.02119",
    source="RICommunity/TAP: main_TAP.py",
    threat=ThreatModel(oracle="undefended", may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/tap.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Tap(ConversingAttack):
    """Settings.

    Attributes:
        width: prompts per level that the target is asked, at most.
        depth: levels.
        branching: continuations of each node.
        roots: nodes before the first level.
        keep_last: exchanges of its history that an attacker sees.
        evaluator: the role that says whether a prompt is on topic; '' to cut none for it.
        threshold: how far a reply goes (1 all, 0.5 a part of what is asked) that ends the tree.
        tries: of an attacker whose answer cannot be read.
        max_tokens: of an attacker's answer.
        temperature: of the attacker.
    """

    width: int = 10
    depth: int = 10
    branching: int = 4
    roots: int = 1
    keep_last: int = 3
    evaluator: str = "attacker"
    threshold: float = 1.0
    tries: int = 5
    max_tokens: int = 500
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_counts(width=self.width, depth=self.depth, branching=self.branching, roots=self.roots)
        check_counts(keep_last=self.keep_last, tries=self.tries)
        check_threshold(self.threshold)
        if self.evaluator in (TARGET, IN_LOOP_JUDGE):
            raise UsageError(f"tap: evaluator={self.evaluator!r} cannot compare texts: name a helper's role")

    @property
    def calls(self) -> Mapping[str, int]:
        """Of a tree in which nothing is cut but for its width."""
        nodes, branches, shown = self.roots, 0, 0
        for _ in range(self.depth):
            branches += nodes * self.branching
            nodes = min(self.width, nodes * self.branching)
            shown += nodes
        found = Counter({"attacker": branches * self.tries, TARGET: shown, IN_LOOP_JUDGE: shown})
        if self.evaluator:
            found[self.evaluator] += branches * TOPIC_TRIES
        return dict(found)

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The prompt whose reply went furthest."""
        slots = goal_slots(case)
        root = Node(Attacker(filled(texts("tap")["system"], **slots)), texts("tap")["first"])
        nodes, best, cut = [root] * self.roots, Best(ctx, case), Cut()
        for depth in range(1, self.depth + 1):
            rng = numpy_rng("tap", ctx.seed, case.id, depth)
            leaves = await self._branched(nodes, ctx, cut)
            leaves = await self._on_topic(leaves, slots["goal"], ctx, cut)
            leaves = _first(leaves, [0.0] * len(leaves), self.width, rng)
            if not leaves:
                break
            place = f"level {depth} of {self.depth}"
            best.untried(leaves[0].proposal["prompt"], place)
            tried = await attempts(ctx, case, [each.proposal["prompt"] for each in leaves])
            for made in tried.made:
                if made is not None:
                    best.tried(made.dialogue, made.verdict, place)
            if tried.spent is not None:
                raise tried.spent
            if best.score >= self.threshold:
                break
            judged = [(leaf, made) for leaf, made in zip(leaves, tried.made, strict=True) if made is not None]
            scores = [progress(made.verdict) for _, made in judged]
            nodes = [self._next(*each, slots["goal"]) for each in _first(judged, scores, self.width, rng)]
        if best.draft is None:
            raise UsageError(
                f"tap: all {cut.off_topic} branches of the first level were off topic: the attacker does not "
                "keep to the request; name another model for the role"
            )
        lost = f"{cut.unreadable} branches could not be read ({cut.why})" if cut.unreadable else ""
        off = f"{cut.off_topic} branches were off topic" if cut.off_topic else ""
        return best.found("; ".join(part for part in (off, lost) if part))

    async def _branched(self, nodes: Sequence[Node], ctx: Craft, cut: Cut) -> list[Leaf]:
        """All continuations of all nodes that can be read."""
        asked = []
        for version in range(1, self.branching + 1):
            label = filled(texts("tap")["version"], version=str(version), versions=str(self.branching))
            for place, node in enumerate(nodes, start=1):
                root = f" (Root {place}.)" if len(nodes) > 1 and not node.attacker.history else ""
                asked.append(Node(node.attacker, f"{node.question}\n{label}{root}"))
        proposals = await settled([self._proposal(node, ctx) for node in asked])
        leaves = []
        for node, found in zip(asked, proposals.results, strict=True):
            if isinstance(found, str):
                cut.unreadable += 1
                cut.why = found
            elif found is not None:
                leaves.append(Leaf(node, found))
        if proposals.spent is not None:
            raise proposals.spent
        if not leaves:
            raise UsageError(cut.why)
        return leaves

    async def _proposal(self, node: Node, ctx: Craft) -> Parts | str:
        """What the attacker writes, or why that cannot be read."""
        try:
            return await ask_until_read(
                ctx,
                "attacker",
                node.attacker.asked(node.question),
                parts("improvement", "prompt"),
                tries=self.tries,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
            )
        except SpentError:
            raise
        except UsageError as unread:
            return str(unread)

    async def _on_topic(self, leaves: list[Leaf], goal: str, ctx: Craft, cut: Cut) -> list[Leaf]:
        """The leaves whose prompts ask for what is asked, as the evaluator says."""
        if not self.evaluator:
            return leaves

        async def topic(leaf: Leaf) -> str:
            question = filled(texts("tap")["topic"], goal=goal, prompt=leaf.proposal["prompt"])
            return await ask_until_read(
                ctx,
                self.evaluator,
                prompt(texts("tap")["topic_system"], question),
                choice("topic", "yes", "no"),
                tries=TOPIC_TRIES,
                max_tokens=TOPIC_TOKENS,
            )

        said = await settled([topic(leaf) for leaf in leaves])
        if said.spent is not None:
            raise said.spent
        kept = [leaf for leaf, answer in zip(leaves, said.results, strict=True) if answer == "yes"]
        cut.off_topic += len(leaves) - len(kept)
        return kept

    def _next(self, leaf: Leaf, made: Attempt, goal: str) -> Node:
        """Where the tree goes on from a leaf that was tried."""
        question = filled(
            texts("tap")["again"],
            goal=goal,
            prompt=leaf.proposal["prompt"],
            reply=shown_reply(made.reply),
            result=result(made.verdict),
        )
        node = leaf.node
        return Node(node.attacker.after(node.question, written(leaf.proposal), self.keep_last), question)


def _first(found: Sequence[T], scores: Sequence[float], most: int, rng: np.random.Generator) -> list[T]:
    """The best of what was found, ties broken at random, in the order in which they were found."""
    order = sorted(rng.permutation(len(found)).tolist(), key=lambda place: -scores[place])
    return [found[place] for place in sorted(order[:most])]
