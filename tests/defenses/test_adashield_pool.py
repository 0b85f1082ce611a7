import pytest
from behind import respond
from hypothesis import given
from hypothesis import strategies as st

from sightline import registry
from sightline.cases import Conversation
from sightline.defenses._shield_pool import ShieldPool
from sightline.defenses._texts import wordings
from sightline.errors import UsageError

FIXED = wordings("adashield")["natural"]["shield"]
POOL = """
- {request: fold a paper crane, shield: mind the paper}
- {request: mix a bowl of tea, shield: mind the tea}
"""


def adashield(**settings):
    return registry.make("defense", "adashield", **settings)


@pytest.fixture
def pool(tmp_path):
    file = tmp_path / "pool.yaml"
    file.write_text(POOL, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("request_", "shield"),
    [
        ("fold a paper crane", "mind the paper"),
        ("Mix a bowl of tea!", "mind the tea"),
        ("where is the red square", FIXED),
    ],
)
def test_the_nearest_requests_shield_is_taken_or_the_fixed_one(request_, shield, pool):
    response, inner, _ = respond(
        adashield(pool=str(pool)), "a cube", conversation=Conversation.user(request_)
    )
    (asked,) = inner.asked
    assert asked.last_user_turn.parts == (request_, shield, request_)
    assert response.text == "a cube"


def test_nearness_is_a_bound(pool):
    said = Conversation.user("fold a paper boat")
    near = [
        respond(adashield(pool=str(pool), nearness=bound), "x", conversation=said)[1].asked[0]
        for bound in (0.0, 1.0)
    ]
    assert [each.last_user_turn.parts[1] for each in near] == ["mind the paper", FIXED]


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=5), st.data())
def test_a_request_of_the_pool_is_nearest_to_itself(entries, data):
    request, _ = data.draw(st.sampled_from(entries))
    near, shield = ShieldPool(tuple(entries), "").nearest(request)
    assert near == pytest.approx(1)
    assert shield in {kept for _, kept in entries}


def test_the_pools_content_is_part_of_the_identity(pool):
    before = registry.identity(adashield(pool=str(pool)))
    pool.write_text(POOL.replace("tea,", "ink,"), encoding="utf-8")
    assert registry.identity(adashield(pool=str(pool))) != before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no shield"),
        ("- {request: x}", "entry 1: write a list"),
        ("- {request: x, shield: y}\n- 3", "entry 2"),
        ("{", "is no YAML"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_pool_is_refused(content, message, tmp_path):
    file = tmp_path / "pool.yaml"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        registry.identity(adashield(pool=str(file)))
