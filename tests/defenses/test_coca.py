import asyncio
from dataclasses import dataclass, field

import pytest
from behind import ASKED, respond

from sightline import registry
from sightline.contracts import Decoding
from sightline.defenses._texts import wordings
from sightline.errors import UsageError
from sightline.records import Response
from sightline.targets.defended import DefendedTarget

PRINCIPLE = wordings("coca")["natural"]["principle"]


@dataclass
class Open:
    """A target that can be looked into."""

    id: str = "open#00"
    written: list = field(default_factory=list)

    def inside(self):
        return self

    async def write(self, conversation, decoding, how):
        self.written.append((conversation, how))
        return Response(text="calm")


def test_it_decodes_with_a_principle_beside_the_same_request_without():
    inner = Open()
    target = DefendedTarget(registry.make("defense", "coca", alpha=2.0), inner)
    assert asyncio.run(target.generate(ASKED, Decoding())).text == "calm"
    ((asked, how),) = inner.written
    assert asked == ASKED.with_system(PRINCIPLE)
    assert (how.beside, how.weight, how.steering, how.prefix) == (ASKED, 2.0, None, "")


def test_a_target_that_cannot_be_looked_into_is_refused():
    with pytest.raises(UsageError, match="'coca' looks into the model, and told cannot be"):
        respond(registry.make("defense", "coca"), "x")
