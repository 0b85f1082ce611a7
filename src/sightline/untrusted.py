"""Untrusted text and numbers, sanitized on entry: replies, filters' messages, graders' texts, release rows.

Every target hands its replies through `sanitized`, judges' verdicts go through `sanitized_verdict`, and every
case of a release through `sanitized_row`. What they change is said in flags:

    reasoning             thoughts were split from the answer; `raw` holds all that the model wrote
    no_answer             the reply ended before its answer began: no judge may read it as safe
    replaced_characters   halves of surrogate pairs and control characters became U+FFFD
    key_blanked           a key of this environment stood in the text
    shortened             the text was longer than `LONGEST_TEXT` and lost its end
    impossible_usage      a count or a time that cannot be counts as 0

How thoughts are marked differs by model, so the marks of all are known here: `<think>`, `<thinking>`,
`<thought>`, `<reasoning>`, `<reflection>`, each with a vendor's prefix too, Kimi's triangles, Mistral's
`[THINK]`, the tokens of Cohere, OpenThinker and Gemma, the channels of gpt-oss, and what wraps an answer
(`<answer>`, GLM's box). A mark that closes without one that opened ends thoughts that the prompt began; one
that is never closed begins thoughts that were cut. `<analysis>`, `<scratchpad>`, `[think]`, `&lt;think&gt;`
may be words of an answer and count in pairs alone. A mention stays: a mark in quotation marks, backticks,
parentheses or a block of code, or one between the words of a sentence that no other mark belongs to.

A key is also found split by spaces and tags, percent-escaped, and in base64.
"""

from __future__ import annotations

import base64
import os
import re
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from sightline.characters import is_blank
from sightline.records import Call, Cost, Response, Verdict

LONGEST_TEXT = 200_000
"""Characters of a reply that are kept: more than 32,768 tokens of text have, less than a grader chokes on."""

LONGEST_READ = 20 * LONGEST_TEXT
"""Characters of a reply, thoughts included, that are looked at; no model writes more in one call."""

LONGEST_MESSAGE = 2_000
"""Characters of an error, a filter's message or a judge's reason that are kept."""

MOST = 10**9
"""No single call reads or writes more tokens."""

SHORTEST_SECRET = 6

REASONING, NO_ANSWER = "reasoning", "no_answer"
REPLACED, BLANKED, SHORTENED = "replaced_characters", "key_blanked", "shortened"
IMPOSSIBLE = "impossible_usage"

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SECRET_NAME = re.compile(
    r"(?:KEYS?|TOKENS?|SECRETS?|PASS(?:WORD|WD|PHRASE)|CREDENTIALS?|COOKIES?)(?:_|\d|$)"
    r"|(?:^|_)(?:PAT|AUTH|AUTHORIZATION)$"
)
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s]+)@")
_SCHEME = re.compile(r"(?i)(?:bearer|basic)\s+")
_SPLIT = r"(?:\s|%20|%0[aAdD]|<[^<>\s]{1,30}>)*"
"""What may stand between two characters of a key that is split."""
_SECRET_SHAPE = re.compile(
    r"(?i)\b(?:sk|pk|rk|key)-[\w*-]{6,}|\bAIza[\w-]{8,}|bearer\s+\S+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_PLAIN_WORD = re.compile(r"[A-Za-z]{1,15}|[\d.,:-]{1,15}")

_NAME = r"(?:[a-z]{1,12}[:_])?(?:think|thinking|thoughts?|reasoning|reflection|cot_budget_reflect)"
_OFTEN_WORDS = (
    r"(?:(?:[a-z]{1,12}[:_])?(?:analysis|scratchpad|reason|thought_process|inner_monologue)|antthinking)"
)
_BAR, _LINE = "[|\uff5c]", "[_\u2581]"
_CONSTRAINED = r"[^<]{0,200}(?:<\|constrain\|>[^<]{0,60})?<\|message\|>"
_OPENING = (
    rf"<\s?{_NAME}(?:\s[^<>]{{0,100}})?>|\u25c1think\u25b7|(?-i:\[THINK\])|<{_BAR}think{_BAR}>"
    rf"|<{_BAR}begin{_LINE}of{_LINE}thought{_BAR}>|<\|START_THINKING\|>|<unused94>(?:thought\b)?"
    r"|<\|channel>(?:thought\b)?"
    rf"|(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary){_CONSTRAINED}"
)
_CLOSING = (
    rf"<\s?[/\\]\s?{_NAME}\s?>|\u25c1/think\u25b7|(?-i:\[/THINK\])|<{_BAR}/think{_BAR}>"
    rf"|<{_BAR}end{_LINE}of{_LINE}thought{_BAR}>|<\|END_THINKING\|>|<unused95>|<channel\|>"
    rf"|(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final{_CONSTRAINED}"
)
_PAIRED = rf"<\s?{_OFTEN_WORDS}\s?>|&lt;{_NAME}&gt;|\[think\]"
_PAIRED_END = rf"<\s?/\s?{_OFTEN_WORDS}\s?>|&lt;/{_NAME}&gt;|\[/think\]"
_TURN_END = r"<\|(?:im_end|end|eot_id|endoftext|end_of_text)\|>|</s>"
"""Ends thoughts that a model forgot to close; elsewhere it is text."""
_WRAPPER = (
    r"<\s?/\s?(?:final_)?answer\s?>|<\|(?:begin|end)_of_(?:box|solution)\|>|<\|(?:START|END)_RESPONSE\|>"
    rf"|<\|(?:return|call)\|>|<\s?{_NAME}\s?/>"
)
_MARK = re.compile(
    rf"(?P<opening>{_OPENING})|(?P<closing>{_CLOSING})|(?P<answer><\s?(?:final_)?answer\s?>)"
    rf"|(?P<paired>{_PAIRED})|(?P<paired_end>{_PAIRED_END})|(?P<turn_end>{_TURN_END})|{_WRAPPER}",
    re.IGNORECASE,
)
_ENDS = ("closing", "paired_end")
_MEASURED = ("flops", "seconds", "latency", "cpu_seconds")
_COUNTED = tuple(name for name in Cost.__slots__ if name not in _MEASURED)
_COUNTS, _AMOUNTS = attrgetter(*_COUNTED), attrgetter(*_MEASURED)
_ODD = re.compile("&lt;|[<\\[\x00-\x08\x0e-\x1f\x7f]")
_SIGNS = ("<", "[", "&lt;", "\u25c1")
_CHANNELS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|end|>"})
_ENDS_OPEN = re.compile(rf"(?:{_OPENING})\s*\Z", re.IGNORECASE)
_QUOTES = frozenset("`\"'\u2018\u2019\u201c\u201d()")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_WITHIN_WORDS = (re.compile(r"[\w,:][ \t]+\Z"), re.compile(r"[ \t]+\S"))


class Cleaned(NamedTuple):
    """A text as it may be kept, and flags that say what was changed."""

    text: str
    flags: tuple[str, ...] = ()


class Split(NamedTuple):
    """A reply in two: the answer, and the thoughts that stood before it or within it."""

    answer: str
    thoughts: str = ""


def cleaned(text: str, *secrets: str | None, longest: int = LONGEST_TEXT) -> Cleaned:
    """`text` with whole characters only, without this environment's keys, and no longer than `longest`."""
    if not text:
        return Cleaned("")
    read, cut = _bounded(text, LONGEST_READ)
    mended = whole(read)
    blanked = without_secrets(mended, *secrets)
    kept = _bounded(blanked, longest)
    changes = {REPLACED: mended != read, BLANKED: blanked != mended}
    return Cleaned(kept.text, (*(flag for flag, changed in changes.items() if changed), *(kept.flags or cut)))


def _bounded(text: str, longest: int = LONGEST_TEXT) -> Cleaned:
    return Cleaned(text) if len(text) <= longest else Cleaned(text[:longest], (SHORTENED,))


def whole(text: str) -> str:
    """Two halves of a surrogate pair become their character; a lone one and a control character U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROL.sub("\ufffd", text)


def without_secrets(text: str, *secrets: str | None) -> str:
    """`text` with keys blanked: the given ones and those in the environment."""
    for secret in secrets:
        if secret is not None and len(secret) >= SHORTEST_SECRET:
            text = re.sub(_forms(secret), "[key]", text)
    known = _keys.pattern()
    return text if known is None else known.sub("[key]", text)


@lru_cache(maxsize=64)
def _forms(secret: str) -> str:
    """A pattern of a key: as it is, split, percent-escaped, and wherever it stands in a text in base64."""
    whole, signs = secret.encode(errors="replace"), [sign for sign in secret if not sign.isspace()]
    spelled = _SPLIT.join(
        f"(?:{re.escape(sign)}|(?i:{''.join(f'%{byte:02x}' for byte in sign.encode(errors='replace'))}))"
        for sign in signs
    )
    found = [re.escape(secret), spelled]
    for before in range(3):
        text = base64.b64encode(bytes(before) + whole).decode()
        sure = text[-(-before * 8 // 6) : (before + len(whole)) * 8 // 6]
        found += [re.escape(each) for each in (sure, sure.translate({43: "-", 47: "_"})) if len(sure) >= 8]
    return "|".join(dict.fromkeys(found))


def _values(name: str, value: str) -> Iterator[str]:
    """Keys in a variable of the environment: its value, if it is named so, and passwords in addresses."""
    if _SECRET_NAME.search(name.upper()):
        bare = value.strip().strip("'\"").strip()
        yield bare
        yield _SCHEME.sub("", bare, count=1)
    yield from _PASSWORD_IN_URL.findall(value)


class _Keys:
    """A pattern of the environment's keys, made anew when the environment has changed."""

    def __init__(self) -> None:
        self._seen: dict[bytes, bytes] = {}
        self._pattern: re.Pattern[str] | None = None

    def pattern(self) -> re.Pattern[str] | None:
        """All keys, longest first. A short word or number is none, whatever its name."""
        now = vars(os.environ)["_data"]  # to iterate over os.environ decodes every value, for every reply
        if now != self._seen:
            self._seen = dict(now)
            named = {value for pair in os.environ.items() for value in _values(*pair)}
            found = (value for value in named if len(value) >= SHORTEST_SECRET)
            keys = sorted((value for value in found if not _PLAIN_WORD.fullmatch(value)), key=len)
            self._pattern = re.compile("|".join(map(_forms, reversed(keys)))) if keys else None
        return self._pattern


_keys = _Keys()


def message(text: str, *secrets: str | None, longest: int = LONGEST_MESSAGE) -> Cleaned:
    """An error's or a filter's words in one line, without keys and whatever looks like one."""
    words, flags = cleaned(text, *secrets)
    line = _SECRET_SHAPE.sub("[key]", " ".join(words.split()))
    return Cleaned(line[:longest], tuple(flag for flag in flags if flag == REPLACED))


def begins_thoughts(prompt: str) -> bool:
    """Whether a prompt ends with a mark that opens thoughts: then the reply begins within them."""
    return _ENDS_OPEN.search(prompt[-300:]) is not None


def is_mark(token: str) -> bool:
    """Whether a token is a mark of thoughts or of an answer: it must be read, however special it is."""
    found = _MARK.fullmatch(token)
    return token in _CHANNELS or (found is not None and found.lastgroup != "turn_end")


def split_thoughts(text: str, *, thinking: bool = False) -> Split:
    """Split a reply by the marks of thoughts; `thinking` says that it begins within them."""
    answer: list[str] = []
    thoughts: list[str] = []
    start = 0
    inside = thinking
    marked = thinking
    marks = list(_MARK.finditer(text)) if any(sign in text for sign in _SIGNS) else []
    ends = [mark.start() for mark in marks if mark.lastgroup in _ENDS]
    fences = [fence.start() for fence in _FENCE.finditer(text)] if marks else []
    paired = False
    for mark in marks:
        kind = mark.lastgroup
        if _quoted(text, mark) or (not inside and kind == "turn_end"):
            continue
        closed = bool(ends) and ends[-1] > mark.start()
        if kind == "paired_end" and not (inside and paired):
            continue
        if not inside:
            if kind == "paired" and not closed:
                continue
            alone = kind in _ENDS or (kind == "opening" and not closed)
            if _in_code(fences, start, mark) or (alone and _among_words(text, mark)):
                continue
        marked = True
        here = text[start : mark.start()]
        if inside:
            said_after = kind == "turn_end" and not closed and text[mark.end() :].strip()
            if kind not in (*_ENDS, "answer") and not said_after:
                continue  # thoughts may speak of such marks
            thoughts.append(here)
            inside = False
        elif kind in _ENDS:
            thoughts.append("".join([*answer, here]))
            answer = []
        else:
            answer.append(here)
            inside = kind in ("opening", "paired")
            paired = kind == "paired"
        start = mark.end()
    (thoughts if inside else answer).append(text[start:])
    if not marked:
        return Split(text)
    return Split("".join(answer).strip(), "\n".join(part.strip() for part in thoughts).strip())


def _quoted(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark stands in quotation marks, backticks or parentheses."""
    before, after = text[max(0, mark.start() - 1) : mark.start()], text[mark.end() : mark.end() + 1]
    return before in _QUOTES and after in _QUOTES


def _in_code(fences: list[int], start: int, mark: re.Match[str]) -> bool:
    """Whether a mark stands in a block of code that began after `start` and ends after it."""
    first, here = bisect(fences, start - 1), bisect(fences, mark.start())
    return (here - first) % 2 == 1 and here < len(fences)


def _among_words(text: str, mark: re.Match[str]) -> bool:
    """Whether a mark stands between two words of one line, with spaces around it."""
    before, after = _WITHIN_WORDS
    around = text[max(0, mark.start() - 20) : mark.start()], text[mark.end() : mark.end() + 20]
    return before.search(around[0]) is not None and after.match(around[1]) is not None


def sanitized(
    response: Response, *secrets: str | None, thoughts: str = "", thinking: bool = False
) -> Response:
    """A reply as it may be kept and judged; see the module's docstring.

    Args:
        response: as the model, its interface or a defense gave it. Going through twice changes nothing.
        secrets: keys that blank wherever they stand, besides those of the environment.
        thoughts: what the interface handed over apart from the text.
        thinking: whether the prompt ended within thoughts.
    """
    if not thoughts and not thinking and not secrets and _passes(response):
        return response
    found = cleaned(response.text, *secrets, longest=LONGEST_READ)
    apart = cleaned(thoughts, *secrets, longest=LONGEST_READ)
    split = split_thoughts(found.text, thinking=thinking)
    answer = without_secrets(split.answer, *secrets)  # again: without thoughts two halves may be a key
    thought = bool(apart.text or split.thoughts)
    text = _bounded(answer)
    raw = None if response.raw is None else cleaned(response.raw, *secrets)
    if answer != split.answer:
        raw = Cleaned(f"<think>{split.thoughts[:LONGEST_TEXT]}</think>\n{text.text}", (BLANKED,))
    if raw is None and (thought or split.answer != found.text):
        raw = _bounded(f"<think>{apart.text}</think>\n{found.text}" if apart.text else found.text)
    error = None if response.error is None else message(response.error, *secrets)
    cost, wrong = _possible(response.cost)
    flags = [flag for flag in response.flags if flag != NO_ANSWER]
    flags += [*found.flags, *apart.flags, *text.flags, *wrong]
    flags += [flag for part in (raw, error) if part is not None for flag in part.flags]
    flags += [REASONING] if thought else []
    if all(map(is_blank, text.text)) and _unanswered(response, thought):
        flags.append(NO_ANSWER)
    return replace(
        response,
        text=text.text,
        raw=None if raw is None else raw.text,
        error=None if error is None else error.text,
        flags=tuple(dict.fromkeys(flags)),
        calls=tuple(_bordered_call(call) for call in response.calls),
        cost=cost,
    )


def _passes(response: Response) -> bool:
    """Whether nothing is to be done, told at once of most replies: plain words alone, at a possible cost."""
    text = response.text
    more = response.raw is not None or response.error is not None or response.calls or response.flags
    if more or not 0 < len(text) <= LONGEST_TEXT or text.isspace() or not text.isascii():
        return False
    known = _keys.pattern()
    plain = _ODD.search(text) is None and (known is None or known.search(text) is None)
    return plain and not _possible(response.cost)[1]


def _unanswered(response: Response, thought: bool) -> bool:
    """Whether an empty reply ended before its answer began: cut, or after thoughts alone."""
    if response.stop == "stop":
        return thought or NO_ANSWER in response.flags
    return response.stop == "length"


def _bordered_call(call: Call) -> Call:
    counts = {name: getattr(call, name) for name in ("tokens_in", "tokens_out")}
    wrong: dict[str, Any] = {name: 0 for name, n in counts.items() if not _is_count(n)}
    return replace(call, asked=cleaned(call.asked).text, text=cleaned(call.text).text, **wrong)


def _possible(cost: Cost) -> tuple[Cost, tuple[str, ...]]:
    """A cost whose numbers fit into what keeps them; what cannot be is 0."""
    if all(map(_is_count, _COUNTS(cost))) and all(map(_is_amount, _AMOUNTS(cost))):
        return cost, ()
    counts: dict[str, Any] = {name: 0 for name in _COUNTED if not _is_count(getattr(cost, name))}
    amounts: dict[str, Any] = {name: 0.0 for name in _MEASURED if not _is_amount(getattr(cost, name))}
    return replace(cost, **counts, **amounts), (IMPOSSIBLE,)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number <= MOST


def _is_amount(number: Any) -> bool:
    return type(number) in (int, float) and 0 <= number <= 1e30


def sanitized_verdict(verdict: Verdict) -> Verdict:
    """A judge's verdict as it may be kept: its reason cleaned and bounded, its cost possible.

    Where characters of the grader's text were replaced, the reason says so.
    """
    reason = cleaned(verdict.reason, longest=LONGEST_MESSAGE).text
    if "\ufffd" in reason and REPLACED not in reason:
        reason = f"{reason} ({REPLACED})"
    fields = {
        whole(name): cleaned(value, longest=LONGEST_MESSAGE).text if isinstance(value, str) else value
        for name, value in verdict.fields.items()
    }
    return replace(verdict, reason=reason, fields=fields, cost=_possible(verdict.cost)[0])


def sanitized_row(value: Any) -> Any:
    """A plain (JSON-ready) value with whole characters only in its texts: a case of a release, a script."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, Mapping):
        return {sanitized_row(key): sanitized_row(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [sanitized_row(each) for each in value]
    return value
