"""Chat templates are programs of strangers: they run in a sandbox and fail as arguments."""

from __future__ import annotations

import datetime

import pytest

from modelyard.engines.chat import render_chat
from modelyard.errors import InvalidArgumentError, UnsupportedError
from modelyard.types import ImagePart, Message

TURNS = [Message("system", "Be brief."), Message("user", "Hi {{ 7 * 7 }}"), Message("assistant", "Yes?")]


def render(template: str, turns: list[Message] = TURNS) -> str:
    return render_chat(template, turns, bos="<s>", eos="</s>")[0]


def test_a_template_sees_messages_and_special_tokens_and_writes_the_answers_beginning() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    expected = "<s><system>Be brief.</s><user>Hi {{ 7 * 7 }}</s><assistant>Yes?</s><assistant>"
    assert render_chat(template, TURNS, bos="<s>", eos="</s>") == (expected, True)


def test_without_a_template_the_texts_are_given_as_they_stand_and_that_is_said() -> None:
    assert render_chat(None, TURNS) == ("Be brief.\n\nHi {{ 7 * 7 }}\n\nYes?", False)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append('x') }}",
        "{{ messages[0].update({'role': 'user'}) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ (messages|map(attribute='__class__')|list)[0].__name__ }}",
        "{{ '{0.__class__}'.format(bos_token) }}",
        "{{ range(10**9)|list }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_the_sandbox_refuses(template: str) -> None:
    try:
        text = render(template)
    except InvalidArgumentError:
        return
    assert "class" not in text and "object" not in text


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 / 0 }}",
        "{{ messages[99].role.upper() }}",
        "{{ 'a' + 1 }}",
        "{{ nothing.at.all }}",
        "{{ messages|tojson(indent='x'*3, sort_keys=nothing.more) }}",
        "{{ strftime_now(5) }}",
    ],
)
def test_whatever_a_template_raises_is_an_argument_error(template: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"chat template refused the messages \(system, user"):
        render(template)


@pytest.mark.parametrize("template", ["{% for %}", "{{ messages ", "{{ x|no_such_filter }}", "{% endif %}"])
def test_a_template_with_a_mistake_names_the_line(template: str) -> None:
    with pytest.raises(InvalidArgumentError, match="mistake in line 2"):
        render("fine\n" + template)


def test_what_the_template_itself_refuses_is_passed_on() -> None:
    with pytest.raises(InvalidArgumentError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


def test_tojson_leaves_letters_as_they_are_and_takes_the_usual_arguments() -> None:
    assert render("{{ {'b': 'é<', 'a': 1}|tojson }}") == '{"b": "é<", "a": 1}'
    assert render(
        "{{ {'b': 'é', 'a': 1}|tojson(sort_keys=true, ensure_ascii=true, separators=(',', ':')) }}"
    ) == ('{"a":1,"b":"\\u00e9"}')


def test_strftime_now_gives_the_date() -> None:
    assert render("{{ strftime_now('%Y') }}") == str(datetime.datetime.now().year)


def test_loops_can_be_left_as_many_templates_do() -> None:
    assert render("{% for m in messages %}{{ m.role }}{% break %}{% endfor %}") == "system"


def test_images_are_refused_by_a_model_of_text() -> None:
    with pytest.raises(UnsupportedError, match="images"):
        render("x", [Message("user", (ImagePart(b"png"),))])
