"""What tables call the methods of a study in Python: by name, by their settings where two have one name."""

from __future__ import annotations

import sightline as sl


def test_objects_have_short_labels_as_in_a_study_file() -> None:
    study = sl.Study(
        "labels",
        targets=["scripted/echo"],
        benchmarks=[{"name": sl.benchmarks.TestbedRequests(subset="requests"), "limit": 2}],
        attacks=[
            "none",
            sl.attacks.FigStep(font_px=40),
            {"name": sl.attacks.MMTypography.preset("testbed"), "label": "mine"},
            sl.attacks.Augment(sigma=0.1),
            sl.attacks.Augment(sigma=0.2),
        ],
        defenses=["none", sl.defenses.SystemPrompt.preset("testbed")],
        judges=[sl.judges.TestbedPolicy()],
    ).checked
    assert [each.label for each in study.sources] == ["testbed_requests"]
    assert [each.label for each in study.attacks][:3] == ["none", "figstep", "mine"]
    assert [each.label for each in study.attacks][3:] == ["augment(sigma=0.1)", "augment(sigma=0.2)"]
    assert [each.label for each in study.defenses] == ["none", "system_prompt"]
