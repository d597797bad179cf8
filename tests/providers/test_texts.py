"""Templates, formats, dicts, YAML and look-ups."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from tests.providers.servers import need
from tests.workflows import Tier, every_tier, run

jinja2 = need("jinja2")


@every_tier
def test_a_template_is_filled_in(tier: Tier) -> None:
    text = "{% for each in names %}- {{ each }}\n{% endfor %}{{ self_ }} {{ text }} <b>\n"
    names = cs.task(lambda: ["a", "b"])()
    assert run(cs.template(text, names=names, self_=1, text="t"), tier=tier) == "- a\n- b\n1 t <b>\n"


@every_tier
def test_values_of_a_template_in_a_dict(tier: Tier) -> None:
    context = cs.task(lambda: {"a": 1, "b": 2, "context": 3, "self": 4})()
    assert (
        run(cs.template("{{ a }}{{ b }}{{ context }}{{ self_ }}", context=context, b=5, self_=6), tier=tier) == "1536"
    )
    assert run(cs.template("{{ a }}", {"a": 1}), tier=tier) == "1"
    with pytest.raises(TypeError, match=r"the context of cs\.template is a dict of values by name, not 'x'"):
        run(cs.template("{{ context }}", context="x"), tier=tier)


@every_tier
def test_a_template_that_is_wrong_or_lacks_a_value(tier: Tier) -> None:
    with pytest.raises(jinja2.TemplateSyntaxError):
        run(cs.template("{% for %}"), tier=tier)
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        run(cs.template("{{ name }}"), tier=tier)


@pytest.mark.parametrize(
    "text", ["{{ x.__class__.__mro__ }}", "{{ ''.__class__ }}", "{{ x.append(1) }}", "{{ '{0.__class__}'.format(x) }}"]
)
def test_a_template_does_not_reach_the_program_or_change_values(text: str) -> None:
    value: list[int] = []
    with pytest.raises(jinja2.TemplateError):
        run(cs.template(text, x=value))
    assert value == []


@every_tier
def test_format_is_that_of_str(tier: Tier) -> None:
    text = "{0:>4}|{name!r}|{x[k]}|{{}}|{n:{width}}|{0.real}"
    got = run(cs.format(text, 7, name="a", x={"k": 1}, n=3, width=3), tier=tier)
    assert got == text.format(7, name="a", x={"k": 1}, n=3, width=3)
    assert run(cs.format("{} {}", cs.dict(a=1), "b"), tier=tier) == "{'a': 1} b"


@pytest.mark.parametrize("text", ["{0.__class__}", "{x.__init__.__globals__}", "{0[a].__class__}", "{n:{0.__class__}}"])
def test_a_format_does_not_reach_the_program(text: str) -> None:
    with pytest.raises(ValueError, match="reads no private attributes"):
        run(cs.format(text, {"a": 1}, x=test_format_is_that_of_str, n=1))


def test_a_format_that_is_wrong_or_lacks_a_value() -> None:
    with pytest.raises(IndexError):
        run(cs.format("{}"))
    with pytest.raises(KeyError):
        run(cs.format("{name}"))
    with pytest.raises(ValueError, match=r"Single '{'"):
        run(cs.format("{"))


@every_tier
def test_dict_is_made_of_values(tier: Tier) -> None:
    two = cs.task(lambda: 2)()
    assert run(cs.dict([("a", 1)], b=two), tier=tier) == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        run(cs.dict(7), tier=tier)


DATA: dict[Any, Any] = {"db": {"main": {"port": 5432}, "list": [{"x": 1}, {"x": 2}], 7: "seven"}, "a.b": "dotted"}


@every_tier
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("db.main.port", 5432),
        ("db.list.1.x", 2),
        ("db.list.-1.x", 2),
        ("db.7", "seven"),
        ("a.b", "dotted"),
        (["db", "list", 0], {"x": 1}),
        (("a.b",), "dotted"),
    ],
)
def test_lookup(key: object, value: object, tier: Tier) -> None:
    assert run(cs.lookup(DATA, key), tier=tier) == value


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("db.man.port", "db has no 'man' .*; its keys are 'main', 'list', 7"),
        ("nothing", "the source has no 'nothing'"),
        ("db.list.5", "db.list has no '5' .*; it is a list of 2"),
        ("db.list.x", "it is a list of 2"),
        ("db.main.port.x", "db.main.port has no 'x' .*; it is a int"),
    ],
)
def test_a_lookup_of_what_is_not_there(key: str, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        run(cs.lookup(DATA, key))
    assert run(cs.lookup(DATA, key, default=None)) is None


@every_tier
def test_yaml_is_read_as_plain_data(tmp_path: Path, tier: Tier) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(textwrap.dedent("db:\n  name: é\n  ports: [1, 2]\n  on: 2026-01-02\n"), encoding="utf-8")
    assert run(cs.lookup(cs.load_yaml(path), "db.ports.1"), tier=tier) == 2
    assert run(cs.load_yaml(str(path)), tier=tier)["db"]["name"] == "é"


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: !!python/object/apply:os.system ['exit 1']",
        "a: 1\n---\nb: 2\n",
        "a: 1\nb: 2\na: 3\n",
        "x: [{1: a, 0x1: b}]\n",
        "<<: {a: 1}\n? [a]\n: 1\n",
    ],
)
def test_yaml_that_is_wrong_or_asks_for_objects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{path} cannot be read as YAML: .*"):
        run(cs.load_yaml(path))
    with pytest.raises(FileNotFoundError):
        run(cs.load_yaml(tmp_path / "nothing"))


def test_a_key_twice_in_yaml_is_told_with_its_line_and_a_merged_one_is_overridden(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("db:\n  port: 1\n  host: x\n  port: 2\n")
    with pytest.raises(ValueError, match=r"the key 'port' stands there twice(.|\n)*line 4"):
        run(cs.load_yaml(path))
    path.write_text("base: &b {a: 1, c: 2}\nover:\n  <<: *b\n  a: 3\nagain: {<<: *b, a: 4, d: {a: 5}}\nsame: *b\n")
    loaded = run(cs.load_yaml(path))
    assert (loaded["over"], loaded["again"]) == ({"a": 3, "c": 2}, {"a": 4, "c": 2, "d": {"a": 5}})
    assert loaded["same"] == loaded["base"] == {"a": 1, "c": 2}
