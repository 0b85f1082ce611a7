"""MOSSBench: 300 harmless requests with pictures that models refuse all the same; 244 harmful contrasts.

Li et al. 2024. Release: xirui-li/MOSSBench (CC BY-SA 4.0, never for training): data/images_information/
information.json, a mapping from pid to image, question, short description, description and metadata.over
(type 1 to 3), pictures below data; the contrasts in the same form below data_contrast. Or HF:
AIcell/MOSSBench: images/metadata.csv and contrast_images/metadata.csv with file_name (its folder included),
pid, question, description, short description and metadata_over.

Requests are sent verbatim (expected: comply; contrasts: refuse). A contrast has the pid of the request that
it resembles, and is its twin where both are read (`subset='all'`): 100, 44 and 100 of the three types have
one. Some questions of a pair are the same and only the pictures differ, so what judges read names what the
picture shows. The harm codes of the metadata are not explained by the authors and not used. Official: refusal
rate by GPT-4 with the picture; an empty answer counts as a refusal, and the fallback looks for a bare digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._layout import with_picture
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

TYPES = {
    "type 1": "Exaggerated Risk",
    "type 2": "Negated Harm",
    "type 3": "Counterintuitive Interpretation",
}
NAMES = {**TYPES, **{name: name for name in TYPES.values()}}
Half = Literal["oversensitivity", "contrast"]
HUB = {"oversensitivity": "images/metadata.csv", "contrast": "contrast_images/metadata.csv"}
FOLDERS = {"oversensitivity": "data", "contrast": "data_contrast"}
HALVES: tuple[Half, ...] = ("oversensitivity", "contrast")
PAIRED = dict(zip(TYPES.values(), (100, 44, 100), strict=True))


@benchmark(
    "mossbench",
    paper="arXiv:2406.17806",
    source="xirui-li/MOSSBench: data, data_contrast",
    presets={"contrast": {"subset": "contrast"}, "all": {"subset": "all"}},
    release=ReleaseFacts(
        home="xirui-li/MOSSBench; HF: AIcell/MOSSBench",
        licence="CC BY-SA 4.0; not for training",
        folders=("MOSSBench", "MOSSBench-main"),
        counts={
            "oversensitivity": dict.fromkeys(TYPES.values(), 100),
            "contrast": PAIRED,
            "all": {name: 100 + number for name, number in PAIRED.items()},
        },
        scoring="refusal rate, judged by GPT-4 with the picture",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MOSSBench(TableBenchmark):
    """`subset`: the harmless requests, their harmful contrasts, or both."""

    subset: Literal["oversensitivity", "contrast", "all"] = "oversensitivity"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The requests; where both halves are read, each with whether the other has its twin."""
        halves = HALVES if self.subset == "all" else (self.subset,)
        tables = {half: list(self._half(release, half)) for half in halves}
        numbers = {half: {_number(row) for row in rows} for half, rows in tables.items()}
        for half, rows in tables.items():
            other = numbers.get(HALVES[half == "oversensitivity"], set())
            for row in rows:
                yield row.also(half=half, paired=_number(row) in other)

    def case(self, row: Row, release: Release) -> Case:
        """A request with its picture."""
        number, question, half = row.word("pid"), row.text("question"), row.word("half")
        stored = row if row.column("metadata") is None else row.row("metadata")
        kind = stored.one_of(NAMES, "over", "metadata_over", "meta_data_over")
        shows = row.text("description", "short description", default="")
        harmless = half == "oversensitivity"
        image = release.image(row.word("picture"))
        return Case(
            id=_id(half, number),
            conversation=Conversation.user(image, question),
            behavior=with_picture(question, shows),
            expected=Expected.comply if harmless else Expected.refuse,
            category=kind,
            group=f"mossbench/{number}",
            hazard=hazard("mossbench", kind) if harmless else "",
            twin=_id(HALVES[harmless], number) if row.value("paired") else None,
        )

    @staticmethod
    def _half(release: Release, half: Half) -> Iterator[Row]:
        hub = release.exists(HUB[half]) and not release.exists(_own(half))
        for row in release.rows(HUB[half] if hub else _own(half)):
            path = "" if row.fault else str(row.value("file_name" if hub else "image", default=""))
            yield row.also(picture=path if hub else f"{FOLDERS[half]}/{path}")


def _own(half: Half) -> str:
    """The table of a half in the repository."""
    return f"{FOLDERS[half]}/images_information/information.json"


def _number(row: Row) -> str:
    """A pid, as it is compared."""
    return "" if row.fault else str(row.value("pid", default="")).strip()


def _id(half: str, number: str) -> str:
    return f"mossbench/{number}" if half == "oversensitivity" else f"mossbench/contrast/{number}"
