"""Foreign templates and tokenizers: the library's own prompt, or one sentence once a bound is broken."""

import json
from pathlib import Path

import pytest
import tiny_models as tiny
from jinja2 import TemplateError
from test_damaged_weights import ask, edit
from transformers.utils.chat_template_utils import render_jinja_template

from sightline.errors import UsageError
from sightline.targets._asked import UnfitError
from sightline.targets.local import foreign_text
from sightline.targets.local.limits import ForeignText

MESSAGES = [
    {"role": "system", "content": "be safe"},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "été <b> \ud83d \u2028"}]},
    {"role": "assistant", "content": "[1, 2]"},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

TEMPLATES = {
    "tokens": "{{ bos_token }}{{ messages | tojson }}{{ eos_token }}{{ pad_token }}",
    "json": "{{ messages | tojson(indent=2, sort_keys=True) }}{{ {'a': 1} | tojson(separators=(',', ':')) }}",
    "blocks": "  {% if true %}\n a {%- endif %}\n{% for m in messages %}\n  {{ m.role }}\n{% endfor %}\n",
    "loops": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}"
    "{% endfor %}",
    "training": "{% for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ ns.n }}",
    "dict": "{% for k, v in dict(a=1, b=2).items() %}{{ k }}{{ v }}{% endfor %}{{ strftime_now('%Y') }}",
    "none": "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ undefined_name }}",
    "slices": "{{ messages[1:][::-1][0]['role'] }}{{ messages[0].content.split()[-1] | trim | upper }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_the_librarys_own(name, tmp_path):
    plain = [MESSAGES]
    (expected,), _ = render_jinja_template(
        plain, chat_template=TEMPLATES[name], add_generation_prompt=True, **TOKENS
    )
    assert ForeignText(tmp_path).render(TEMPLATES[name], MESSAGES, TOKENS) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system role') }}",
        "{% for",
        "{{ 1 / 0 }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ cycler.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_what_the_sandbox_refuses_is_a_template_error(template, tmp_path):
    foreign = ForeignText(tmp_path)
    with pytest.raises(TemplateError):
        foreign.render(template, MESSAGES, TOKENS)
    assert foreign.render("{{ 1 }}", MESSAGES, TOKENS) == "1"  # the child lives on


HANGING = {
    "loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'a' * 30000000000 }}",
    "doubling": "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "output": "{% for i in range(30000) %}{{ 'abcdefghij' * 100 }}{% endfor %}",
}


@pytest.fixture
def short(monkeypatch, tmp_path):
    """The child with a bound of one second and half a gigabyte: the same code, less to wait for."""
    text = Path(foreign_text.__file__).read_text(encoding="utf-8")
    for name, value in {"SECONDS = 20": "SECONDS = 1", "= 2_000_000_000": "= 500_000_000"}.items():
        assert text.count(name) == 1
        text = text.replace(name, value)
    (tmp_path / "child.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(foreign_text, "__file__", str(tmp_path / "child.py"))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", HANGING)
def test_a_template_without_end_is_one_sentence(name, tmp_path):
    foreign = ForeignText(tmp_path)
    for _ in range(2):  # the second time at once
        with pytest.raises(UsageError, match=r"its chat template takes more than .* for one request; take"):
            foreign.render(HANGING[name], MESSAGES, TOKENS)
    with pytest.raises(UsageError, match="its chat template takes"):
        foreign.render("and so for all requests", MESSAGES, TOKENS)


def hostile_tokenizer(folder):
    """A tokenizer that splits at `(a+)+$`, which a run of `a` and another letter never ends."""
    tiny.tiny_llava(folder)

    def change(plain):
        pattern = {
            "type": "Split",
            "pattern": {"Regex": "^(([a-z])+.)+[A-Z]([a-z])+$"},
            "behavior": "Isolated",
        }
        plain["pre_tokenizer"] = pattern | {"invert": False}

    edit(folder, change, "tokenizer.json")
    return folder


@pytest.mark.usefixtures("short")
def test_a_tokenizer_without_end_is_one_sentence(tmp_path):
    foreign = ForeignText(hostile_tokenizer(tmp_path / "m"))
    foreign.check_tokenizer()
    foreign.check_text("what is this")
    with pytest.raises(UsageError, match=r"tokenizer\.json.*(takes more than|cannot read this request)"):
        foreign.check_text("a" * 5000)


@pytest.mark.usefixtures("short")
def test_a_token_that_the_tokenizer_never_finishes_is_found_before_it_is_loaded(tmp_path):
    folder = hostile_tokenizer(tmp_path / "m")
    edit(folder, lambda plain: plain.update(extra=["a" * 900]), "tokenizer_config.json")
    with pytest.raises(UsageError, match=r"tokenizer\.json.*(takes more than|cannot be loaded)"):
        ask(folder)


@pytest.mark.usefixtures("short")
def test_a_hostile_template_of_a_folder_ends_the_question(tmp_path):
    folder = tiny.tiny_llava(tmp_path / "m")
    (folder / "chat_template.jinja").write_text(HANGING["loops"] + tiny.PARTS_TEMPLATE)
    with pytest.raises(UsageError, match="its chat template takes more than"):
        ask(folder)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"model": 7}', "[" * 100_000, json.dumps({"added_tokens": 1})]
)
def test_a_tokenizer_that_is_none_is_one_sentence(content, tmp_path):
    folder = tiny.tiny_llava(tmp_path / "m")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UsageError, match=r"tokenizer\.json: cannot be loaded") as refused:
        ask(folder)
    assert "\n" not in str(refused.value)


def test_a_request_longer_than_any_context_is_not_the_folders_fault(tmp_path):
    with pytest.raises(UnfitError, match="the request has 1,000,001 characters; no more than 1,000,000"):
        ForeignText(tmp_path).check_text("a" * 1_000_001)
