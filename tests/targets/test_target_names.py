import sys

import pytest
from apart import printed

from sightline.errors import AbsentExtraError, UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets._names import split, split_defended
from sightline.targets.local import files as files


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.mark.parametrize(
    ("rest", "defense", "inner"),
    [
        ("system_prompt:vlm/x", "system_prompt", "vlm/x"),
        ("system_prompt(prompt='a: b'):vlm/x", "system_prompt(prompt='a: b')", "vlm/x"),
        ('f(a="(:"):g/h:i', 'f(a="(:")', "g/h:i"),
        ("f(a='it\\'s: x'):g/h", "f(a='it\\'s: x')", "g/h"),
        (
            "a(x=[1, (2)]):defended/b(y={'k': 1}):openai/gpt",
            "a(x=[1, (2)])",
            "defended/b(y={'k': 1}):openai/gpt",
        ),
        ("a:openai-api/service/model:free", "a", "openai-api/service/model:free"),
    ],
)
def test_the_first_bare_colon_ends_a_defense(rest, defense, inner):
    assert split_defended(rest) == (defense, inner)


@pytest.mark.parametrize("rest", ["system_prompt", "f(a=':')", ":vlm/x", "f:", "f(a=':'"])
def test_a_defense_without_a_target_says_how_to_write_it(rest):
    with pytest.raises(UsageError, match=r"write defended/DEFENSE:TARGET"):
        split_defended(rest)


def test_an_unknown_kind_offers_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'testbed'"):
        split("testbet/linear")
    with pytest.raises(UsageError, match="'anthropic'"):
        split("antropic/claude")


@pytest.mark.parametrize("name", ["gpt-4o", "vlm/", ""])
def test_an_incomplete_name_lists_the_forms(name):
    with pytest.raises(UsageError, match="scripted/FILE"):
        split(name)


def test_a_defended_target_nests_and_its_id_holds_everything(blobs):
    target = open_target(
        "defended/self_moderation(rounds=2):defended/system_prompt(prompt='detailed'):scripted/echo", blobs
    )
    assert "self_moderation(rounds=2)@" in target.id
    assert "system_prompt(prompt='detailed')@" in target.id
    assert ":scripted/echo#" in target.id
    other = open_target(
        "defended/self_moderation(rounds=2):defended/system_prompt(prompt='generic'):scripted/echo", blobs
    )
    assert other.id != target.id


def test_an_unknown_defense_offers_the_nearest(blobs):
    with pytest.raises(UsageError, match="system_prompt"):
        open_target("defended/sytem_prompt:scripted/echo", blobs)


def test_providers_are_opened_through_the_bridge_with_their_arguments(blobs, monkeypatch):
    opened = []

    class Bridge:
        @staticmethod
        def InspectTarget(name, images, **args):
            opened.append((name, images, args))
            return "target"

        @staticmethod
        def RetryPolicy(max_retries):
            return f"{max_retries} retries"

    monkeypatch.setitem(sys.modules, "sightline.bridge.inspect_target", Bridge)
    assert open_target("openai-api/here/model", blobs, model_args={"base_url": "u"}) == "target"
    assert open_target("inspect/third/party", blobs, retries=2) == "target"
    assert opened == [
        ("openai-api/here/model", blobs, {"base_url": "u", "retry_policy": None}),
        ("third/party", blobs, {"retry_policy": "2 retries"}),
    ]


def test_no_torch_no_local_model_but_a_cure(blobs, monkeypatch):
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    for name in ("vlm/some/model", "testbed/linear"):
        with pytest.raises(AbsentExtraError, match=r"pip install 'sightline\[local\]'"):
            open_target(name, blobs)


def test_the_package_loads_neither_torch_nor_inspect():
    code = (
        "import sys; import sightline.targets, sightline.targets.vlm, sightline.targets.defended, "
        "sightline.targets.scripted, sightline.targets.replay; "
        "print([m for m in ('torch', 'transformers', 'inspect_ai') if m in sys.modules])"
    )
    assert printed(code) == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vlm//no/such/folder", "no such folder"),
        ("vlm/relative-folder", "no such folder"),
        ("vlm/nobody/no-such-model-here", "hf download nobody/no-such-model-here"),
        ("replay/no-such-table", "neither a run folder nor a JSONL file"),
        ("scripted/no-such-script", "echo, refuse, typographic"),
    ],
)
def test_an_absent_thing_is_named_with_its_cure(blobs, name, message):
    with pytest.raises(UsageError, match=message):
        open_target(name, blobs)


def test_a_folder_without_safe_weights_is_refused(tmp_path, blobs):
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"no config\.json"):
        open_target(f"vlm/{folder}", blobs)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"no \*\.safetensors"):
        open_target(f"vlm/{folder}", blobs)
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin is a pickle.*safetensors"):
        open_target(f"vlm/{folder}", blobs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch": 0}, "max_batch=0"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"max_wait_ms": -1}, "max_wait_ms=-1"),
        ({"cache_mb": 0}, "cache_mb=0"),
        *(
            ({"device": device}, f"device='{device}' names no device: write 'cpu', 'cuda' .the first GPU.")
            for device in ("cuda:0,1", "cuda:", "cuda:-1", "gpu", "cuda 1", "CPU", "0", "")
        ),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        LocalSettings(**settings)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda", "cuda:0", "cuda:11", "xpu", "xpu:1"])
def test_devices_that_can_be_written(device):
    assert LocalSettings(device=device).resolved_device() == device


def test_a_gpu_that_is_not_there_is_told_before_a_model_is_loaded(monkeypatch):
    torch = pytest.importorskip("torch")
    for count, seen in ((0, "no GPU"), (2, "'cuda:0' and 'cuda:1'")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        with pytest.raises(UsageError, match=f"device='cuda:2': this process sees {seen} .*or 'cpu'"):
            LocalSettings(device="cuda:2").present_device()
    assert LocalSettings(device="cuda:1").present_device() == "cuda:1"
    assert LocalSettings(device="cpu").present_device() == "cpu"


def test_float16_on_a_cpu_is_an_error():
    with pytest.raises(UsageError, match="bfloat16"):
        LocalSettings(device="cpu", dtype="float16").resolved_dtype()
    assert LocalSettings(device="cpu").resolved_dtype() == "float32"
    assert LocalSettings(device="cuda").resolved_dtype() == "bfloat16"


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SIGHTLINE_MAX_BATCH", "4")
    monkeypatch.setenv("SIGHTLINE_DEVICE", "cpu")
    monkeypatch.setenv("SIGHTLINE_ALLOW_DOWNLOAD", "1")
    assert LocalSettings.from_environment() == LocalSettings(max_batch=4, device="cpu", allow_download=True)
    monkeypatch.setenv("SIGHTLINE_MAX_BATCH", "many")
    with pytest.raises(UsageError, match="SIGHTLINE_MAX_BATCH='many'"):
        LocalSettings.from_environment()


@pytest.mark.parametrize(
    ("defense", "told"),
    [
        ("coca", "'coca' looks into the model, and openai/gpt-4o cannot be looked into"),
        ("mllm_protector", "write `detector: TARGET` beside it.*or `head: FOLDER`"),
        ("guard_model", "write `model: TARGET` beside it"),
        ("inferaligner", "looks into the model"),
    ],
)
def test_what_a_defense_lacks_is_told_before_the_key_of_a_provider(defense, told, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match=told) as raised:
        open_target(f"defended/{defense}:openai/gpt-4o", Blobs(tmp_path))
    assert "OPENAI_API_KEY" not in str(raised.value)
