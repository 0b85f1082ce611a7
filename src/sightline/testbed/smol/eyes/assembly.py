"""Put eyes on a language model's folder: a genuine LLaVA of it with a vision tower that reads.

Two parts come together: the language model (any Llama folder with the tokenizer of SmolLM2) and the text
recognizer that the extra `ocr` brings. The projector begins as the identity: what the tower reads reaches
the language model as embeddings of its own; training may change it. The tokenizer's last special token,
which no text uses, becomes `<image>`, so that every weight of the language model stays what it was: asked in
words alone, it answers as before.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.closure import with_code
from sightline.digests import sha256_file
from sightline.errors import AbsentExtraError, UsageError
from sightline.store import write_atomically
from sightline.testbed.smol import places

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlavaForConditionalGeneration

IMAGE, STOOD_FOR = "<image>", "<empty_output>"
RECOGNIZER = "PP-OCRv6_rec_small.onnx"
_FAR = 8.0
"""Added before the projector's GELU and taken away after it; embeddings lie within a few units of zero."""
FORM = 1
"""Of the folders that are written here; a new one where an old one would not do."""
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face' }}"
    "{{ '<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The language model's own, which takes words alone, with places for pictures."""


def assemble(language: Path, recognizer: Path, target: Path) -> Path:
    """Write the folder of a model with eyes, or find it whole.

    Args:
        language: folder of a Llama with SmolLM2's tokenizer.
        recognizer: PP-OCRv6_rec_small.onnx.
        target: folder to write.

    Raises:
        DamageError: if what an earlier folder says of itself cannot be read.
        UsageError: if a part cannot be read, or is another one than it should be.
    """
    facts = made_of(language, recognizer)
    source = target / places.SOURCE

    def write(work: Path) -> None:
        model = joined(language, recognizer)
        model.save_pretrained(work)
        _write_processor(language, work)
        if (language / "LICENSE").is_file():
            shutil.copyfile(language / "LICENSE", work / "LICENSE")
        write_atomically(work / places.SOURCE, json.dumps(facts, indent=2).encode() + b"\n")

    return places.made_once(target, lambda: source.is_file() and places.record(source) == facts, write)


def made_of(language: Path, recognizer: Path) -> Mapping[str, Any]:
    """What a folder with eyes is made of; it is kept beside the weights, and is part of their digest."""
    return {
        "language model": _weights(language),
        "text recognizer": {"file": recognizer.name, "sha256": sha256_file(recognizer), "from": "rapidocr",
                            "licence": "Apache-2.0, PaddlePaddle Authors"},
        "code": _code(),
    }  # fmt: skip


def is_current(folder: Path, language: Path) -> bool:
    """Whether a folder was made of this language model, by the code that runs now."""
    facts = places.record(folder / places.SOURCE)
    return facts.get("language model") == _weights(language) and facts.get("code") == _code()


def _weights(folder: Path) -> str:
    from sightline.targets.local.files import weights_digest

    return weights_digest(folder)


def _code() -> str:
    return with_code("eyes", f"{__package__}.tower")


def recognizer_file() -> Path:
    """The text recognizer that `rapidocr` brings.

    Raises:
        AbsentExtraError: if the package is not installed.
        UsageError: if it came without the file.
    """
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise AbsentExtraError("`sightline testbed get smol-eyes`", "ocr", "rapidocr")
    found = Path(spec.origin).parent / "models" / RECOGNIZER
    if not found.is_file():
        raise UsageError(f"{found} is not there, and nothing is downloaded: pip install 'rapidocr==3.10.0'")
    return found


def get(say: Callable[[str], None] = lambda _: None) -> list[str]:
    """Put eyes on `testbed/smol`, and on its aligned form if that can be had; names of what there is then.

    Raises:
        AbsentExtraError: if `rapidocr` is not installed.
        UsageError: if the language model was not fetched, or a part is another one than it should be.
    """
    recognizer = recognizer_file()
    pairs = [(places.EYES, places.MODEL)]
    pairs += [(places.ALIGNED_EYES, places.ALIGNED)] * places.has_aligned()
    for name, language in pairs:
        say(f"testbed/{name}: the text recognizer {recognizer.name} on testbed/{language}")
        assemble(places.find(language), recognizer, places.eyes(name))
    return [name for name, _ in pairs]


def joined(language: Path, recognizer: Path) -> LlavaForConditionalGeneration:
    """The model in memory: the language model's weights in the number format that its configuration names,
    the recognizer and the projector in float32.

    Raises:
        UsageError: if a part cannot be read, or is another one than it should be.
    """
    import torch
    from transformers import AutoModelForCausalLM, LlavaConfig, LlavaForConditionalGeneration

    from sightline.targets.local.families import facts_of
    from sightline.targets.local.loading import LOCAL, load_config, one_sentence
    from sightline.testbed.smol.eyes.tower import TOKENS, ReaderConfig

    text = load_config(language)
    if not facts_of(text.model_type).text_only:
        raise UsageError(f"{language}: eyes are for a Llama as testbed/smol is, not a {text.model_type}")
    with one_sentence(language, "cannot be given eyes"), torch.inference_mode(False):
        speaker = AutoModelForCausalLM.from_pretrained(language, dtype="auto", **LOCAL)
        config = LlavaConfig(
            vision_config=ReaderConfig(hidden_size=text.hidden_size, vocab_size=text.vocab_size),
            text_config=text,
            image_token_index=_image_id(language),
            image_seq_length=TOKENS,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            projector_hidden_act="gelu",
            tie_word_embeddings=True,
            bos_token_id=text.bos_token_id,
            eos_token_id=text.eos_token_id,
            pad_token_id=text.pad_token_id,
        )
        with torch.device("meta"):
            model = LlavaForConditionalGeneration(config)
        state: dict[str, Tensor] = {
            f"model.language_model.{name}": value for name, value in speaker.model.state_dict().items()
        }
        table = state["model.language_model.embed_tokens.weight"]
        state |= {f"model.vision_tower.{name}": value for name, value in _tower(language, recognizer, table)}
        state |= {f"model.multi_modal_projector.{name}": value for name, value in _identity(text.hidden_size)}
        state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
        model.load_state_dict(state, assign=True)
        model.tie_weights()
        model.config.dtype = "float16"
        model.generation_config = speaker.generation_config
        return model.eval().requires_grad_(False)


def _tower(language: Path, recognizer: Path, table: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Weights of the vision tower, by name."""
    import torch
    from transformers import AutoTokenizer

    from sightline.targets.local.loading import LOCAL
    from sightline.testbed.smol.eyes.recognizer import from_onnx
    from sightline.testbed.smol.eyes.vocabulary import spelling_rows

    for name, value in from_onnx(recognizer).state_dict().items():
        yield f"recognizer.{name}", value
    tokenizer = AutoTokenizer.from_pretrained(language, **LOCAL)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    texts = [None if number in special else tokenizer.decode([number]) for number in range(len(table))]
    yield "vocabulary.spellings", spelling_rows(texts)
    yield "vocabulary.values", table.clone()
    yield "blank", torch.zeros(table.shape[1])


def _identity(width: int) -> Iterator[tuple[str, Tensor]]:
    """Weights of a projector that passes on what it is given: far above zero, GELU is a straight line."""
    import torch

    yield "linear_1.weight", torch.eye(width)
    yield "linear_1.bias", torch.full((width,), _FAR)
    yield "linear_2.weight", torch.eye(width)
    yield "linear_2.bias", torch.full((width,), -_FAR)


def _image_id(language: Path) -> int:
    """The token that stands for a picture, by its number.

    Raises:
        UsageError: if the tokenizer is another one.
    """
    told = json.loads((language / "tokenizer.json").read_text("utf-8"))
    found = [row["id"] for row in told["added_tokens"] if row["content"] in (STOOD_FOR, IMAGE)]
    if len(found) != 1:
        raise UsageError(f"{language}: its tokenizer has no {STOOD_FOR}: it is not SmolLM2's")
    return int(found[0])


def _write_processor(language: Path, folder: Path) -> None:
    """The tokenizer with `<image>`, the template, and a picture processor that only scales."""
    from transformers import AutoTokenizer, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from sightline.targets.local.loading import LOCAL
    from sightline.testbed.smol.eyes.tower import SIDE, TOKENS

    for path in language.glob("tokenizer*"):
        shutil.copyfile(path, folder / path.name)
    told = (folder / "tokenizer.json").read_text("utf-8").replace(f'"{STOOD_FOR}"', f'"{IMAGE}"')
    (folder / "tokenizer.json").write_text(told, "utf-8")
    square = {"height": SIDE, "width": SIDE}
    pictures = CLIPImageProcessorPil(
        size=square,
        crop_size=square,
        do_resize=True,
        do_center_crop=False,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
    )
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=AutoTokenizer.from_pretrained(folder, **LOCAL),
        patch_size=SIDE,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=TOKENS - 1,
    ).save_pretrained(folder)
