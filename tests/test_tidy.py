"""The house rules that no linter checks, read off the syntax trees of our own modules."""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from tokenize import COMMENT

import pytest
from conftest import ROOT

MODULE_LINES = 400
BODY_LINES = 60
NESTING = 3
POSITIONAL = 6
FOLDER_MODULES = 16
DEPTH = 3
OPENING_LINES = 5

EXCEPTIONS = {
    "src/fairwind/engine/contract.py:_call_native": (
        "an intrinsic takes numba's context and the address beside a strategy's five arguments"
    ),
}
"""`path:function` of what must be one function for speed, and why. The list only shrinks."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (
    ast.If,
    ast.For,
    ast.While,
    ast.With,
    ast.Try,
    ast.Match,
    ast.AsyncFor,
    ast.AsyncWith,
)
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}
LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PACKAGE = ROOT / "src" / "fairwind"
OURS = sorted(path for part in ("src", "tests", "bench") for path in (ROOT / part).rglob("*.py"))
LONG_OPENINGS = {PACKAGE / "core" / "errors.py"}
"""The error tree is drawn in its docstring; a strategy's docstring is the note it came from."""
SOURCES = [path for path in OURS if PACKAGE in path.parents and path.stat().st_size > 0]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last."""
    documented = ast.get_docstring(function) is not None and len(function.body) > 1
    last = function.end_lineno
    assert last is not None
    return last - function.body[documented].lineno + 1


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Deepest block inside `node`; an `elif` reads flat, so it counts flat."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            continue
        flat = isinstance(node, ast.If) and [child] == node.orelse and isinstance(child, ast.If)
        deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not flat)))
    return deepest


def excesses(function: Function) -> list[str]:
    """Every limit that a function breaks."""
    positional = len(function.args.posonlyargs) + len(function.args.args)
    return [
        f"line {function.lineno}: {found} {what}, at most {most}"
        for what, found, most in (
            ("body lines", body_lines(function), BODY_LINES),
            ("nested blocks", nesting(function), NESTING),
            ("positional parameters", positional, POSITIONAL),
        )
        if found > most
    ]


def too_large(path: Path) -> dict[str, list[str]]:
    """`path:function` of every function of a module that breaks a limit, and the limits."""
    found = {f"{name(path)}:{f.name}": excesses(f) for f in functions(parse(path))}
    return {function: limits for function, limits in found.items() if limits}


@pytest.mark.parametrize("path", OURS, ids=name)
def test_a_module_and_its_functions_are_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES, f"{lines} lines, at most {MODULE_LINES}: split it by noun"
    assert {f: limits for f, limits in too_large(path).items() if f not in EXCEPTIONS} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_opens_with_what_it_does(path: Path) -> None:
    opening = ast.get_docstring(parse(path))
    assert opening is not None, "expected a docstring: what comes in, what goes out, what never"
    if path not in LONG_OPENINGS and path.parent != PACKAGE / "engine" / "strategies":
        assert len(opening.splitlines()) <= OPENING_LINES


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_clock_module_reads_the_clock(path: Path) -> None:
    reads = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert path == PACKAGE / "core" / "clock.py" or not reads & CLOCKS


@pytest.mark.parametrize("path", OURS, ids=name)
def test_nothing_is_left_for_later(path: Path) -> None:
    with tokenize.open(path) as file:
        comments = [t.string for t in tokenize.generate_tokens(file.readline) if t.type == COMMENT]
    assert [comment for comment in comments if LATER.search(comment)] == []


def test_folders_are_flat_and_few() -> None:
    folders = {path.parent for path in OURS}
    crowded = {
        name(folder): len(modules)
        for folder in folders
        if len(modules := [m for m in folder.glob("*.py") if m.name != "__init__.py"])
        > FOLDER_MODULES
        and PACKAGE in (folder, *folder.parents)
    }
    assert crowded == {}
    assert [name(f) for f in folders if len(f.relative_to(ROOT).parts) > DEPTH + 1] == []


def test_every_listed_exception_is_still_needed_and_says_why() -> None:
    large = {function for path in SOURCES for function in too_large(path)}
    assert set(EXCEPTIONS) <= large, "shorter by now: take it off the list"
    assert all(len(reason.split()) >= 5 for reason in EXCEPTIONS.values())


def test_a_nested_block_is_counted_and_an_elif_is_not() -> None:
    chain = ast.parse("if a:\n  pass\nelif b:\n  pass\nelif c:\n  pass")
    stairs = ast.parse("for a in b:\n  if c:\n    with d:\n      while e:\n        pass")
    assert nesting(chain) == 1
    assert nesting(stairs) == 4


def test_a_function_that_breaks_every_limit_is_named_with_each() -> None:
    stairs = "".join(f"{'  ' * depth}if a:\n" for depth in range(1, 6))
    body = stairs + "            pass\n" + "  pass\n" * BODY_LINES
    (function,) = functions(ast.parse(f"def long(a, b, c, d, e, f, g):\n{body}"))
    assert [limit.partition(", at most")[0] for limit in excesses(function)] == [
        "line 1: 66 body lines",
        "line 1: 5 nested blocks",
        "line 1: 7 positional parameters",
    ]
