"""Train the vision tower so that bounded changes of a picture move its features little (FARE).

Schlarmann et al., ICML 2024, eq. 3: min over phi of E max over |d|_inf <= eps of ||phi(x + d) - phi0(x)||^2,
by projected sign ascent; phi0 is the tower as it was, so bridge and language model keep what they read.
Pictures alone are looked at: any rows with pictures will do, whatever their label. Published: CLIP's pooled
vector, eps 2/255 and 4/255, ten steps; `patches` are what the language model reads. What comes out is a
target, and its folder's tower may stand in another model: `swapped/FOLDER:TARGET`. The price is fine print:
look at reading and exact answers beside the attack's success.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sightline.cases import Eps
from sightline.errors import UsageError, require
from sightline.registry import recipe
from sightline.rng import numpy_rng
from sightline.tuning import Example, Lesson, Part, Plan, Recipe, Robust, Schedule, check_settings

if TYPE_CHECKING:
    import numpy as np

_EPS, _ALPHA = Eps(raw=4), Eps(raw=1)
FROZEN: tuple[Part, ...] = ("bridge", "language", "embeddings")


@recipe(
    "robust_encoder",
    role="defense",
    paper="Schlarmann et al., ICML 2024",
    source="chs20/RobustVLM (idea and loss, by our specification)",
    presets={
        "testbed": {"eps": Eps(raw=8), "alpha": Eps(raw=4), "batch": 8, "steps": 150, "rate": 1e-4},
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RobustEncoder(Recipe):
    """Settings.

    Attributes:
        eps: bound of the attack that the tower is trained against.
        alpha: size of a step of it.
        attack_steps: of it, from a random start.
        features: `patches`, what the language model reads, or the `pooled` vector, as published.
        steps, batch, rate, schedule, warmup, every: of training, as in `safety_sft`; rows are pictures.
    """

    eps: Eps = _EPS
    alpha: Eps = _ALPHA
    attack_steps: int = 5
    features: Literal["patches", "pooled"] = "patches"
    steps: int = 1000
    batch: int = 32
    rate: float = 1e-5
    schedule: Schedule = "cosine"
    warmup: int = 20
    every: int = 100

    def __post_init__(self) -> None:
        require(self.eps.raw >= 1, "eps", self.eps.raw, "1 to 255 levels: a file changes by whole levels")
        require(1 <= self.attack_steps <= 1000, "attack_steps", self.attack_steps, "1..1000 steps")
        check_settings(self, FROZEN)

    def wants_own(self, lesson: Lesson) -> bool:  # noqa: ARG002
        """None: answers are not looked at."""
        return False

    def plan(self, lessons: Sequence[Lesson], seed: int) -> Plan:
        """See `Recipe.plan`; each picture once however many rows show it, those of one size together.

        Raises:
            UsageError: if no row has a picture.
        """
        shown = {image.sha256: each for each in lessons for image in each.prompt.images}
        if not shown:
            raise UsageError("robust_encoder: no row has a picture: name a benchmark with pictures")
        rng = numpy_rng("robust_encoder", seed)
        examples = tuple(Example(prompt=each.prompt, chosen="") for each in shown.values())
        sizes: dict[tuple[int, int], list[int]] = {}
        for number, example in enumerate(examples):
            image = next(iter(example.prompt.images))
            sizes.setdefault((image.width, image.height), []).append(number)
        return Plan(
            examples=examples,
            batches=tuple(self._batches(list(sizes.values()), rng)),
            loss="features",
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            weight_decay=1e-4,
            frozen=FROZEN,
            every=self.every,
            robust=Robust(
                eps=self.eps,
                alpha=self.alpha,
                steps=self.attack_steps,
                features=self.features,
                seed=seed,
            ),
        )

    def _batches(self, sizes: list[list[int]], rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
        """Batches of pictures of one size, sizes by their numbers of pictures, each picture equally often."""
        total = sum(map(len, sizes))
        left: list[list[int]] = [[] for _ in sizes]
        for place in rng.choice(len(sizes), size=self.steps, p=[len(each) / total for each in sizes]):
            queue = left[int(place)]
            while len(queue) < self.batch:
                queue += [sizes[int(place)][int(at)] for at in rng.permutation(len(sizes[int(place)]))]
            yield tuple(queue[: self.batch])
            del queue[: self.batch]
