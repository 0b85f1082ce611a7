"""Let the target judge its own answer; if it is not harmless, answer again from a caption of the picture.

ECSO (Gou et al., ECCV 2024, arXiv 2403.09572): the alignment that a picture opens is intact in text.
(1) answer; (2) tell: the same model, with the picture, says whether the answer is harmless (it is shown
`reply_letters` characters of it); only a reply that is exactly `yes` lets it pass; (3) else caption the
picture with the request in mind; (4) answer again from the caption alone. One further call if the answer is
harmless, three if not. Requests without pictures are answered as they are. A reply to `tell` that is neither
yes nor no is flagged `tell_unparsed` and, as in the paper, treated like a no; `on_unparsed` changes that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.contracts import Defending, Defense
from sightline.defenses._guarding import OnDoubt, failed
from sightline.defenses._texts import deciding_word, filled, with_last_text, without_pictures, wording
from sightline.errors import require
from sightline.records import Response

REPLY_LETTERS = 1927
UNPARSED = "tell_unparsed"


@registry.defense(
    "ecso",
    paper="arXiv:2403.09572",
    source="gyhdog99/ECSO (order of calls, the cut of the answer); own texts: defenses/texts/ecso.yaml",
    data=("texts/ecso.yaml",),
    presets={"testbed": {"wording": "testbed"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Ecso(Defense):
    """Settings.

    Attributes:
        wording: name of a set of questions in `texts/ecso.yaml`.
        reply_letters: how much of the answer the second call sees, in characters.
        on_unparsed: what follows if the reply to `tell` is neither yes nor no: `closed` answers again from
            the caption, `open` lets the answer pass, `error` makes the sample an error.
    """

    wording: str = "natural"
    reply_letters: int = REPLY_LETTERS
    on_unparsed: OnDoubt = "closed"

    def __post_init__(self) -> None:
        require(0 < self.reply_letters <= 100_000, "reply_letters", self.reply_letters, "1..100000")
        wording("ecso", self.wording, "wording of defense 'ecso'")

    @property
    def calls(self) -> int:
        """Answer, tell, caption, answer again."""
        return 4

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer; unless the answer is harmless, answer again without the picture."""
        answer = await ctx.generate(conversation)
        if not any(True for _ in conversation.images):
            return answer
        texts = wording("ecso", self.wording, "wording")
        said = (await ctx.generate(self._tell(conversation, answer, texts["tell"]), purpose="tell")).text
        word = deciding_word(said, texts)
        if word is None:
            if self.on_unparsed == "error":
                return failed(answer, f"the reply to `tell` is neither yes nor no: {said[:80]!r}", UNPARSED)
            answer = replace(answer, flags=(*answer.flags, UNPARSED))
            word = texts["safe"] if self.on_unparsed == "open" else texts["unsafe"]
        if word == texts["safe"]:
            return answer
        request = conversation.last_user_text()
        caption = await ctx.generate(
            with_last_text(conversation, filled(texts["caption"], request=request)), purpose="caption"
        )
        typed = filled(texts["again"], request=request, caption=caption.text)
        again = await ctx.generate(without_pictures(conversation, typed), purpose="again")
        return replace(again, flags=(*answer.flags, *again.flags, "answered_again"))

    def _tell(self, conversation: Conversation, answer: Response, question: str) -> Conversation:
        if "{reply}" not in question:
            return conversation.then(Turn("assistant", (answer.text,)), Turn("user", (question,)))
        reply = answer.text[: self.reply_letters]
        text = filled(question, request=conversation.last_user_text(), reply=reply)
        return with_last_text(conversation, text)
