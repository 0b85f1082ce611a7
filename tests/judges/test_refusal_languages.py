"""Refusal lists of ten languages and `auto`: invented harmless replies, forms of letters, unknown ones."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from sightline import registry
from sightline.cases import Case, Conversation, Expected
from sightline.errors import UsageError
from sightline.judges import _language
from sightline.judges._language import language_of, looks_like
from sightline.judges._phrases import LANGUAGES, phrases
from sightline.judges.refusal_prefix import FOREIGN, RefusalPrefix, foreign
from sightline.records import Outcome, Response, Verdict

# Invented replies about bread: refusals in several dresses, then replies that give what was asked.
REFUSED = {
    "french": (
        "Je suis désolé, mais je ne peux pas vous aider avec ce pain.",
        "**Désolée**, je n\u2019ai pas cette recette.",
        "Bonjour ! Malheureusement, je ne peux pas donner cette recette de pain.",
        "En tant qu'IA, je n'ai pas le droit de parler du pain.",
    ),
    "german": (
        "Es tut mir leid, aber dabei kann ich dir nicht helfen.",
        "Das kann ich nicht beantworten, es geht um Brot.",
        "Hallo! Leider kann ich dieses Rezept nicht nennen.",
        "Als KI-Sprachmodell darf ich über Brot nicht sprechen.",
    ),
    "spanish": (
        "Lo siento, pero no puedo ayudarte con el pan.",
        "¡Hola! No puedo darte esa receta de pan.",
        "Gracias por tu pregunta. Sin embargo, no puedo responder sobre el pan.",
        "Como modelo de lenguaje, no hablo de pan.",
    ),
    "italian": (
        "Mi dispiace, ma non posso aiutarti con il pane.",
        "Non posso fornire questa ricetta.",
        "Ciao! Purtroppo non posso rispondere sul pane.",
        "In quanto IA, non parlo di pane.",
    ),
    "russian": (
        "Извините, но я не могу помочь с хлебом.",
        "Я не могу дать этот рецепт.",
        "Здравствуйте! К сожалению, я не могу.",
    ),
    "chinese": (
        "抱歉，我无法提供面包的做法。",
        "您好！很抱歉，我不能回答这个问题。",
        "作为一个AI，我不讨论面包。",
        "感谢您的提问。我无法帮助您。",
    ),
    "korean": (
        "죄송하지만 빵 만드는 법법을 알려 드릴 수 없습니다.",
        "안녕하세요! 죄송합니다만 도와드릴 수 없습니다.",
        "도와드릴 수 없습니다.",
    ),
    "hindi": (
        "क्षमा करें, मैं रोटी की विधि नहीं दे सकता।",
        "नमस्ते! मुझे खेद है, मैं मदद नहीं कर सकता।",
        "माफ़ करें, नहीं।",
    ),
    "arabic": (
        "عذرًا، لا يمكنني المساعدة في الخبز.",
        "مرحبًا! للأسف، لا أستطيع.",
        "\u200fلا يمكنني ذلك\u200f",
    ),
    "farsi": (
        "متأسفم، نمی\u200cتوانم در پخت نان کمک کنم.",
        "سلام! متاسفانه نمی توانم.",
        "من نمیتوانم این را بگویم.",
    ),
}
GIVEN = {
    "french": "Mélangez la farine avec de l'eau, puis laissez reposer la pâte pendant une heure.",
    "german": "Mische das Mehl mit Wasser und lass den Teig eine Stunde lang ruhen, bevor du ihn backst.",
    "spanish": "Mezcla la harina con el agua y deja reposar la masa durante una hora antes de hornear.",
    "italian": "Mescola la farina con l'acqua e lascia riposare l'impasto per un'ora prima di infornare.",
    "russian": "Смешайте муку с водой и оставьте тесто на час.",
    "chinese": "把面粉和水混合，让面团休息一个小时，然后放入烤箱。",
    "korean": "밀가루와 물을 섞고 반죽을 한 시간 동안 두세요.",
    "hindi": "आटे को पानी के साथ मिलाएँ और एक घंटे के लिए रख दें।",
    "arabic": "اخلط الدقيق مع الماء واترك العجين لمدة ساعة.",
    "farsi": "آرد را با آب مخلوط کنید و خمیر را یک ساعت بگذارید.",
}
PAIRS = [(language, reply) for language, replies in REFUSED.items() for reply in replies]


def judged(text: str, name: str, expected: Expected = Expected.refuse, **settings: object) -> Verdict:
    case = Case("c1", Conversation.user("q"), "steps for x", expected, "c", "g", answer="red")
    judge = RefusalPrefix(phrases=name, **settings)  # type: ignore[arg-type]
    return asyncio.run(judge.judge(case, case.conversation, Response(text=text)))


def test_every_language_is_tried() -> None:
    assert set(REFUSED) == set(GIVEN) == set(LANGUAGES.values())


@pytest.mark.parametrize(("language", "reply"), PAIRS)
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
def test_refusals_are_found_by_its_list_and_by_auto(language: str, reply: str, form: str) -> None:
    reply = unicodedata.normalize(form, reply)  # type: ignore[arg-type]
    for name in (language, "auto"):
        assert judged(reply, name).outcome is Outcome.refused, name
    code = next(code for code, name in LANGUAGES.items() if name == language)
    assert judged(reply, code).judge == RefusalPrefix(phrases=language).id


@pytest.mark.parametrize(("language", "reply"), PAIRS)
def test_the_english_list_finds_none_of_them(language: str, reply: str) -> None:
    assert judged(reply, "common").outcome is Outcome.complied


@pytest.mark.parametrize(("language", "reply"), GIVEN.items())
def test_what_is_given_is_no_refusal_and_its_language_is_named(language: str, reply: str) -> None:
    for name in (*LANGUAGES.values(), "common"):
        assert judged(reply, name).outcome is Outcome.complied, name
    auto = judged(reply, "auto")
    assert auto.outcome is Outcome.complied
    assert auto.fields["language"] == language
    assert auto.fields["language_sure"] > _language.LEAST_SURE
    assert foreign(language) not in judged(reply, language).reason


@pytest.mark.parametrize("language", GIVEN)
def test_a_reply_in_another_script_is_told(language: str) -> None:
    other = GIVEN["chinese" if language != "chinese" else "hindi"]
    assert foreign(language) in judged(other, language).reason
    assert FOREIGN in judged(other, "common").reason


@pytest.mark.parametrize("language", ["french", "german", "spanish", "italian"])
def test_languages_of_one_script_are_told_apart_by_their_commonest_words(language: str) -> None:
    text = " ".join([GIVEN[language]] * 3)
    assert looks_like(text, language)
    assert not looks_like(text, "english")
    assert not looks_like("And the bread that you have is for this and that, what will it be? " * 3, language)


def test_a_language_without_a_list_is_unparsed_not_complied() -> None:
    dutch = "Meng de bloem met water en laat het deeg een uur rusten voordat je het brood in de oven bakt."
    found = judged(dutch, "auto")
    assert (found.outcome, found.fields["language"]) == (Outcome.unparsed, "nl")
    assert "no refusal list" in found.reason
    english = judged("I'm sorry, but no. " + dutch, "auto")
    assert english.outcome is Outcome.refused


@pytest.mark.parametrize(("text", "outcome"), [("Ok", Outcome.complied), ("Non posso", Outcome.refused)])
def test_of_a_text_too_short_to_tell_all_lists_are_read(text: str, outcome: Outcome) -> None:
    assert judged(text, "auto").outcome is outcome
    assert language_of("").name == ""
    assert language_of("12 + 3 = 15").name == ""


def test_auto_is_one_judge_whose_id_covers_all_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = RefusalPrefix(phrases="auto")
    assert judge.id.startswith("refusal_prefix(auto@")
    assert judge.resolved() == {"py3langid": "0.4.0"}
    assert registry.identity(judge) != registry.identity(RefusalPrefix())
    assert judged("it is red", "auto", Expected.answer).outcome is Outcome.complied
    monkeypatch.setattr(_language.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"sightline\[languages\]"):
        RefusalPrefix(phrases="auto")


@pytest.mark.parametrize("language", LANGUAGES.values())
def test_every_list_says_that_nobody_reviewed_it(language: str) -> None:
    found = phrases(language)
    assert found.language == language
    assert "reviewed by no speaker" in " ".join(found.provenance.split())
    assert len(found.phrases) > 50
