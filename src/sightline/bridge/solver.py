"""The solver of our tasks: sends a crafted conversation as it is and keeps failures as data."""

from __future__ import annotations

import asyncio
from typing import Any

from inspect_ai.model import ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import LimitExceededError

from sightline.bridge.failures import failed
from sightline.bridge.messages import to_messages
from sightline.bridge.outputs import KEY, to_response
from sightline.bridge.session import session_images
from sightline.cases import Conversation
from sightline.plain import plain_response, turn_of
from sightline.records import Response
from sightline.rng import seed_of
from sightline.study.replying import PLAYED_ON

SEED_BITS = 31


def failed_output(response: Response, model: str) -> ModelOutput:
    """An output that carries an `error` response to the scorer; it has no text that could be judged."""
    output = ModelOutput.from_content(model, "", stop_reason="unknown", error=response.error)
    output.metadata = {KEY: {"response": plain_response(response)}}
    return output


@solver
def replay(artifacts: str = "", asked: str = "", seed: int = 0) -> Solver:  # noqa: ARG001
    """Ask the model the sample's own messages, once; of a script of several turns, turn by turn.

    A picture that could not be read is not asked about, and a failed call is kept as an `error`
    outcome, so that no sample leaves the denominator.

    Args:
        artifacts: digest of all crafted conversations.
        asked: identity of the model; with `artifacts` it makes the plan's identity follow the content.
        seed: of sampled decoding; each sample and epoch gets its own seed, as in a study.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        sealed = state.metadata[KEY]
        problem = sealed["artifact"].get("problem")
        if problem is not None:
            state.output = failed_output(Response(text="", stop="error", error=problem), str(state.model))
            return state
        own = seed_of("decode", seed, sealed["artifact"]["key"], state.epoch - 1, bits=SEED_BITS)
        try:
            seed_of_sample: dict[str, Any] = {"seed": own} if sealed["sampled"] else {}
            state = await generate(state, **seed_of_sample)
            for turn in map(turn_of, sealed["artifact"].get("follow_ups", ())):
                if to_response(state.output).stop not in PLAYED_ON:
                    break
                state.messages += to_messages(Conversation((turn,)), session_images())
                state = await generate(state, **seed_of_sample)
            return state
        except (LimitExceededError, asyncio.CancelledError):
            raise
        except Exception as failure:
            state.output = failed_output(failed(str(state.model), failure), str(state.model))
            return state

    return solve
