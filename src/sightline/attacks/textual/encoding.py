"""Write the request in a code (Base64, ROT13, Morse, and others), with or without saying how to read it.

Wei et al., "Jailbroken: How Does LLM Safety Training Fail?", NeurIPS 2023 (Base64 with and without a
description, ROT13, leetspeak; from memory); Yuan et al., "GPT-4 Is Too Smart To Be Safe", ICLR 2024,
official: RobustNLP/CipherChat, encode_experts.py, commit 540b95e. Read there: Caesar with a shift of 3, code
points in decimal, Atbash and Morse are among its ciphers; the cipher is explained and shown by three
enciphered demonstrations in the system prompt. Invisible characters: Boucher et al., "Bad Characters", IEEE
S&P 2022 (from memory).

Deviations. There are no demonstrations and no system prompt: everything stands in the user's text. The
sentences around the code are our own, three per `hint`, drawn by seed (`texts/encoding.yaml`). Unlike
CipherChat's, every code can be undone: what is sent decodes to the request exactly, in any script
(`attacks/codes.py`; Morse has no letter case). A code that changes nothing of a request, as ROT13 of a
Chinese one, is an error that names the case; letters that a code leaves as they are are counted in the note.
The reply is read as it is: nothing asks for one in the code, and none is decoded.

On the testbed no code beats the plain request: of 24 held-out restricted requests `testbed/linear` answers 2
as they are, 4 with their words reversed and none in any other code. Its models read single letters there, and
answer off topic (8 to 24) or refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.codes import CODES, left
from sightline.attacks.templates import asked, drawn_wording, filled, shipped
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, nearest
from sightline.records import Draft
from sightline.registry import attack

NAME = "encoding"
PRESETS: Presets = {
    **{name: {"scheme": name} for name in CODES if name != "base64"},
    "base64_raw": {"hint": "none"},
    "rot13_raw": {"scheme": "rot13", "hint": "none"},
}


@attack(
    NAME,
    paper="arXiv:2307.02483; arXiv:2308.06463",
    source="RobustNLP/CipherChat: encode_experts.py",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/encoding.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding(Attack):
    """Settings.

    Attributes:
        scheme: the code: `sightline.attacks.codes.CODES` holds them.
        hint: what is said beside it: which code it is and how it is read (`told`), which it is (`named`), or
            nothing (`none`).
        instruction: a text of your own with `{encoded}`, and `{code}` or `{how}` if you like; '' = ours.
    """

    scheme: str = "base64"
    hint: Literal["told", "named", "none"] = "told"
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.scheme not in CODES:
            raise UsageError(nearest(self.scheme, CODES, f"scheme of {NAME}"))
        if self.instruction and "{encoded}" not in self.instruction:
            raise UsageError(f"{NAME}: `instruction` has no {{encoded}}: write it where the code is to stand")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The request in the code; pictures stay."""
        texts = shipped(NAME)
        name, how = texts[self.scheme]
        for case in cases:
            around, number = drawn_wording(texts[self.hint], NAME, ctx.seed, case.id)
            said = "of the study" if self.instruction else f"{self.hint}_{number}"
            text = filled(self.instruction or around, encoded=self.encoded(case), code=name, how=how)
            unsigned = left(self.scheme, asked(case))
            note = f"; {unsigned} letters stand as they are" if unsigned else ""
            yield Draft(case=case, text=text, note=f"{self.scheme}, text {said}{note}")

    def encoded(self, case: Case) -> str:
        """What the case asks, in the code.

        Raises:
            UsageError: if the code changes nothing of it.
        """
        plain = asked(case)
        found = CODES[self.scheme].encode(plain)
        if found == plain:
            raise UsageError(
                f"case {case.id}: {self.scheme} leaves its text {plain[:40]!r} as it is; "
                "choose another scheme"
            )
        return found
