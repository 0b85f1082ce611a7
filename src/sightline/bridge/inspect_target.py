"""Any Inspect provider (`openai/gpt-4o`, `anthropic/...`, `openai-api/SERVICE/MODEL`, ...) as a target.

Inspect's model layer is used as a library: it brings the providers, their rate limits and retries.
Nothing is logged, cached or served by it here, and no token is counted over the network.

A failure that is worth another try (429, 5xx, time-out, broken connection or stream) is tried again by
Inspect within the bounds of `RetryPolicy`; the provider's own SDK obeys `Retry-After`. When the bounds are
used up the reply is an `error` with the flag `transient`: trying again is not left to the caller, whose
retries would multiply ours. A rejected key or an unknown model raises UsageError, because no other
request of the study could do better.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import registry_find, registry_unqualified_name
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model
from rich.errors import MarkupError
from rich.text import Text
from tenacity import wait_exponential, wait_random

from sightline.bridge.failures import failed
from sightline.bridge.hidden_errors import unmask_errors
from sightline.bridge.messages import to_messages
from sightline.bridge.outputs import estimate_tokens, to_response
from sightline.cases import Conversation
from sightline.closure import with_code
from sightline.contracts import Decoding, Images
from sightline.digests import digest
from sightline.errors import UsageError, nearest, require
from sightline.records import Response
from sightline.untrusted import message

SECRET_ARGS = frozenset({"api_key"})
_FIRST_TOKEN = {"logprobs": True, "top_logprobs": 20, "max_tokens": 4}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Retries and time-outs of requests to a provider. Times in seconds.

    Attributes:
        max_connections: requests in flight at once.
        max_retries: attempts after the first one.
        attempt_timeout: after which one attempt is given up.
        timeout: after which no further attempt is made.
        first_wait: before the second attempt; it doubles from there.
        longest_wait: between two attempts.
    """

    max_connections: int = 16
    max_retries: int = 8
    attempt_timeout: int = 180
    timeout: int = 900
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def __post_init__(self) -> None:
        require(self.max_connections >= 1, "max_connections", self.max_connections, "1 or more")
        require(self.max_retries >= 0, "max_retries", self.max_retries, "0 or more")
        require(self.attempt_timeout >= 1, "attempt_timeout", self.attempt_timeout, "1 second or more")
        require(self.timeout >= 1, "timeout", self.timeout, "1 second or more")


def provider_names() -> list[str]:
    """Names of all providers that Inspect knows here, our own included."""
    return sorted({registry_unqualified_name(info) for info in registry_find(lambda i: i.type == "modelapi")})


def _open(name: str, retry_policy: RetryPolicy, model_args: dict[str, Any]) -> Model:
    provider, slash, _ = name.partition("/")
    if not slash or provider not in provider_names():
        raise UsageError(nearest(provider, provider_names(), f"provider of target {name!r}:"))
    config = GenerateConfig(
        max_connections=retry_policy.max_connections,
        max_retries=retry_policy.max_retries,
        timeout=retry_policy.timeout,
        attempt_timeout=retry_policy.attempt_timeout,
    )
    try:
        model = get_model(name, config=config, memoize=False, **model_args)
    except (PrerequisiteError, ValueError, TypeError) as unusable:
        words = message(_unmarked(str(unusable)), *_secrets(model_args)).text
        raise UsageError(f"target {name!r} cannot be opened: {words}") from None
    growing = wait_exponential(multiplier=retry_policy.first_wait, max=retry_policy.longest_wait)
    wait = growing + wait_random(0, retry_policy.first_wait / 2)
    # Two methods that a provider's class may override, overridden for this one provider: Inspect's own
    # pauses begin at three seconds, and its own token count downloads a vocabulary (mockllm asks for it).
    vars(model.api).update(retry_wait=lambda: wait, count_text_tokens=_estimated_tokens)
    unmask_errors(model.api)
    return model


def _unmarked(text: str) -> str:
    """Inspect's errors are written for Rich; ours are plain."""
    try:
        return Text.from_markup(text).plain.removeprefix("ERROR: ")
    except MarkupError:
        return text


async def _estimated_tokens(text: str) -> int:
    return estimate_tokens(text)


def _secrets(model_args: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(value) for key, value in model_args.items() if key in SECRET_ARGS)


def _address(model: Model) -> str | None:
    """Where requests go, without user, password and query; None is the provider's own default.

    Some providers leave the address that the environment names to their SDK: then its client is asked.
    """
    address = model.api.base_url
    if not address:
        found = str(getattr(getattr(model.api, "client", None), "base_url", None) or "")
        named = [value for name, value in os.environ.items() if name.endswith("_BASE_URL") and value]
        address = found if any(found.startswith(value.rstrip("/")) for value in named) else None
    if not address:
        return None
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"


def generate_config(decoding: Decoding) -> GenerateConfig:
    """Inspect's settings of the same meaning; what is None or at its neutral value is left to the provider.

    `top_p=1` and the seed of greedy decoding change nothing and are not sent: several providers
    refuse requests that name both temperature and top_p, or a seed.
    """
    return GenerateConfig(
        max_tokens=decoding.max_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p if decoding.top_p < 1 else None,
        seed=decoding.seed if decoding.sampling_temperature > 0 else None,
    )


class InspectTarget:
    """A model behind an Inspect provider. Satisfies `contracts.Target`.

    `model_args` go to the provider (`base_url`, `api_key`, `stream`, ...).

    Raises:
        UsageError: for an unknown provider, an absent key or an absent provider package.
    """

    def __init__(
        self, name: str, images: Images, *, retry_policy: RetryPolicy | None = None, **model_args: Any
    ) -> None:
        self.name = name
        self.images = images
        self.retry_policy = retry_policy or RetryPolicy()
        self._model_args = model_args
        self._model = _open(name, self.retry_policy, model_args)
        self._loop: asyncio.AbstractEventLoop | None = None
        unsaid = SECRET_ARGS | {"base_url"}
        open_args = sorted((key, str(value)) for key, value in model_args.items() if key not in unsaid)
        address = _address(self._model)
        named = f"{name}[{digest(open_args, address)[:12]}]" if open_args or address else name
        self._id = with_code(named, __name__, packages=("inspect-ai",))

    @property
    def id(self) -> str:
        """The Inspect model string, with a digest of the address and of arguments other than keys.

        Behind it that of our code that builds messages and of Inspect's version.
        """
        return self._id

    def _model_here(self) -> Model:
        """The model with a connection pool of this event loop: a pool must not outlive its loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                self._model = _open(self.name, self.retry_policy, self._model_args)
            self._loop = loop
        return self._model

    async def _ask(self, messages: list[ChatMessage], decoding: Decoding) -> ModelOutput:
        return await self._model_here().generate(messages, config=generate_config(decoding))

    async def first_token(self, conversation: Conversation, decoding: Decoding) -> dict[str, float]:
        """Probabilities of the first visible token, by text; none where a provider fails or tells none."""
        config = generate_config(decoding).model_copy(update=_FIRST_TOKEN)
        try:
            messages = to_messages(conversation, self.images)
            output = await asyncio.create_task(self._model_here().generate(messages, config=config))
        except Exception as failure:
            _log.info("%s tells no probabilities: %s", self.name, type(failure).__name__)
            return {}
        told = output.choices[0].logprobs if output.choices else None
        for token in told.content if told else ():
            if token.token.strip():
                return {each.token: math.exp(each.logprob) for each in token.top_logprobs or ()}
        return {}

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """One reply; see the module's docstring for failures.

        A conversation with an unreadable picture is not sent: its reply is an `error`.

        Raises:
            UsageError: if the provider rejects the key or does not know the model.
        """
        try:
            messages = to_messages(conversation, self.images)
        except UsageError as unreadable:
            return Response(text="", stop="error", error=str(unreadable))
        # A task of its own: Inspect gathers a transcript per context, which must not outlive the call.
        asking = asyncio.create_task(self._ask(messages, decoding))
        try:
            output = await asking
        except UsageError:
            raise
        except Exception as failure:
            return failed(self.name, failure, self._model.api.api_key)
        return to_response(output, self._model.api.api_key)
