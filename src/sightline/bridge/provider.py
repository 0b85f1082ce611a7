"""Our targets as Inspect providers: `vlm/...`, `testbed/...`, `scripted/...` and `defended/...`."""

from __future__ import annotations

from typing import Any, ClassVar

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from sightline.bridge.messages import to_conversation
from sightline.bridge.outputs import estimate_tokens, to_output
from sightline.bridge.session import session_images, session_target
from sightline.contracts import Decoding, Target
from sightline.errors import UsageError

UNSUPPORTED = ("stop_seqs", "num_choices", "logprobs", "response_schema", "top_k")


def decoding_of(config: GenerateConfig, max_tokens: int) -> Decoding:
    """Our settings of the same meaning; without a temperature decoding is greedy.

    Raises:
        UsageError: for a setting that a target cannot honor, which would change results silently.
    """
    for name in UNSUPPORTED:
        if getattr(config, name) not in (None, False, 1):
            raise UsageError(f"Sightline targets do not know the generation setting {name!r}")
    return Decoding(
        max_tokens=config.max_tokens or max_tokens,
        temperature=config.temperature or 0.0,
        top_p=1.0 if config.top_p is None else config.top_p,
        seed=config.seed or 0,
    )


class SightlineAPI(ModelAPI):
    """Common part of our providers: one target string, opened on the first request.

    Constructing it costs nothing, because Inspect constructs providers more often than it asks them.
    Answers carry their token usage, and text is measured by its length, so that Inspect never
    downloads a tokenizer.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own signature)
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        given = {**model_args, "base_url": base_url, "api_key": api_key}
        self.model_args = tuple(sorted((key, value) for key, value in given.items() if value is not None))
        if model_args and self.kind != "defended":
            raise PrerequisiteError(f"{self.kind}/ takes no model arguments, got {', '.join(model_args)}")
        self.target_name = f"{self.kind}/{model_name}"

    def target(self) -> Target:
        """The target, opened once per process; a provider inside it gets our model arguments.

        Raises:
            UsageError: if it cannot be opened.
        """
        return session_target(self.target_name, self.model_args if self.kind == "defended" else ())

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,  # noqa: ARG002
        config: GenerateConfig,
    ) -> ModelOutput:
        """One reply of the target.

        Raises:
            UsageError: for a request that the target cannot take (tools, audio, unknown settings).
            TransientError: if the target failed; Inspect then has a failed sample, not an empty answer.
        """
        if tools:
            raise UsageError(f"{self.target_name} does not call tools; use a task without tools")
        target = self.target()
        conversation = to_conversation(input, session_images())
        response = await target.generate(conversation, decoding_of(config, self.max_tokens()))
        return to_output(response, self.model_name, target.id)

    async def count_text_tokens(self, text: str) -> int:
        """An estimate by length; Inspect's own would fetch a vocabulary."""
        return estimate_tokens(text)

    def max_tokens(self) -> int:
        """New tokens if neither task nor user says anything."""
        return 1024

    def max_connections(self) -> int:
        """Requests in flight: enough to fill the micro-batches of a local model."""
        return 32

    def connection_key(self) -> str:
        """One pool of requests per target."""
        return self.target_name


class VlmAPI(SightlineAPI):
    """A local model."""

    kind = "vlm"


class TestbedAPI(SightlineAPI):
    """A model of the testbed."""

    __test__ = False  # pytest collects classes called Test...
    kind = "testbed"


class SwappedAPI(SightlineAPI):
    """A local model with another vision tower."""

    kind = "swapped"


class ScriptedAPI(SightlineAPI):
    """A list of rules, for tests and demonstrations."""

    kind = "scripted"


class DefendedAPI(SightlineAPI):
    """A target behind a defense."""

    kind = "defended"
