"""`recorded/MODEL`: answers of a table of responses, row by row; it can be asked nothing else."""

from __future__ import annotations

from sightline.cases import Conversation
from sightline.closure import with_code
from sightline.contracts import Decoding, Recalled
from sightline.errors import UsageError
from sightline.records import Cost, Response
from sightline.responses.table import NO_RESPONSE, Combination, ResponseTable
from sightline.responses.verdicts import flags_of

NAME = "recorded"


class RecordedTarget:
    """A model, under a defense or none, as a table holds its responses. Satisfies `contracts.Recalls`.

    Its decoding is not known; which rows are meant is in the key of what was shown.
    """

    def __init__(self, table: ResponseTable, model: str, defense: str) -> None:
        self._table, self._model, self._defense = table, model, defense
        behind = f", defense {defense}" if defense != "none" else ""
        self.id = with_code(f"{NAME}/{model}{behind}, decoding unknown", __name__)

    def __repr__(self) -> str:
        return f"RecordedTarget({self.id!r})"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:  # noqa: ARG002
        """Never.

        Raises:
            UsageError: always: who answered is not here to be asked.
        """
        raise UsageError(f"{self.id}: only its recorded responses are known; it cannot be asked")

    def recall(self, case: str, attack: str, attempt: int) -> Recalled:
        """The response of a row, with what the file says of it."""
        row = self._table.answer(case, Combination(self._model, attack, self._defense), attempt)
        if row is None:
            error = f"the table has no try {attempt + 1} of this case"
            return Recalled(Response(text="", stop="error", error=error), {})
        about = {"place": row.place, "case": row.case, "verdicts": dict(row.verdicts), **row.about}
        if row.problems:
            error = f"{row.place}: {'; '.join(row.problems)}"
            return Recalled(Response(text="", stop="error", error=error), about)
        missing = row.text is None and row.stop in ("stop", "length")
        return Recalled(
            Response(
                text="" if row.stop == "error" else row.text or "",
                stop="error" if missing else row.stop,
                error=f"{row.place}: {row.error or NO_RESPONSE}"
                if missing or row.stop == "error"
                else row.error,
                flags=flags_of(row.verdicts),
                cost=Cost(tokens_in=row.tokens_in, tokens_out=row.tokens_out),
            ),
            about,
        )
