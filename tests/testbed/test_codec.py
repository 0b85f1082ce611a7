"""Weights in 16, 8 and 4 bits: hand-made values, error bounds on any weights, and files made to mislead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open
from safetensors.numpy import save_file

from sightline.errors import ContractError, UsageError
from sightline.testbed import codec
from sightline.testbed.codec import GROUP, HOWS, encode, load, save

TINY = 2.0**-24  # the smallest half float
WEIGHTS = st.floats(-100, 100, width=32, allow_subnormal=False)
TENSORS = arrays(np.float32, array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9), elements=WEIGHTS)
EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def trip(folder: Path, state: dict[str, Any], how: Any, base: Any = None) -> dict[str, Any]:
    save(folder / "a.safetensors", state, how, base)
    return load(folder / "a.safetensors", base)


def rows(tensor: np.ndarray) -> np.ndarray:
    """Rows along the first axis that is longer than 1: written apart from the code under test."""
    return tensor.reshape(next(n for n in tensor.shape if n > 1), -1)


def is_matrix(tensor: np.ndarray) -> bool:
    return len([n for n in tensor.shape if n > 1]) > 1


# Golden values ------------------------------------------------------------------------------------


def test_int8_by_hand(tmp_path: Path) -> None:
    state = {"w": np.array([[127.0, -63.5, 1.0], [0.0, 0.0, 0.0]], np.float32), "b": np.float32([0.1])}
    found = encode(state, "int8")
    assert found["w"].tolist() == [[127, -64, 1], [0, 0, 0]]  # 63.5 is rounded to even
    assert found["w:scale"].tolist() == [1.0, 0.0]
    assert found["b"].tolist() == [np.float16(0.1)]
    assert trip(tmp_path, state, "int8")["w"].tolist() == [[127.0, -64.0, 1.0], [0.0, 0.0, 0.0]]


def test_delta4_by_hand(tmp_path: Path) -> None:
    base = {
        "w": np.full((3, 3), 5.0, np.float32),
        "b": np.float32([1, 2]),
        "same": np.eye(3, dtype=np.float32),
    }
    steps = np.array([[-8, -4, 0], [1, 2, 3], [7, 0, -1]], np.float32)
    state = {"w": base["w"] + steps / 4, "b": np.float32([1.5, 2]), "same": base["same"]}
    found = encode(state, "delta4", base)
    assert set(found) == {"w", "w:scale", "b"}
    assert found["w:scale"].tolist() == [0.25]  # -2 at the lower end: -8 steps of a quarter
    nibbles = [n for byte in found["w"] for n in (byte & 15, byte >> 4)]
    assert nibbles == [0, 4, 8, 9, 10, 11, 15, 8, 7, 8]  # offset by 8; the last one is padding
    decoded = trip(tmp_path, state, "delta4", base)
    assert all(np.array_equal(decoded[name], state[name]) for name in state)


def test_a_vector_is_what_has_one_long_axis() -> None:
    state = {
        name: np.ones(shape, np.float32) for name, shape in {"a": (1, 1, 7), "b": (5, 1), "c": ()}.items()
    }
    found = encode(state | {"q": np.ones((1, 4, 6), np.float32)}, "int8")
    assert {name: value.dtype for name, value in found.items()} == {
        **dict.fromkeys("abc", np.float16),
        "q": np.int8,
        "q:scale": np.float16,
    }
    assert found["q:scale"].shape == (4,)


def test_sizes_on_disk(tmp_path: Path) -> None:
    """Two bytes, one byte, and 4.25 bits per weight; equal tensors cost nothing."""
    rng = np.random.default_rng(0)
    base = {"w": rng.normal(size=(256, 256)).astype(np.float32)}
    state = {"w": base["w"] + rng.normal(size=(256, 256)).astype(np.float32)}
    sizes = {}
    for how in HOWS:
        save(tmp_path / how, state, how, base)
        sizes[how] = (tmp_path / how).stat().st_size
    save(tmp_path / "equal", base, "delta4", base)
    sizes["equal"] = (tmp_path / "equal").stat().st_size
    payload = {"fp16": 2 * 65536, "int8": 65536 + 512, "delta4": 32768 + 2048, "equal": 0}
    assert all(payload[key] <= size <= payload[key] + 400 for key, size in sizes.items())


# Properties ---------------------------------------------------------------------------------------


@EXAMPLES
@given(tensor=TENSORS)
def test_fp16_is_the_nearest_half_float(tmp_path: Path, tensor: np.ndarray) -> None:
    decoded = trip(tmp_path, {"w": tensor}, "fp16")["w"]
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded, tensor.astype(np.float16).astype(np.float32))


@EXAMPLES
@given(tensor=TENSORS)
def test_int8_errs_by_half_a_step_of_its_row(tmp_path: Path, tensor: np.ndarray) -> None:
    decoded = trip(tmp_path, {"w": tensor}, "int8")["w"]
    assert decoded.shape == tensor.shape
    assert decoded.dtype == np.float32
    if is_matrix(tensor):
        step = np.abs(rows(tensor)).max(axis=1, keepdims=True) / 127 * (1 + 2.0**-9) + 2 * TINY
        assert (np.abs(rows(decoded) - rows(tensor)) <= 0.501 * step).all()
    else:
        assert np.array_equal(decoded, tensor.astype(np.float16).astype(np.float32))


def test_a_tiny_row_is_not_cut_off(tmp_path: Path) -> None:
    """Below 6e-5 half floats are coarse: a step of 1.4 units of theirs has to become 2, not 1."""
    row = np.float32([[127 * 1.4 * TINY, -50 * TINY], [0, 1]])
    assert encode({"w": row}, "int8")["w:scale"].astype(float)[0] == 2 * TINY
    assert (np.abs(trip(tmp_path, {"w": row}, "int8")["w"] - row)[0] <= TINY).all()


@EXAMPLES
@given(data=st.data(), tensor=TENSORS)
def test_delta4_errs_less_than_plain_rounding(
    tmp_path: Path, data: st.DataObject, tensor: np.ndarray
) -> None:
    base = {
        "w": data.draw(arrays(np.float32, tensor.shape, elements=WEIGHTS)),
        "more": np.ones(2, np.float32),
    }
    decoded = trip(tmp_path, {"w": tensor}, "delta4", base)
    assert set(decoded) == {"w"}
    if not is_matrix(tensor):
        assert (np.abs(decoded["w"] - tensor) <= np.abs(tensor - base["w"]) * 2.0**-11 + 1e-4).all()
        return
    difference = (tensor - base["w"]).ravel()
    error = (decoded["w"] - tensor).ravel().astype(np.float64)
    for start in range(0, difference.size, GROUP):
        part = slice(start, start + GROUP)
        step = np.abs(difference[part]).max() / 7  # without clipping each value errs by half a step at most
        allowed = difference[part].size * (0.51 * step + 1e-4) ** 2
        assert np.square(error[part]).sum() <= allowed


@EXAMPLES
@given(state=st.dictionaries(st.text("abc.", min_size=1), TENSORS, max_size=4), how=st.sampled_from(HOWS))
def test_same_weights_same_bytes(tmp_path: Path, state: dict[str, np.ndarray], how: Any) -> None:
    base = {name: value[..., ::-1] for name, value in state.items()}
    save(tmp_path / "one", state, how, base)
    save(tmp_path / "two", dict(reversed(state.items())), how, base)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@EXAMPLES
@given(tensor=TENSORS)
def test_what_equals_the_base_is_left_out_and_exact(tmp_path: Path, tensor: np.ndarray) -> None:
    assert encode({"w": tensor}, "delta4", {"w": tensor}) == {}
    assert np.array_equal(trip(tmp_path, {"w": tensor}, "delta4", {"w": tensor})["w"], tensor)


def test_clipping_pays_on_bell_shaped_differences(tmp_path: Path) -> None:
    difference = np.random.default_rng(1).normal(size=(64, 496)).astype(np.float32)
    base = {"w": np.zeros_like(difference)}
    error = trip(tmp_path, {"w": difference}, "delta4", base)["w"] - difference
    plain = np.abs(difference.reshape(-1, GROUP)).max(axis=1).repeat(GROUP).reshape(64, 496) / 7
    rounded = np.rint(difference / plain) * plain - difference
    assert np.square(error).mean() < 0.73 * np.square(rounded).mean()


def test_a_delta_is_found_under_new_names(tmp_path: Path) -> None:
    base = {"old.w": np.zeros((2, 3), np.float32)}
    save(tmp_path / "a", {"old.w": np.ones((2, 3), np.float32)}, "delta4", base)
    decoded = load(tmp_path / "a", {"new.w": base["old.w"]}, lambda name: name.replace("old.", "new."))
    assert set(decoded) == {"new.w"}
    assert np.allclose(decoded["new.w"], 1, atol=1e-3)


# Misuse and hostile files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "how", "message"),
    [
        ({"w": np.ones((2, 2), np.int64)}, "fp16", "'w' is of int64"),
        ({"w": np.float32([1, np.nan])}, "fp16", "'w' holds values that are not finite"),
        ({"w": np.float32([1e6])}, "fp16", "'w' holds values beyond 65504"),
        ({"w": np.full((2, 2), 1e9, np.float32)}, "int8", "beyond 65504"),
        ({"v": np.ones((2, 2), np.float32)}, "delta4", "'v' is not in the base"),
        ({"w": np.ones((3, 2), np.float32)}, "delta4", r"'w' has the shape \(2, 2\) in the base"),
    ],
)
def test_what_cannot_be_stored(tmp_path: Path, state: Any, how: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        save(tmp_path / "a", state, how, {"w": np.zeros((2, 2), np.float32)})
    assert not list(tmp_path.iterdir())


def test_an_unknown_way_is_the_callers_mistake() -> None:
    with pytest.raises(UsageError, match="how='int4' is out of range: expected one of fp16, int8, delta4"):
        encode({}, "int4")  # type: ignore[arg-type]


def forged(path: Path, arrays: dict[str, Any], how: Any, shapes: Any, **more: Any) -> Path:
    facts = json.dumps({"how": how, "tensors": shapes, **more})
    save_file(arrays, path, metadata={"sightline": facts})
    return path


BYTES = np.zeros((2, 2), np.int8)
ONES = np.ones(2, np.float16)


@pytest.mark.parametrize(
    ("arrays", "how", "shapes", "message"),
    [
        ({"w": ONES}, "zip", {"w": [2]}, "unknown way of storing 'zip'"),
        ({"w": ONES}, "fp16", {"w": [3]}, r"'w' has the shape \(2,\), not \(3,\)"),
        ({"w": ONES}, "fp16", {"w": [-2]}, "does not say what it holds"),
        ({"w": ONES}, "fp16", {"w": "ab"}, "does not say what it holds"),
        ({"w": ONES}, "fp16", [], "does not say what it holds"),
        ({"w": ONES}, "fp16", {"w": [2], "v": [2]}, "'v' is missing"),
        ({"w": ONES, "x": ONES}, "fp16", {"w": [2]}, "'x' is not among those"),
        ({"w": ONES * np.float16(np.inf)}, "fp16", {"w": [2]}, "'w' holds values that are not finite"),
        ({"w": ONES.astype(np.int16)}, "fp16", {"w": [2]}, "'w' is of int16"),
        ({"w": BYTES}, "int8", {"w": [2, 2]}, "'w:scale' is missing"),
        ({"w": BYTES, "w:scale": np.ones(3, np.float16)}, "int8", {"w": [2, 2]}, r"'w:scale' .* \(2,\)"),
        ({"w": BYTES.astype(np.int32), "w:scale": ONES}, "int8", {"w": [2, 2]}, "'w' is of int32"),
    ],
)
def test_hostile_files(tmp_path: Path, arrays: Any, how: Any, shapes: Any, message: str) -> None:
    path = forged(tmp_path / "bad.safetensors", arrays, how, shapes)
    with pytest.raises(ContractError, match=rf"bad\.safetensors.*{message}"):
        load(path)


PACKED = {"w": np.zeros(2, np.uint8), "w:scale": np.ones(1, np.float16)}


@pytest.mark.parametrize(
    ("arrays", "shape", "message"),
    [
        (PACKED, [2, 3], r"'w' is \(2, 3\), in the base \(2, 2\)"),
        (PACKED | {"w": np.zeros(3, np.uint8)}, [2, 2], r"'w' is uint8 \(3,\), not packed \(2, 2\)"),
        (PACKED | {"w": np.zeros(2, np.int8)}, [2, 2], r"'w' is int8 \(2,\), not packed \(2, 2\)"),
        (PACKED | {"w:scale": ONES}, [2, 2], r"'w:scale' is float16 \(2,\), not float16 \(1,\)"),
    ],
)
def test_hostile_differences(tmp_path: Path, arrays: Any, shape: Any, message: str) -> None:
    base = {"w": np.zeros((2, 2), np.float32)}
    save(tmp_path / "good", {"w": np.ones((2, 2), np.float32)}, "delta4", base)
    with safe_open(tmp_path / "good", framework="numpy") as file:
        print_of_base = json.loads(file.metadata()["sightline"])["base"]
    path = forged(tmp_path / "bad.safetensors", arrays, "delta4", {"w": shape}, base=print_of_base)
    with pytest.raises(ContractError, match=rf"bad\.safetensors.*{message}"):
        load(path, base)


def test_a_difference_is_of_no_use_without_its_base(tmp_path: Path) -> None:
    base = {"w": np.zeros((2, 2), np.float32)}
    path = tmp_path / "a.safetensors"
    save(path, {"w": np.ones((2, 2), np.float32)}, "delta4", base)
    for absent in (None, {}, {"v": base["w"]}):
        with pytest.raises(ContractError, match=r"a\.safetensors: tensor 'w' .* which the base lacks"):
            load(path, absent)
    with pytest.raises(ContractError, match=r"a\.safetensors: its base is other weights \(tensor 'w'"):
        load(path, {"w": base["w"] + np.float32(2.0**-20)})


@pytest.mark.parametrize("content", [b"", b"broken", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}x"])
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=re.escape(f"{path} is not a safetensors file")):
        load(path)


def test_an_ordinary_file_of_floats_is_read(tmp_path: Path) -> None:
    save_file({"w": np.float32([0.1]), "v": ONES}, tmp_path / "a", metadata={"format": "pt"})
    decoded = load(tmp_path / "a")
    assert decoded["w"].tolist() == [np.float32(0.1)]
    assert decoded["v"].dtype == np.float32
    save_file({"w": BYTES}, tmp_path / "a")
    with pytest.raises(ContractError, match="'w' is of int8"):
        load(tmp_path / "a")


def test_brain_floats_are_refused_by_name(tmp_path: Path) -> None:
    head = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "a").write_bytes(len(head).to_bytes(8, "little") + head + b"\0")
    with pytest.raises(ContractError, match=re.escape(str(tmp_path / "a"))):
        load(tmp_path / "a")


def test_it_needs_no_torch() -> None:
    import subprocess
    import sys

    code = f"import sys, {codec.__name__}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
