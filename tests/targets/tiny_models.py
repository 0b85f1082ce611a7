"""Random-weight models of a few thousand parameters, with tokenizers made in code, saved as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

# fmt: off
WORDS = (
    "the", "red", "square", "is", "in", "top", "of", "image", "and", "one", "two", "three", "be", "safe",
    "what", "this", "system", "probe", "user", "assistant", "now", "a", "b", "c", "d", "e", "f", "g", "h",
    "again", "more", "text", "question", "answer",
)
# fmt: on
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
SIZE, PATCH = 32, 8

PARTS_TEMPLATE = (
    "{% for m in messages %}{{ '<' + m['role'] + '> ' }}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}{{ '<image> ' }}"
    "{% else %}{{ p['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
NO_SYSTEM_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + PARTS_TEMPLATE
)


def tokenizer(*extra: str, template: str | None = PARTS_TEMPLATE) -> PreTrainedTokenizerFast:
    roles = ("<user>", "<assistant>", "<system>")
    vocabulary = {token: place for place, token in enumerate((*SPECIALS, *roles, *WORDS))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        chat_template=template,
    )
    made.add_special_tokens({"additional_special_tokens": [*roles, *extra]})
    return made


def _llama(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.3,  # answers must depend on what is shown
    }


def _vision() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": PATCH,
        "initializer_range": 0.2,
    }


def _clip_pictures() -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    square = {"height": SIZE, "width": SIZE}
    return CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False)


def tiny_llava(folder: Path, *, seed: int = 0, template: str | None = PARTS_TEMPLATE) -> Path:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer("<image>", template=template)
    count = (SIZE // PATCH) ** 2
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_vision()),
        text_config=LlamaConfig(**_llama(len(words))),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=count,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(seed)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        image_processor=_clip_pictures(),
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def tiny_llava_next(folder: Path) -> Path:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextProcessor,
    )
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    words = tokenizer("<image>")
    points = [[SIZE, 2 * SIZE], [2 * SIZE, SIZE], [2 * SIZE, 2 * SIZE]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**_vision()),
        text_config=LlamaConfig(**_llama(len(words))),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=points,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(0)
    LlavaNextForConditionalGeneration(config).save_pretrained(folder)
    square = {"height": SIZE, "width": SIZE}
    LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": SIZE}, crop_size=square, image_grid_pinpoints=points
        ),
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=PARTS_TEMPLATE,
    ).save_pretrained(folder)
    return folder


def _qformer() -> dict[str, Any]:
    return {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "encoder_hidden_size": 32,
        "cross_attention_frequency": 1,
        "initializer_range": 0.2,
    }


def tiny_blip2(folder: Path) -> Path:
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    words = tokenizer(template=None)
    pictures = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    processor = Blip2Processor(pictures, words, num_query_tokens=4)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**_vision()).to_dict(),
        qformer_config=Blip2QFormerConfig(**_qformer()).to_dict(),
        text_config=OPTConfig(
            vocab_size=len(words),
            hidden_size=32,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            word_embed_proj_dim=32,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            init_std=0.3,
        ).to_dict(),
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_blip2_chat(folder: Path) -> Path:
    """BLIP-2 with a Llama and a chat template; asked with one picture or none."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        LlamaConfig,
    )
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    words = tokenizer(template=PARTS_TEMPLATE)  # its <image> would be one too many: the processor adds all
    processor = Blip2Processor(
        BlipImageProcessorPil(size={"height": SIZE, "width": SIZE}), words, num_query_tokens=4
    )
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**_vision()).to_dict(),
        qformer_config=Blip2QFormerConfig(**_qformer()).to_dict(),
        text_config=LlamaConfig(**_llama(len(words)), tie_word_embeddings=True).to_dict(),
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens)  # zeros in a fresh model: all queries would be one
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_idefics(folder: Path, *, template: str | None = PARTS_TEMPLATE) -> Path:
    from transformers import IdeficsConfig, IdeficsForVisionText2Text, IdeficsProcessor
    from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

    words = tokenizer("<image>", "<fake_token_around_image>", template=template)
    vision = {key: value for key, value in _vision().items() if key != "hidden_size"} | {"embed_dim": 32}
    text = {key: value for key, value in _llama(len(words)).items() if key != "num_key_value_heads"}
    config = IdeficsConfig(
        vision_config=vision,
        additional_vocab_size=0,
        alpha_initializer="ones",  # zeros in a fresh model: pictures would not matter
        alpha_type="vector",
        **text,
    )
    torch.manual_seed(0)
    IdeficsForVisionText2Text(config).save_pretrained(folder)
    IdeficsProcessor(IdeficsImageProcessorPil(image_size=SIZE), words, image_size=SIZE).save_pretrained(
        folder
    )
    return folder


def tiny_idefics3(folder: Path) -> Path:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor, LlamaConfig
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    rows = [f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)]
    words = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows)
    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * SIZE}, max_image_size={"longest_edge": SIZE}
    )
    processor = Idefics3Processor(pictures, words, image_seq_len=4, chat_template=PARTS_TEMPLATE)
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(**_vision()),
        text_config=LlamaConfig(**_llama(len(words))),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


QWEN_TEMPLATE = PARTS_TEMPLATE.replace("<image>", "<|vision_start|> <|image_pad|> <|vision_end|>")


def save_qwen_processors(folder: Path, words: Any) -> Path:
    """Write tokenizer and picture processor, as both generations of Qwen have them."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    words.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64},
    ).save_pretrained(folder)
    return folder


def tiny_qwen2_vl(folder: Path) -> Path:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*marks, template=QWEN_TEMPLATE)
    start, end, picture, video = words.convert_tokens_to_ids(list(marks))
    text = {key: value for key, value in _llama(len(words)).items()}
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "initializer_range": 0.2,
        },
        image_token_id=picture,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    torch.manual_seed(0)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    return save_qwen_processors(folder, words)


def tiny_instructblip(folder: Path) -> Path:
    from transformers import (
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
        LlamaConfig,
    )
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    words, reader = tokenizer(template=None), tokenizer(template=None)
    reader.padding_side = "right"
    processor = InstructBlipProcessor(
        BlipImageProcessorPil(size={"height": SIZE, "width": SIZE}), words, reader, num_query_tokens=4
    )
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(**_vision()).to_dict(),
        qformer_config=InstructBlipQFormerConfig(**_qformer()).to_dict(),
        text_config=LlamaConfig(**_llama(len(words))).to_dict(),
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    InstructBlipForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_idefics2(folder: Path) -> Path:
    from transformers import (
        Idefics2Config,
        Idefics2ForConditionalGeneration,
        Idefics2Processor,
        MistralConfig,
    )
    from transformers.models.idefics2.configuration_idefics2 import (
        Idefics2PerceiverConfig,
        Idefics2VisionConfig,
    )
    from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

    words = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>")
    pictures = Idefics2ImageProcessorPil(
        size={"shortest_edge": SIZE // 2, "longest_edge": SIZE}, do_image_splitting=False
    )
    processor = Idefics2Processor(pictures, words, image_seq_len=4, chat_template=PARTS_TEMPLATE)
    config = Idefics2Config(
        vision_config=Idefics2VisionConfig(**_vision()),
        perceiver_config=Idefics2PerceiverConfig(
            hidden_size=32,
            resampler_n_latents=4,
            resampler_depth=1,
            resampler_n_heads=2,
            resampler_head_dim=16,
            num_key_value_heads=1,
        ),
        text_config=MistralConfig(**_llama(len(words)), head_dim=16),
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    Idefics2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_mllama(folder: Path) -> Path:
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaProcessor
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

    template = PARTS_TEMPLATE.replace("<image>", "<|image|>")
    words = tokenizer("<|image|>", "<|python_tag|>", template=template)
    pictures = MllamaImageProcessorPil(size={"height": SIZE, "width": SIZE}, max_image_tiles=2)
    text = _llama(len(words)) | {"num_hidden_layers": 4, "cross_attention_layers": [1, 3]}
    config = MllamaConfig(
        vision_config=MllamaVisionConfig(
            hidden_size=32,
            attention_heads=2,
            intermediate_size=48,
            num_hidden_layers=2,
            num_global_layers=1,
            image_size=SIZE,
            patch_size=PATCH,
            max_num_tiles=2,
            vision_output_dim=64,
            intermediate_layers_indices=[0],
            supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]],
            initializer_range=0.2,
        ),
        text_config=MllamaTextConfig(**text),
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    torch.manual_seed(0)
    model = MllamaForConditionalGeneration(config)
    for name, weight in model.named_parameters():
        if "gate" in name and weight.numel() == 1:
            weight.data.fill_(0.5)  # zero in a fresh model: pictures would not matter
    model.save_pretrained(folder)
    MllamaProcessor(pictures, words, chat_template=template).save_pretrained(folder)
    return folder


def tiny_paligemma(folder: Path) -> Path:
    from transformers import (
        GemmaConfig,
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipVisionConfig,
    )
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = tokenizer(template=None)
    count = (SIZE // PATCH) ** 2
    pictures = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    pictures.image_seq_length = count
    processor = PaliGemmaProcessor(pictures, words)
    text = _llama(len(words)) | {"head_dim": 16}
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**_vision(), num_image_tokens=count, projection_dim=32).to_dict(),
        text_config=GemmaConfig(**text).to_dict(),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
    )
    torch.manual_seed(0)
    PaliGemmaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_qwen2_5_vl(folder: Path) -> Path:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*marks, template=QWEN_TEMPLATE)
    start, end, picture, video = words.convert_tokens_to_ids(list(marks))
    text = _llama(len(words))
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": PATCH,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1],
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "initializer_range": 0.2,
        },
        image_token_id=picture,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    torch.manual_seed(0)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return save_qwen_processors(folder, words)


FAMILIES = {
    "qwen2_5_vl": tiny_qwen2_5_vl,
    "instructblip": tiny_instructblip,
    "idefics2": tiny_idefics2,
    "mllama": tiny_mllama,
    "paligemma": tiny_paligemma,
    "llava": tiny_llava,
    "llava_next": tiny_llava_next,
    "blip2": tiny_blip2,
    "blip2_chat": tiny_blip2_chat,
    "idefics": tiny_idefics,
    "idefics3": tiny_idefics3,
    "qwen2_vl": tiny_qwen2_vl,
}
