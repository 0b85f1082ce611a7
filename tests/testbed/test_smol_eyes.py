"""Eyes for testbed/smol: lines found, spelled softly, cut as the tokenizer cuts; a folder that answers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont
from typer.testing import CliRunner

import sightline
from sightline.cases import Case, Conversation, Expected, Image
from sightline.cli import app
from sightline.contracts import Decoding
from sightline.errors import AbsentExtraError, UsageError
from sightline.registry import parse
from sightline.store import Blobs, encode_png
from sightline.targets import LocalSettings, open_target
from sightline.testbed.smol import places
from sightline.testbed.smol.eyes import assembly, lines, spelling
from sightline.testbed.smol.eyes.onnx_file import read_onnx
from sightline.testbed.smol.eyes.recognizer import CHARACTERS, CLASSES, Recognizer, from_onnx
from sightline.testbed.smol.eyes.tower import SIDE, TOKENS, ReaderTower
from sightline.testbed.smol.eyes.vocabulary import NONE, Vocabulary, spelling_rows

pytestmark = pytest.mark.usefixtures("one_thread")
FONT = Path(sightline.__file__).parent / "fonts" / "DejaVuSans.ttf"
CPU = LocalSettings(device="cpu")
needs_ocr = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("rapidocr", "onnxruntime")),
    reason="pip install 'sightline[ocr]'",
)


def drawn(text: str, px: int = 40, ink: str = "black", paper: str = "white") -> np.ndarray:
    sheet = PilImage.new("RGB", (SIDE, SIDE), paper)
    ImageDraw.Draw(sheet).multiline_text((12, 10), text, font=ImageFont.truetype(FONT, px), fill=ink)
    return np.array(sheet)


def seen(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def scores(columns: str, sure: float = 1.0) -> torch.Tensor:
    """Log-probabilities of columns: `_` is the blank; what is not sure is spread over all classes."""
    found = torch.full((len(columns), CLASSES), (1 - sure) / CLASSES)
    for row, sign in zip(found, columns, strict=True):
        row[
            "_".index(sign) if sign == "_" else CLASSES - 1 if sign == " " else CHARACTERS.index(sign) + 1
        ] += sure
    return found.log()


# Lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ink", "paper"), [("black", "white"), ("white", "navy"), ("gray", "silver")])
def test_lines_are_found_in_order_and_dots_belong_to_theirs(ink, paper):
    found = lines.find(seen(drawn("iii\nsum\nmix", ink=ink, paper=paper)))
    assert len(found) == 3
    assert [box.top for box in found] == sorted(box.top for box in found)
    assert found[0].bottom - found[0].top > 1.2 * (
        found[1].bottom - found[1].top
    )  # i with its dot, against x


def test_an_empty_page_has_no_lines():
    assert lines.find(torch.full((3, SIDE, SIDE), 0.7)) == []


def test_a_cut_line_is_as_high_as_the_recognizer_reads_and_keeps_its_ratio():
    page = seen(drawn("a longer line"))
    (box,) = lines.find(page)
    part = lines.cut(page, box)
    assert part.shape[:3] == (1, 3, lines.HEIGHT)
    assert part.shape[3] % lines.STEP == 0
    assert (float(part.min()), float(part.max())) == pytest.approx((-1, 1), abs=0.05)


# Spelling -----------------------------------------------------------------------------------------------


def test_certain_scores_are_spelled_exactly_with_double_letters():
    found = spelling.pieces(spelling.spelled(scores("__bb_oo_o_k__ __a_.1_2__")), first=True)
    assert [(piece.text, piece.spaced) for piece in found] == [
        ("book", False), ("a", True), (".", False), ("1", False), ("2", False),
    ]  # fmt: skip
    for piece in found:
        ones = piece.signs.gather(1, torch.tensor([[CHARACTERS.index(sign)] for sign in piece.text]))
        assert float(ones.min()) == pytest.approx(1, abs=1e-6)


def test_a_line_after_another_begins_with_a_space():
    assert spelling.pieces(spelling.spelled(scores("_a_")), first=False)[0].spaced


def test_gradients_of_a_spelling_say_which_sign_would_change_it():
    logits = scores("_c_a_t_", sure=0.9).requires_grad_()
    (piece,) = spelling.pieces(spelling.spelled(logits.log_softmax(-1)), first=True)
    assert piece.text == "cat"
    piece.signs[1, CHARACTERS.index("u")].backward()
    grown = int(logits.grad[:, CHARACTERS.index("u") + 1].argmax())
    assert grown == 3  # the column of the a
    assert float(logits.grad[3, CHARACTERS.index("a") + 1]) < 0


# Vocabulary ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(BPE())
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)
    found.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    found.decoder = decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", assembly.STOOD_FOR]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = "knit a sweater, sweat a lot. knead a dough and bake the bread. the cat reads a book." * 3
    trainer = BpeTrainer(vocab_size=330, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    found.train_from_iterator([text], trainer)
    found.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return PreTrainedTokenizerFast(tokenizer_object=found, bos_token=marks[1], eos_token=marks[2],
                                   pad_token=marks[2], unk_token=marks[0])  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
    special = set(tokenizer.all_special_ids)
    texts = [None if number in special else tokenizer.decode([number]) for number in range(len(tokenizer))]
    found = Vocabulary(len(texts), 8)
    found.spellings.copy_(spelling_rows(texts))
    found.values.copy_(torch.randn(len(texts), 8, generator=torch.Generator().manual_seed(0)))
    return found


def sure(word: str) -> torch.Tensor:
    found = torch.zeros(len(word), len(CHARACTERS))
    for row, sign in zip(found, word, strict=True):
        row[CHARACTERS.index(sign)] = 1
    return found


@pytest.mark.parametrize("word", ["sweater", "the", "zebra", "Bread", ".", "7", "!?"])
@pytest.mark.parametrize("spaced", [False, True])
def test_a_piece_becomes_the_tokens_that_the_tokenizer_would_make(word, spaced, tokenizer, vocabulary):
    wanted = tokenizer(" " * spaced + word, add_special_tokens=False)["input_ids"]
    found = vocabulary(sure(word), word, spaced=spaced)
    assert torch.cdist(found, vocabulary.values).argmin(1).tolist() == wanted
    assert torch.allclose(found, vocabulary.values[wanted], atol=0.05)


def test_two_letters_that_are_alike_give_a_mixture_of_two_words(vocabulary, tokenizer):
    signs = sure("a")
    signs[0, CHARACTERS.index("a")], signs[0, CHARACTERS.index("o")] = 0.5, 0.5
    a, o = (vocabulary.values[tokenizer.convert_tokens_to_ids(sign)] for sign in "ao")
    (found,) = vocabulary(signs, "a", spaced=False)
    assert torch.allclose(found, (a + o) / 2, atol=0.1)


def test_entries_with_other_signs_are_not_known():
    rows = spelling_rows([None, " a", "é", "seventeen letters"])
    assert rows[:, 0].tolist() == [NONE, 254, NONE, NONE]


# The recognizer's file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"not a graph at all", b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_onnx_is_told(data, tmp_path):
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(UsageError, match="cannot be read as an ONNX file"):
        read_onnx(tmp_path / "x.onnx")


def test_another_network_is_told(tmp_path):
    node = b"\x22\x04Relu"  # field 4 of a node: its type
    graph = b"\x0a" + bytes([len(node)]) + node
    (tmp_path / "x.onnx").write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(UsageError, match="not the network PP-OCRv6_rec_small"):
        from_onnx(tmp_path / "x.onnx")


@needs_ocr
def test_the_torch_copy_gives_what_onnx_runtime_gives():
    import onnxruntime

    path = assembly.recognizer_file()
    line = lines.cut(seen(drawn("knit a sweater.")), lines.find(seen(drawn("knit a sweater.")))[0])
    session = onnxruntime.InferenceSession(str(path))
    all_of_them = session.run(None, {"x": line.numpy()})[0][0]
    file = read_onnx(path).facts["character"].split("\n")
    kept = all_of_them[:, [0, *(file.index(sign) + 1 for sign in CHARACTERS), all_of_them.shape[1] - 1]]
    with torch.inference_mode():
        ours = from_onnx(path)(line)[0].exp().numpy()
    assert np.abs(ours - kept / kept.sum(1, keepdims=True)).max() < 1e-4


@needs_ocr
@pytest.mark.parametrize("text", ["river music table", "Steps to\nknit a sweater.\n1.\n2.\n3."])
def test_drawn_words_are_read(text):
    tower = recognizer_alone()
    tower.recognizer = from_onnx(assembly.recognizer_file())
    with torch.inference_mode():
        found = tower.read(seen(drawn(text)))
    assert "".join(" " * piece.spaced + piece.text for piece in found) == " ".join(text.split())


class Counting(torch.nn.Module):
    """A recognizer that reads nothing and counts the lines it is shown."""

    lines = 0

    def forward(self, line: torch.Tensor) -> torch.Tensor:
        self.lines += len(line)
        return scores("____")[None]


def test_a_page_full_of_specks_costs_no_more_lines_than_there_are_places():
    page = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for row in range(0, SIDE - 6, 6):
        page[row : row + 4, ::64] = 0
    tower = recognizer_alone()
    tower.recognizer = Counting()
    assert len(lines.find(seen(page))) > 2 * TOKENS
    assert tower.read(seen(page)) == []
    assert tower.recognizer.lines == TOKENS


def recognizer_alone() -> ReaderTower:
    from sightline.testbed.smol.eyes.tower import ReaderConfig

    return ReaderTower(ReaderConfig(hidden_size=8, vocab_size=4)).eval()


# The folder ---------------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path, tokenizer, monkeypatch):
    """A tiny language model with SmolLM2's kind of tokenizer where testbed/smol lies; random eyes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(places.model())
    plain = assembly.TEMPLATE.partition("{% if message['content'] is string %}")
    tokenizer.chat_template = (
        plain[0] + "{{ message['content'] }}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer.save_pretrained(places.model())
    (places.model() / places.SOURCE).write_text("{}")
    file = tmp_path / assembly.RECOGNIZER
    file.write_bytes(b"a recognizer")
    monkeypatch.setattr(assembly, "recognizer_file", lambda: file)
    monkeypatch.setattr("sightline.testbed.smol.eyes.recognizer.from_onnx", lambda path: steady())
    return places.model()


def steady() -> Recognizer:
    """Random weights that are always the same."""
    torch.manual_seed(1)
    return Recognizer().eval()


def test_eyes_leave_the_language_model_as_it_was_and_answer_pictures(base, tmp_path):
    done = CliRunner().invoke(app, ["testbed", "get", "smol-eyes"])
    assert done.exit_code == 0, done.output
    assert "testbed/smol@eyes" in done.output
    assert "aligned" not in done.output
    blobs = Blobs(tmp_path / "blobs")
    decoding = Decoding(max_tokens=6)
    sighted, blind = (open_target(f"testbed/{name}", blobs, local=CPU) for name in ("smol@eyes", "smol"))
    ids = torch.tensor([[7, 40, 99, 250]])
    own, before = (target.loaded().model(input_ids=ids).logits for target in (sighted, blind))
    assert torch.equal(own, before)
    picture = blobs.put(encode_png(drawn("knit")))
    answer = asyncio.run(sighted.generate(Conversation.user(picture, "knead"), decoding))
    assert answer.stop != "error"
    assert answer.cost.tokens_in > TOKENS
    refused = asyncio.run(blind.generate(Conversation.user(picture, "knead"), decoding))
    assert refused.stop == "error"


def test_the_projector_begins_as_the_identity(base, tmp_path):
    model = assembly.joined(base, tmp_path / assembly.RECOGNIZER)
    shown = torch.randn(5, 32)
    assert torch.allclose(model.model.multi_modal_projector(shown), shown, atol=1e-4)


def test_an_attackers_gradients_reach_the_pixels_and_an_empty_page_has_none(base):
    from sightline.whitebox import open_victim
    from sightline.whitebox.victim import Pair

    assembly.get()
    victim = open_victim("testbed/smol@eyes", local=CPU)
    stands = Image("0" * 64, SIDE, SIDE)  # for the attacked picture
    pair = Pair(prompt=Conversation.user(stands, "knead a dough"), target="knit")
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for pixels, some in ((drawn("knit\na sweater"), True), (blank, False)):
        x = seen(pixels)[None].requires_grad_()
        victim.rows(x, [pair]).nll.sum().backward()
        assert bool(x.grad.abs().sum() > 0) == some


def test_a_recipe_trains_it_but_for_the_tower_and_the_result_is_a_target(base, tmp_path):
    from sightline.training.lessons import Cases, lessons_of
    from sightline.training.work import train

    assembly.get()
    blobs = Blobs(tmp_path / "blobs")
    asked = Conversation.user(blobs.put(encode_png(drawn("knit"))), "knead")
    row = Case(
        id="a row", conversation=asked, behavior="knead", expected=Expected.comply, category="c", group="g",
        answer="knit a sweater",
    )  # fmt: skip
    lessons = lessons_of([Cases("rows", [row])])
    recipe = parse("recipe", "repair(steps=1, batch=1, ratio=0)")
    found = train(recipe, "testbed/smol@eyes", lessons, blobs, seed=0, local=CPU)
    trained = found.record["trained_weights"]
    assert trained["language"] > trained["tower"] == 0
    answer = asyncio.run(open_target(found.name, blobs, local=CPU).generate(asked, Decoding(max_tokens=4)))
    assert answer.stop != "error"


def test_a_changed_language_model_wants_new_eyes(base):
    assembly.get()
    assert places.find(places.EYES).name == "eyes"
    (base / "config.json").write_text(
        json.dumps({**json.loads((base / "config.json").read_text()), "note": 1})
    )
    with pytest.raises(UsageError, match="run `sightline testbed get smol-eyes` again"):
        places.find(places.EYES)
    assembly.get()
    assert places.find(places.EYES).name == "eyes"


def test_what_is_not_there_is_told_with_its_cure(base, monkeypatch):
    with pytest.raises(UsageError, match=r"put together .* run `sightline testbed get smol-eyes`"):
        places.find(places.EYES)
    with pytest.raises(
        UsageError, match="run `sightline testbed align smol`, then `sightline testbed get smol-e"
    ):
        places.find(places.ALIGNED_EYES)
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AbsentExtraError, match=r"sightline\[ocr\]"):
        assembly.recognizer_file()


def test_a_model_without_the_token_that_becomes_a_picture_is_refused(base, tmp_path):
    told = (base / "tokenizer.json").read_text("utf-8").replace(assembly.STOOD_FOR, "<|other|>")
    (base / "tokenizer.json").write_text(told, "utf-8")
    with pytest.raises(UsageError, match="it is not SmolLM2's"):
        assembly.joined(base, tmp_path / assembly.RECOGNIZER)
