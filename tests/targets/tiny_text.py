"""A language model of a few thousand random weights that sees no pictures, saved as a folder, or as GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_models as tiny
import torch
from transformers import LlamaConfig, LlamaForCausalLM


def tiny_llama(folder: Path) -> Path:
    words = tiny.tokenizer()
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**tiny._llama(len(words)))).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def write_gguf(path: Path, *, layers: int = 1, without: str = "") -> Path:
    """A Llama of random weights with a byte-level vocabulary, as the GGUF of a real one is laid out."""
    import gguf

    config: dict[str, Any] = {"width": 32, "inner": 64, "heads": 2}
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "Ġ", "Ċ", "Ġt", "he", *letters]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_block_count(layers)
    writer.add_context_length(256)
    writer.add_embedding_length(config["width"])
    writer.add_feed_forward_length(config["inner"])
    writer.add_head_count(config["heads"])
    writer.add_head_count_kv(config["heads"])
    writer.add_rope_dimension_count(config["width"] // config["heads"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
    )
    torch.manual_seed(0)

    def add(name: str, *shape: int) -> None:
        if name == without:
            return
        writer.add_tensor(name, torch.randn(*shape).mul(0.3).numpy())

    width, inner = config["width"], config["inner"]
    add("token_embd.weight", len(tokens), width)
    add("output_norm.weight", width)
    for layer in range(layers):
        for name, shape in {
            "attn_norm": (width,),
            "attn_q": (width, width),
            "attn_k": (width, width),
            "attn_v": (width, width),
            "attn_output": (width, width),
            "ffn_norm": (width,),
            "ffn_gate": (inner, width),
            "ffn_up": (inner, width),
            "ffn_down": (width, inner),
        }.items():
            add(f"blk.{layer}.{name}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
