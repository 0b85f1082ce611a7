"""The talk of one case: every call is counted, recorded, kept for a run taken up again, and within budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sightline import registry
from sightline.budget import UNLIMITED, Budget, SpentError
from sightline.cases import Case, Conversation
from sightline.contracts import (
    IMAGE_SOURCE,
    IN_LOOP_JUDGE,
    TARGET,
    Decoding,
    Judge,
    NeedsTarget,
    Target,
)
from sightline.digests import digest
from sightline.errors import ContractError, SightlineError, TransientError, UsageError
from sightline.records import NO_COST, Call, Cost, Draft, Outcome, Pixels, Response, Verdict
from sightline.rng import seed_of
from sightline.store import Blobs
from sightline.study.call_log import CallLog
from sightline.study.replying import KeptCalls, reply
from sightline.study.talkers import Talkers
from sightline.untrusted import sanitized_verdict

T = TypeVar("T")
AUX = "calls_aux"
CALLS = {TARGET: "calls_target", IN_LOOP_JUDGE: "calls_judge"}
"""What a question counts as, by role; that to any other helper is auxiliary. The calls that a defended target
or a jury makes for one question are theirs: tokens count, the question is one."""


@dataclass(frozen=True, slots=True)
class _Grader:
    """A grader of the in-loop judge, asked again where it fails. Satisfies `Target`."""

    kept: KeptCalls
    retries: int

    @property
    def id(self) -> str:
        return self.kept.id

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        found = await reply(self.kept, conversation, decoding, retries=self.retries)
        if found.stop == "error":
            raise TransientError(found.error or "it gave no reason")
        return found


@dataclass(slots=True, kw_only=True)
class CaseTalk:
    """Satisfies `craft.Talk` for one artifact.

    Attributes:
        key: of the artifact.
        attack: its name.
        talkers: who may be asked.
        allowed: calls by role, at most.
        budget: of the artifact.
        log: of all calls of the stage.
        images: where pictures are kept.
        retries: of a failing call.
        seed: of sampled replies.
        calls: made so far, in order.
        spent: on them.
        dearest: operations of the dearest call so far.
        kept: the best draft so far.
        broken: what the user has to mend before any artifact can succeed, such as a rejected key.
    """

    key: str
    attack: str
    talkers: Talkers
    allowed: Mapping[str, int]
    budget: Budget
    log: CallLog
    images: Blobs
    retries: int
    seed: int
    calls: list[Call] = field(default_factory=list)
    spent: Cost = NO_COST
    dearest: float = 0.0
    kept: Draft | None = None
    broken: Exception | None = None
    _times: Counter[str] = field(default_factory=Counter)
    _made: Counter[str] = field(default_factory=Counter)

    async def ask(
        self, role: str, conversation: Conversation, *, max_tokens: int, temperature: float
    ) -> Response:
        """See `Craft.ask`."""
        helper = self.talkers.helpers.get(role)
        if helper is None:
            raise ContractError(
                f"attack {self.attack!r} asks in the role {role!r}, which it does not declare"
            )
        decoding = Decoding(max_tokens=max_tokens, temperature=temperature)
        return await self._asked(role, helper, conversation, decoding)

    async def ask_target(self, conversation: Conversation) -> Response:
        """See `Craft.ask_target`."""
        if self.talkers.target is None:
            raise ContractError(f"attack {self.attack!r} asks the target, and its oracle is none")
        return await self._asked(TARGET, self.talkers.target, conversation, self.talkers.decoding)

    async def verdict(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """See `Craft.verdict`."""
        judge = self.talkers.judge
        if judge is None:
            raise ContractError(f"attack {self.attack!r} asks an in-loop judge that it does not declare")
        self._pay(IN_LOOP_JUDGE)
        place = self._place(IN_LOOP_JUDGE, shown, response.text)
        judging = self._logged(judge, place).judge(case, shown, response)
        try:
            verdict = sanitized_verdict(await self._guarded(IN_LOOP_JUDGE, judging))
        except (ContractError, UsageError):
            raise
        except Exception as bug:  # as in the judge stage: it fails, and the attack is not to blame
            why = str(bug) if isinstance(bug, TransientError) else registry.told(bug)
            raise TransientError(f"the in-loop judge failed: {why}") from bug
        if verdict.outcome is Outcome.error:
            raise TransientError(f"the in-loop judge failed: {verdict.reason}")
        cost = replace(verdict.cost, calls_judge=1)
        said = f"{verdict.outcome.value}. {verdict.reason}".rstrip(". ")
        self._record(IN_LOOP_JUDGE, response.text, said, cost)
        return verdict

    async def picture_of(self, case: Case, prompt: str) -> Pixels:
        """See `Craft.picture_of`."""
        if self.talkers.pictures is None:
            raise ContractError(f"attack {self.attack!r} asks for pictures and declares no image source")
        self._pay(IMAGE_SOURCE)
        place = self._place(IMAGE_SOURCE, prompt)
        seed = seed_of("picture", self.seed, place)
        kept = self.log.picture(place)
        if kept is not None and self.images.whole(kept.sha256):
            pixels = self.images.pixels(kept).copy()  # as a source gives it: whoever asked may change it
        else:
            pixels = await self._drawn(self.talkers.pictures.picture(case, prompt, seed=seed))
            self.log.keep_picture(place, self.images.put_pixels(pixels))
        self._record(IMAGE_SOURCE, prompt, self.talkers.pictures.id, Cost(calls_aux=1))
        return pixels

    async def _drawn(self, work: Awaitable[Pixels]) -> Pixels:
        """What comes of drawing; a picture that the source lacks is a UsageError."""
        try:
            return await work
        except SightlineError:
            raise
        except Exception as bug:  # of a pipeline, such as too little memory: the attack is not to blame
            raise TransientError(f"the image source failed: {registry.told(bug)}") from bug

    @property
    def note(self) -> str:
        """What the artifact's note must say of the pictures that its attack was given."""
        drawn = self.talkers.pictures is not None and self._made[IMAGE_SOURCE] > 0
        return self.talkers.pictures.note if drawn and self.talkers.pictures is not None else ""

    def keep(self, draft: Draft) -> None:
        """See `Craft.keep`."""
        self.kept = draft

    async def _asked(
        self, role: str, target: Target, conversation: Conversation, decoding: Decoding
    ) -> Response:
        """One reply, from the log where it is there.

        Raises:
            TransientError: for a call that fails after its retries.
        """
        self._pay(role)
        place = self._place(role, conversation)
        if decoding.temperature:
            decoding = replace(decoding, seed=seed_of("talk", self.seed, place, bits=31))
        kept = KeptCalls(target, self.log.of(place))
        found = await self._guarded(role, reply(kept, conversation, decoding, retries=self.retries))
        if found.stop == "error":
            raise TransientError(f"the {role} failed: {found.error}")
        one: dict[str, int] = {"calls_target": 0, "calls_aux": 0, "calls_judge": 0, CALLS.get(role, AUX): 1}
        cost = replace(found.cost, **one)
        self._record(role, conversation.last_user_text(), found.text, cost, found)
        return found

    def _place(self, role: str, *asked: object) -> str:
        """Names a call: what is asked, and how often it was; not when: branches run side by side."""
        what = digest(self.key, role, *asked)
        self._times[what] += 1
        return digest(what, self._times[what])

    def _pay(self, role: str) -> None:
        """Make sure that a call may be made.

        Raises:
            SpentError: if the budget does not pay for it.
            ContractError: for more calls than the attack declares.
        """
        most = self.allowed.get(role, 0)
        if self._made[role] == most:
            raise ContractError(
                f"attack {self.attack!r} asks the {role} more than {most} times, the most in its `calls`"
            )
        asked = self._made.copy()
        asked[role] += 1
        limit = self._limit(asked) if self.budget != UNLIMITED else None
        if limit is not None:
            raise SpentError(f"{self.attack}: the budget's {limit} are used up ({self.budget})")
        self._made = asked

    def _limit(self, asked: Mapping[str, int]) -> str | None:
        """The limit beyond which calls lie, with those under way.

        What a call takes is known afterwards: of operations it is taken for as dear as the dearest before it.
        """
        price = sum((Cost(**{CALLS.get(each, AUX): n}) for each, n in asked.items()), NO_COST)
        used = {"tokens": self.spent.tokens_in + self.spent.tokens_out, "seconds": self.spent.seconds}
        for name, amount in used.items():
            most_of_it = getattr(self.budget, name)
            if most_of_it is not None and amount >= most_of_it:
                return name
        if self.budget.flops is not None and self.spent.flops + self.dearest > self.budget.flops:
            return "flops"
        return self.budget.exceeded(price)

    def _logged(self, judge: Judge, place: str) -> Judge:
        """The in-loop judge, its graders' replies taken from the log where they are there."""
        opener = self.talkers.open_target
        if not isinstance(judge, NeedsTarget) or opener is None:
            return judge
        return judge.bind(
            lambda name: _Grader(KeptCalls(opener(name), self.log.of(digest(place, name))), self.retries)
        )

    async def _guarded(self, role: str, work: Awaitable[T]) -> T:
        """What comes of asking; an error that the user has to mend ends the run, not only this artifact."""
        try:
            return await work
        except (UsageError, ContractError) as wrong:
            kind = UsageError if isinstance(wrong, UsageError) else ContractError
            self.broken = kind(f"attack {self.attack!r}, role {role!r}: {wrong}")
            raise self.broken from wrong

    def _record(self, role: str, asked: str, said: str, cost: Cost, response: Response | None = None) -> None:
        self.spent = self.spent + cost
        self.dearest = max(self.dearest, cost.flops)
        stop = "stop" if response is None else response.stop
        self.calls.append(
            Call(
                purpose=role,
                asked=asked,
                text=said,
                stop=stop,
                tokens_in=cost.tokens_in,
                tokens_out=cost.tokens_out,
            )
        )
