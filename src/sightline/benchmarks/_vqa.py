"""Questions and ten persons' answers in the official form of VQA, which OK-VQA has too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sightline.benchmarks._coco import coco_number, coco_picture, coco_places
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.rows import Row, RowProblem

SHORT = "Answer with one word or a short phrase."
"""Our wording. Replies are compared with short answers, so that a model has to know of it."""


def commonest(answers: Sequence[str]) -> str:
    """The answer that most persons gave; of equals the first."""
    counts = Counter(answers)
    return max(answers, key=lambda answer: counts[answer])


def question_rows(release: Release, questions: str, annotations: str, folder: str) -> Iterator[Row]:
    """The questions in order, each with its annotation; also annotations that cannot be used."""
    found: dict[str, Row] = {}
    places = coco_places(release, folder)
    for row in release.rows(release.locate(annotations), under="annotations"):
        try:
            number = row.word("question_id")
            if number in found:
                raise row.problem(f"question {number} was already in {found[number].where}")
            found[number] = row
        except RowProblem as bad:
            yield faulty(row, bad)
    for row in release.rows(release.locate(questions), under="questions"):
        yield row.also(_annotation=found.pop(str(row.fields.get("question_id")), None), _places=places)
    for row in found.values():
        yield faulty(row, row.problem("there is no question with this number"))


def faulty(row: Row, bad: RowProblem) -> Row:
    """A row that cannot be used, for the list of all of them."""
    return Row(row.file, row.unit, row.number, {}, key=row.key, fault=row.fault or bad.what)


def vqa_case(row: Row, release: Release, *, name: str, kind: str) -> Case:
    """A question about a COCO picture; `kind` is the column of the annotation with its category."""
    annotation = row.value("_annotation")
    if not isinstance(annotation, Row):
        raise row.problem("there is no annotation with this question's number")
    number, question = coco_number(row, "image_id"), row.text("question")
    answers = tuple(each.text("answer") for each in annotation.rows("answers"))
    if not answers:
        raise annotation.problem("'answers' is empty")
    return Case(
        id=f"{name}/{row.word('question_id')}",
        conversation=Conversation.user(
            coco_picture(release, number, row.value("_places")), f"{question}\n{SHORT}"
        ),
        behavior=question,
        expected=Expected.answer,
        category=annotation.word(kind),
        group=f"coco/{number}",
        answer=commonest(answers),
        answers=answers if len(answers) > 1 else (),
    )
