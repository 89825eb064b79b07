"""$name expansion, beside Postfix's own on the same expressions."""

from __future__ import annotations

import random
import subprocess

import pytest
from config_parts import postconf, write_config
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.config import load, read
from fastrelay.config.expand import ExpandError, Scope, parse, references

NAMES = {
    "one": "1",
    "ten": "10",
    "word": "abc",
    "empty": "",
    "ref": "$word",
    "hollow": "$nothing",
    "level": "3.9",
}

EXPRESSIONS = [
    "$word ${word} $(word) x$word.y $$word $$ a$$b",
    "${word?yes} ${word:no} ${empty?yes} ${empty:no} ${nothing:no}",
    "${word?{yes}} ${word?{a}:{b}} ${empty?{a}:{b}} ${empty?{a}:b} ${word?a:b}",
    "${word? {a} : {b} } x",
    "${hollow?yes} ${hollow:no} ${ref}",
    "${{a} == {a} ? {x} : {y}} ${{a} != {a} ? {x} : {y}} ${{a} == {b}} ${{a} != {b}}",
    "${{10} < {9} ? {x} : {y}} ${{a10} < {a9} ? {x} : {y}} ${{010} == {10} ? {x} : {y}}",
    "${{1} <= {1} ? {x} : {y}} ${{1} >= {2} ? {x} : {y}} ${{b} > {a} ? {x} : {y}}",
    "${{ 1 } == {1} ? {x} : {y}} ${ {1}=={1}?{x}:y }",
    "${{3.9} <level {3.10} ? {x} : {y}} ${{3.9} < {3.10} ? {x} : {y}} ${{3} >=level {3.0.0} ? {x} : {y}}",
    "${{$level} >level {3.6} ? {$word} : {$ten}} ${{$empty} == {} ? {none}}",
    "${word?${ref?{deep $ten}:{no}}:{never}} ${{${word}} == {$ref} ? {${word}-$ref}}",
    "text } with { braces",
]


def config_with(tmp_path, values):
    lines = [f"{name} = {value}" for name, value in (NAMES | values).items()]
    lines.append("mynetworks = " + " ".join(f"${name}" for name in NAMES | values))
    return write_config(tmp_path, "\n".join(lines) + "\n")


def squeeze(text):
    return " ".join(text.split())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expands_as_postfix_does(tmp_path, expression):
    directory = config_with(tmp_path, {"it": expression})
    (expected,) = postconf(directory, "-xh", "it")
    assert squeeze(read(directory).text("it")) == expected


def make_expression(rng, depth):
    """A random valid value."""
    kind = rng.randrange(8 if depth else 3)
    if kind == 0:
        return rng.choice(["a", "b c", "10", "9", "", "$$", "x.y", ","])
    if kind < 3:
        name = rng.choice([*NAMES, "nothing"])
        return rng.choice([f"${name} ", f"${{{name}}}", f"$({name})"])
    parts = [make_expression(rng, depth - 1) for _ in range(4)]
    if kind < 5:
        name = rng.choice([*NAMES, "nothing"])
        between = rng.choice([":", " : "])
        return f"${{{name}?{{{parts[0]}}}{between}{{{parts[1]}}}}}"
    if kind == 5:
        return parts[0] + parts[1]
    sign = rng.choice(["==", "!=", "<", "<=", ">", ">="])
    return f"${{{{{parts[0]}}} {sign} {{{parts[1]}}} ? {{{parts[2]}}} : {{{parts[3]}}}}}"


def test_random_expressions_expand_as_postfix_does(tmp_path):
    rng = random.Random(2)  # the same every time
    values = {f"v{number}": make_expression(rng, 3) for number in range(400)}
    directory = config_with(tmp_path, values)
    expected = postconf(directory, "-xh", *values)
    config = read(directory)
    assert [squeeze(config.text(name)) for name in values] == expected


REFUSED = [
    "${word",
    "$(word",
    "$",
    "a$-",
    "${}",
    "${wo-rd}",
    "${word?{a}b}",
    "${word?{a}:{b}c}",
    "${{a} == b}",
]
REFUSED += [
    "${{a}}",
    "${{a} =~ {b}}",
    "${{a} <lvl {b}}",
    "${{x} <level {3}}",
    "${{a} == {b} + {c}}",
    "${{a == {b}}",
]


def test_refuses_what_postfix_refuses(tmp_path):
    running = []
    for number, value in enumerate(REFUSED):
        directory = tmp_path / str(number)
        directory.mkdir()
        config_with(directory, {"it": value})
        # at once: Postfix sleeps a second after a fatal error
        command = ["/usr/sbin/postconf", "-c", directory, "-xh", "it"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        with pytest.raises(ExpandError):
            Scope(NAMES.get).expand(parse(value))
    assert [process.wait(60) for process in running] == [1] * len(REFUSED)


@pytest.mark.parametrize(
    "main", ["a=$a", "a=$b\nb=x${c}\nc=${c:$a}${{$b} == {}}", "mydomain=$myhostname\na=$mydomain"]
)
def test_loop_is_an_error(tmp_path, main):
    directory = write_config(tmp_path, f"{main}\nmynetworks=$a\n")
    with pytest.raises(Exception, match=r"main\.cf.*refers to itself"):
        load(directory)


def test_doubling_values_end():
    """2**60 steps would not."""
    raw = {f"v{number}": f"$v{number + 1}$v{number + 1}" for number in range(60)} | {"v60": "x"}
    with pytest.raises(ExpandError, match="more than"):
        Scope(raw.get).expand_name("v0")
    raw["v60"] = ""
    assert Scope(raw.get).expand_name("v0") == ""


def test_deep_nesting_is_an_error():
    with pytest.raises(ExpandError, match="deep"):
        parse("${a?{" * 5000 + "}}" * 5000)
    raw = {f"v{number}": f"$v{number + 1}" for number in range(500)}
    with pytest.raises(ExpandError, match="deep"):
        Scope(raw.get).expand_name("v0")


def test_references_of_all_branches():
    nodes = parse("$a ${b?{$c}:{$d}} ${{$e} == {$f} ? {$g} : {$h}}")
    assert dict(references(nodes)) == dict.fromkeys("acdefgh", False) | {"b": True}


@given(st.text(alphabet="$${}(){}?:=<>! abel_1\udcff", max_size=60))
def test_any_text_expands_or_is_refused(text):
    try:
        Scope({"a": "x", "b": "$a"}.get).expand(parse(text))
    except ExpandError as error:
        assert str(error)
