"""Sightline: measure, attack and defend the safety of multimodal language models under one protocol."""

from sightline.cases import Case, Conversation, Eps, Expected, Image, ThreatModel, Turn
from sightline.errors import ContractError, SightlineError, TransientError, UsageError
from sightline.records import Artifact, Cost, Draft, Outcome, Response, Verdict

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "Case",
    "ContractError",
    "Conversation",
    "Cost",
    "Draft",
    "Eps",
    "Expected",
    "Image",
    "Outcome",
    "Response",
    "SightlineError",
    "ThreatModel",
    "TransientError",
    "Turn",
    "UsageError",
    "Verdict",
]
