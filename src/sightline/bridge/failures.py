"""What went wrong at a provider, in one line without secrets, as data."""

from __future__ import annotations

from inspect_ai.model import ModelOutput
from tenacity import RetryError

from sightline.bridge.hidden_errors import words_of
from sightline.errors import UsageError
from sightline.records import Cost, Response
from sightline.untrusted import Cleaned, message

LONGEST_MESSAGE = 300
_CURES = {
    401: "the provider does not accept the API key; set the provider's key in the environment",
    404: "the provider does not know this model or address; check the target's name and base_url",
}


def short_message(text: str, *secrets: str | None) -> Cleaned:
    """A provider's words in one line, without keys and whatever looks like one."""
    return message(text, *secrets, longest=LONGEST_MESSAGE)


def _status(failure: BaseException) -> int | None:
    """HTTP status of a provider's exception; every SDK names the attribute so."""
    status = getattr(failure, "status_code", None)
    return status if isinstance(status, int) else None


def _message(failure: BaseException) -> str:
    """The provider's own words. Inspect's exception would repeat the whole request, so it is not asked."""
    told = words_of(failure) or getattr(failure, "provider_message", None)
    return str(told or str(failure) or type(failure).__name__)


def failed(name: str, failure: Exception, *secrets: str | None) -> Response:
    """The `error` response for a failed call; flag `transient` means that another day it may work.

    A failure is never a refusal: nothing is known about what the model would have said.

    Raises:
        UsageError: for a rejected key or an unknown model, which no other request can survive.
    """
    transient = isinstance(failure, RetryError)
    cause: BaseException = failure
    tries = 1
    if isinstance(failure, RetryError):
        cause = failure.last_attempt.exception() or failure
        tries = failure.last_attempt.attempt_number
    status = _status(cause)
    words, noted = short_message(_message(cause), *secrets)
    if status in _CURES:
        raise UsageError(f"target {name!r}: {_CURES[status]} (HTTP {status}: {words})") from None
    what = f"HTTP {status}" if status is not None else type(cause).__name__
    what += " inside HTTP 200" if words_of(cause) is not None else ""
    often = f" after {tries} attempts" if tries > 1 else ""
    return Response(
        text="",
        stop="error",
        error=f"{name}: {what}{often}: {words}",
        flags=("transient", *noted) if transient else noted,
        cost=Cost(calls_target=1),
    )


def not_answered(output: ModelOutput) -> bool:
    """Whether Inspect put a provider's error message where the model's words belong.

    Its providers do so for a blocked or too long request; such an output carries no token usage.
    """
    return output.usage is None and output.stop_reason in ("content_filter", "model_length")
