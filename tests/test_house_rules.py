"""The house rules as tests: size of files and functions, openings, words, errors, stubs, lists that must agree."""

import ast
import importlib
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SOURCE = PROJECT / "src" / "fastrelay"
CODE = [
    path
    for folder in ("src", "tests", "bench")
    for path in sorted((PROJECT / folder).rglob("*"))
    if path.suffix in {".py", ".pyx"} and not any(part.startswith((".", "__py")) for part in path.parts)
]
PYTHON = [path for path in CODE if path.suffix == ".py"]
COMPILED = [path for path in CODE if path.suffix == ".pyx"]
LINES, OPENING, FUNCTION = 500, 15, 60
LONG = {  # file -> what its docstring says about its length
    "src/fastrelay/qmgr/manager.py": "long because whatever makes a message active",
    "tests/delivery/test_smtp.py": "long because each test",
}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|[Pp]laceholder|for now(?! in\b))\b")


def name(path):
    return str(path.relative_to(PROJECT))


def opening(path):
    """The docstring that a file begins with, or None."""
    match = re.match(r'"""(.*?)"""', path.read_text(), re.S)
    return match and match[1]


def python_functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def compiled_functions(path):
    """By indentation: from `def` or `cdef` to the last line that is further in."""
    begun = []  # (indent, name, first line)
    last = 0
    for number, line in enumerate([*path.read_text().splitlines(), "end"], 1):
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        while begun and indent <= begun[-1][0] and not line.lstrip().startswith(")"):
            _, found, first = begun.pop()
            yield found, last - first + 1
        match = re.match(r"\s*(?:async\s+)?c?p?def\s(?!extern|class|struct|enum)[^=:]*?(\w+)\(", line)
        if match:
            begun.append((indent, match[1], number))
        last = number


def test_the_two_readings_of_functions_agree():
    for path in PYTHON:
        if name(path).startswith("src/fastrelay/q"):
            plain = {found for found, _ in python_functions(path)}
            assert plain <= {found for found, _ in compiled_functions(path)}, path


def test_files_above_500_lines_say_why():
    long = {name(path): path for path in CODE if len(path.read_text().splitlines()) > LINES}
    assert long.keys() == LONG.keys()
    for key, path in long.items():
        assert LONG[key] in " ".join(opening(path).split()), key


def test_every_file_opens_with_a_short_docstring():
    wrong = [name(path) for path in CODE if not opening(path)]
    wrong += [name(path) for path in CODE if opening(path) and len(opening(path).splitlines()) > OPENING]
    assert not wrong


def test_functions_are_short():
    found = [(name(path), *each) for path in PYTHON for each in python_functions(path)]
    found += [(name(path), *each) for path in COMPILED for each in compiled_functions(path)]
    assert len(found) > 1000
    assert not [each for each in found if each[2] > FUNCTION]


def test_nothing_is_marked_as_unfinished():
    wrong = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in CODE
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not wrong


def swallows(handler):
    """A handler of everything that neither raises nor uses what it caught."""
    kinds = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {}
    if handler.type and not kinds & {"Exception", "BaseException"}:
        return False
    words = {node.id for node in ast.walk(ast.Module(handler.body, [])) if isinstance(node, ast.Name)}
    tells = words & {handler.name, "traceback", "sys"}
    return not tells and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def test_no_error_is_swallowed_widely():
    wrong = []
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and swallows(node):
                wrong.append(f"{name(path)}:{node.lineno}")
            if isinstance(node, ast.Call) and re.search(
                r"suppress\(.*\b(Base)?Exception\b", ast.unparse(node)
            ):
                wrong.append(f"{name(path)}:{node.lineno}")
    swallowing = re.compile(r"except(\s+(Base)?Exception)?\s*:\s*(#.*)?\n\s*pass\b")
    wrong += [name(path) for path in COMPILED if swallowing.search(path.read_text())]
    assert not wrong


def test_setup_lists_the_compiled_modules():
    tree = ast.parse((PROJECT / "setup.py").read_text())
    lists = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "COMPILED"
    ]
    assert len(lists) == 1
    typed = [path for path in PYTHON if path.stem != "__init__" and path.with_suffix(".pxd").exists()]
    found = {".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in [*COMPILED, *typed]}
    assert set(ast.literal_eval(lists[0])) == found


def stub_names(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets)


def own_names(module):
    """Public names that a compiled module makes itself: functions, classes, constants."""
    text = (SOURCE / "/".join(module.__name__.split(".")[1:])).with_suffix(".pyx").read_text()
    for found, value in vars(module).items():
        if found.startswith("_") or isinstance(value, type(ast)):
            continue
        origin = getattr(value, "__module__", None)
        assigned = re.search(rf"^{found}\s*(:[^=]+)?=", text, re.M)
        if origin == module.__name__ or (assigned and not callable(value)):
            yield found


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_a_stub_stands_beside_each_compiled_module(path):
    stub = path.with_suffix(".pyi")
    assert stub.exists()
    module = importlib.import_module("fastrelay." + ".".join(path.relative_to(SOURCE).with_suffix("").parts))
    described = {found for found in stub_names(stub) if not found.startswith("_")}
    assert {found for found in described if not hasattr(module, found)} == set()
    assert set(own_names(module)) - described == set()


def test_every_reply_is_used():
    replies = SOURCE / "wire" / "replies.py"
    names = {node.name for node in ast.parse(replies.read_text()).body if isinstance(node, ast.FunctionDef)}
    names |= set(re.findall(r"^(R\d\w+) =", replies.read_text(), re.M))
    assert len(names) > 50
    used = " ".join(path.read_text() for path in CODE if SOURCE in path.parents and path != replies)
    own = replies.read_text()
    unused = [
        each
        for each in sorted(names)
        if not re.search(rf"\b{each}\b", used) and len(re.findall(rf"\b{each}\b", own)) < 2
    ]
    assert not unused


DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGES.md", *sorted((PROJECT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_point_at_what_exists(path):
    from fastrelay.admin.command_line import COMMANDS

    text = path.read_text()
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.M))
    wrong = [word for word in re.findall(r"(?:`|^ +)make ([a-z]+)", text, re.M) if word not in targets]
    wrong += [
        word for word in re.findall(r"bin/fastrelay(?: -c \S+)? ([a-z][\w-]*)", text) if word not in COMMANDS
    ]
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        if not (path.parent / link).exists():
            wrong.append(link)
    for file in re.findall(r"`([a-z_]+/[\w/]+\.(?:pyx?|pxd|cf))\b", text):
        if not any((base / file).exists() for base in (PROJECT, SOURCE)):
            wrong.append(file)
    assert not wrong


def test_every_document_is_linked_from_the_readme():
    readme = (PROJECT / "README.md").read_text()
    assert not [path.name for path in DOCUMENTS[1:] if f"({path.relative_to(PROJECT)})" not in readme]
