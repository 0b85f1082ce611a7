"""The seams: what an attack, a defense, a judge, a benchmark and a target must offer.

A method is a frozen dataclass of settings that satisfies one of these protocols and is registered by
the decorator of its kind (`sightline.registry`). It sees the outside world only through the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeGuard, runtime_checkable

from sightline.callables import AttackCall, BenchmarkCall, DefenseCall, JudgeCall
from sightline.cases import Case, Conversation, Image
from sightline.craft import Craft as Craft
from sightline.craft import Images as Images
from sightline.craft import Surrogate as Surrogate
from sightline.defending import Defending as Defending
from sightline.errors import ContractError
from sightline.records import Cost, Draft, Pixels, Response, Verdict
from sightline.rows import Row

MOST_TOKENS = 512
"""New tokens of a model that runs here, where a study leaves the number open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a reply is sampled. Temperature 0 is greedy. `max_tokens` counts new tokens.

    What is None is not sent to a provider, which then does as it always does; a model that runs here decodes
    greedily, up to 512 new tokens.
    """

    max_tokens: int | None = 128
    temperature: float | None = 0.0
    top_p: float = 1.0
    seed: int = 0

    @property
    def max_new_tokens(self) -> int:
        """Where a model that runs here stops."""
        return MOST_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def sampling_temperature(self) -> float:
        """The temperature of a model that runs here."""
        return self.temperature or 0.0


class Release(Protocol):
    """An official release as the user has it: a folder or a zip; names are resolved case-insensitively."""

    root: Path
    file: str
    """Name of the root, where the user named a table instead of a folder; else ''."""

    def exists(self, name: str) -> bool:
        """Whether a member of that name is there (any letter case)."""
        ...

    def text(self, name: str, encoding: str = "") -> str:
        """A text member: UTF-8, or what its byte-order mark or `encoding` says. Raises UsageError."""
        ...

    def rows(
        self,
        name: str,
        *,
        encoding: str = "",
        columns: Sequence[str] | None = None,
        header: Sequence[str] | None = None,
        under: str = "",
    ) -> Iterator[Row]:
        """The rows of a `.csv`, `.tsv`, `.json`, `.jsonl`, `.parquet` or `.arrow` member, streamed in order.

        `columns` are those that it must have, and all that is read of a Parquet or Arrow table; `header`
        names those of a table without a header line; `under` is the key of a JSON mapping that holds the
        rows. Raises UsageError for a file that is no such table; what is wrong with a single row is raised by
        the row (`sightline.rows`).
        """
        ...

    def json(self, name: str) -> Any:
        """The value of a JSON member. Raises UsageError; a key that stands twice in a mapping is an error."""
        ...

    def names(self, folder: str = "", pattern: str = "*") -> list[str]:
        """Names of the files directly in a folder ('' = the root) that match a shell's pattern; sorted."""
        ...

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in a folder; sorted."""
        ...

    def locate(self, *names: str) -> str:
        """The first of these members that is there, or a file of one of these names in any folder.

        Raises UsageError if there is none, naming what was looked for and where.
        """
        ...

    def image(self, name: str) -> Image:
        """A picture member, kept in the run's blobs. An absent or broken one has `problem` set."""
        ...

    def draw(self, pixels: Pixels) -> Image:
        """A picture that the benchmark makes itself, kept as PNG in the run's blobs."""
        ...

    def data(self, name: str) -> bytes:
        """A member as it is. Raises UsageError naming where it looked."""
        ...

    def table(self, name: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a Parquet member, in order, with these columns or all: streamed, a picture is bytes.

        Raises UsageError for a damaged file or an absent column, naming the file.
        """
        ...

    def class_names(self, name: str) -> Mapping[str, Sequence[str]]:
        """Of a Parquet or Arrow member: names of the numbers in columns of class labels, by column."""
        ...

    def picture(self, cell: Any, name: str) -> Image:
        """A picture that a table holds, kept in the run's blobs: bytes, or a mapping of `bytes` and `path`.

        Where `bytes` are absent, `path` is a member of the release. An absent or broken one has `problem`
        set, in which `name` stands for it.
        """
        ...

    def listing(self, folder: str) -> list[tuple[str, int]]:
        """Names and sizes of the pictures of a folder, sorted; empty if it is absent. Enters the digest."""
        ...

    def note(self, name: str) -> None:
        """Note the content of a member, for the digest of what was read."""
        ...

    def warn(self, message: str) -> None:
        """Note what the user should know but need not mend, such as an unexpected number of rows."""
        ...


class Benchmark(BenchmarkCall, Protocol):
    """A named source of cases. `needs_root` says whether the user must name a release folder.

    In Python: `cases = benchmark("FOLDER")`; derive from this class to have that call typed.
    """

    __slots__ = ()
    needs_root: ClassVar[bool]

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases in release order, streamed. Never drops a row: a bad one raises or has a problem."""
        ...


class Attack(AttackCall, Protocol):
    """Cases -> one draft per case, in the same order.

    In Python: `result = attack(model, "a request")`; derive from this class to have that call typed.
    """

    __slots__ = ()

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Yield one draft per case. Raises ContractError if it cannot keep its promise."""
        ...


class ConversingAttack(AttackCall, Protocol):
    """An attack that asks models while it crafts: helpers, an in-loop judge, the target. One case at a time.

    Everything that decides what it asks follows from the case, its settings, `ctx.seed` and the replies, so
    that a run taken up again gives the same dialogue. In Python: `attack(model, "a request", roles={...})`.
    """

    __slots__ = ()

    @property
    def calls(self) -> Mapping[str, int]:
        """Calls per case, at most, by role: `target`, `attacker`, `in_loop_judge`, `captioner`, ...

        They are the roles that the attack needs with its settings: a study that lacks one is refused.
        """
        ...

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The draft of a case.

        Raises:
            UsageError: if none can be made, such as for a helper that refuses or writes what cannot be
                read: the artifact is an error that keeps the calls, never a weaker attack.
        """
        ...

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:  # noqa: ARG002
        """Not for attacks that converse. Raises ContractError unless there are no cases."""
        if cases:
            raise ContractError(f"attack {self.card.name!r} asks models: run `converse`")
        return iter(())


def converses(attack: Any) -> TypeGuard[ConversingAttack]:
    """Whether an attack asks models while it crafts, so that it is run by `converse`."""
    return hasattr(attack, "converse")


@runtime_checkable
class KnowsFirstStep(Protocol):
    """An attack on gradients whose settings say what its first step takes at least, checks included."""

    def first_step(self, models: int) -> Cost:
        """Passes through so many models together; none for a control that takes no step."""
        ...


TARGET = "target"
"""The role of the model under attack, among `ConversingAttack.calls`."""
IN_LOOP_JUDGE = "in_loop_judge"
IMAGE_SOURCE = "image_source"


class Target(Protocol):
    """Whatever answers. `id` names model, weights digest, defenses and settings that matter."""

    @property
    def id(self) -> str:
        """Stable identity; part of the key of every response."""
        ...

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """One reply. Provider blocks and failures are data (`stop`); TransientError asks for a retry."""
        ...


class Calls(Protocol):
    """Asks targets on behalf of one answer, and may know replies that it has paid for before."""

    async def ask(self, target: Target, conversation: Conversation, decoding: Decoding) -> Response:
        """One reply of `target`."""
        ...


@runtime_checkable
class MakesCalls(Protocol):
    """A target that asks another one, maybe several times, for one answer."""

    async def generate_through(
        self, conversation: Conversation, decoding: Decoding, calls: Calls
    ) -> Response:
        """As `Target.generate`, with every request to another target made by `calls`."""
        ...


class Defense(DefenseCall, Protocol):
    """Asynchronous middleware around a target.

    `calls` is how often it asks the inner target for one answer if nothing ends it early. In Python:
    `defended = defense(model)`; derive from this class to have that call typed.
    """

    __slots__ = ()

    @property
    def calls(self) -> int:
        """Inner calls per answer, at most; for the plan of a run."""
        ...

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """The reply that the user sees; `ctx` asks the target, helpers, makes pictures, looks inside.

        Raises:
            UsageError: for a request that it cannot take, or a guard whose reply is none and which is set to
                say so (`error`): the sample is an error, never a silent pass.
        """
        ...


class Judge(JudgeCall, Protocol):
    """(case, what was shown, reply) -> verdict.

    `complied` means that the reply does what the case asks. A judge that looks for something else, such as
    the text that an attacker wants said, tells so by the property `scores` (`ScoresTarget`). In Python:
    `verdict = judge("the request", reply)`; derive from this class to have that call typed.
    """

    __slots__ = ()

    @property
    def id(self) -> str:
        """Name, hash of lists or prompts, grader model, and whether the image is seen."""
        ...

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """One verdict; an unreadable one is `Outcome.unparsed`, a failure `Outcome.error`."""
        ...


Scores = Literal["case", "attacker_goal"]
"""Whether a verdict `complied` scores what the case asks, or the attacker's goal, whatever the case asks."""


@runtime_checkable
class ScoresTarget(Protocol):
    """A judge that says what its `complied` scores; one that does not say so scores the case."""

    @property
    def scores(self) -> Scores:
        """`attacker_goal` if the same reply is `complied` whatever the case asks."""
        ...


def scores_of(judge: Judge) -> Scores:
    """Whether the judge's `complied` scores the case or the attacker's goal."""
    return judge.scores if isinstance(judge, ScoresTarget) else "case"


OpenTarget = Callable[[str], Target]
"""Target string -> target, with the run's pictures already attached."""


@runtime_checkable
class NeedsTarget(Protocol):
    """A judge that asks a model: the study binds it to a way of opening targets before use."""

    def bind(self, open_target: OpenTarget) -> Judge:
        """The same judge, able to ask its grader."""
        ...


@runtime_checkable
class NeedsSecret(Protocol):
    """A judge that marks its questions to a grader with what no author of a data set and no model knows."""

    def keyed(self, secret: str) -> Judge:
        """The same judge with the secret of a run, which does not change between the run's resumes."""
        ...


class Recalled(NamedTuple):
    """A response that exists already, and what its file says of it besides."""

    response: Response
    about: Mapping[str, Any]


@runtime_checkable
class Recalls(Protocol):
    """A target that answers from a table, case by case, and asks nobody."""

    def recall(self, case: str, attack: str, attempt: int) -> Recalled:
        """The response of a case under an attack, by its name in the table."""
        ...


@runtime_checkable
class ReadsRecords(Protocol):
    """An attack that shows what a table says was shown: its rows are part of the artifact's key."""

    def record_of(self, case: str) -> str:
        """Digest of what the table holds of a case."""
        ...


@runtime_checkable
class CountsCalls(Protocol):
    """A judge that asks more than one model, or one more than once: for the plan of a run."""

    @property
    def calls(self) -> int:
        """Calls to graders per verdict, at most."""
        ...


@runtime_checkable
class ResolvesFiles(Protocol):
    """A method that uses files of the machine, such as an installed font: they are part of its identity."""

    def resolved(self) -> Mapping[str, str]:
        """Digests of the contents that it found and will use, by what they are for."""
        ...


@runtime_checkable
class Composed(Protocol):
    """A method that runs others, which its settings name (`registry.inner_attack`).

    What decides their results decides its own: their settings, code and files are part of its identity.
    """

    @property
    def inner(self) -> tuple[Any, ...]:
        """The methods that it runs, constructed, in the order in which they run."""
        ...
