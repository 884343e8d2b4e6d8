"""What the build made: vector instructions only where they were asked for, and twins that look alike.

A module compiled for more than the baseline kills older machines at import, whatever instruction set is chosen later;
so the compiled modules are taken apart here. Nothing is compiled and no kernel is run. Then the interfaces: the
compiled core, its stubs and the pure-Python twin must offer the same names with the same arguments.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

import xep419
from xep419 import Scope, _backend, columns, files
from xep419._pure import checking as pure_checking
from xep419._pure import cipher as pure_cipher
from xep419._pure import columns as pure_columns
from xep419._pure import framing as pure_framing
from xep419._pure import incremental as pure_incremental
from xep419._pure import namespaces as pure_namespaces
from xep419._pure import restoration as pure_restoration

pytestmark = pytest.mark.any_isa

CORE = Path(xep419.__file__).parent / "_core"
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(CORE)]))


def binary(module: str) -> str:
    """The file of a compiled module, found without importing it."""
    spec = importlib.util.find_spec(f"xep419._core.{module}")
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


# -- instructions -----------------------------------------------------------------------------------------

OPERATIONS = (
    "rotate_once", "rotate_twice", "rotate_once_streaming", "rotate_twice_streaming", "copy_loosely",
    "rotate_twice_loosely", "candidates", "last_lt", "tag_window", "quote_sides", "classify",
)  # fmt: skip
#: by what a function's name must end in for it to use more than SSE2; compilers append the rest (".cold", ".part.0")
VECTOR_FUNCTION = re.compile(r"_(avx2|avx512)(?:\.\w+)*$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^ *[0-9a-f]+:\t(?:(?:rep|repz|repnz|lock|notrack|bnd|data16|cs|ds|es|fs) )*(\S+)(.*)$")

#: beyond SSE2, beside everything that begins with v: SSE3, SSSE3, SSE4.1, SSE4.2, the bit instructions and others.
#: ``tzcnt`` is not among them: compilers write it for ``bsf`` where both give the same, and old machines read it so.
BEYOND_BASELINE = re.compile(
    r"addsubp[sd]|h(?:add|sub)p[sd]|lddqu|mov(?:d|sl|sh)dup|fisttp\w*"
    r"|p(?:shufb|alignr|abs[bwd]|h(?:add|sub)(?:w|d|sw)|maddubsw|mulhrsw|sign[bwd])"
    r"|p(?:blendvb|blendw|test|mov[sz]x\w\w|extr[bdq]|insr[bdq]|mulld|muldq|m(?:in|ax)(?:sb|sd|uw|ud)|cmpeqq|ackusdw)"
    r"|blend\w+|round[ps][sd]|dpp[sd]|(?:insert|extract)ps|mpsadbw|phminposuw|movntdqa"
    r"|pcmp(?:gtq|[ei]str[im])|crc32\w?|popcnt\w?|lzcnt\w?|movbe\w?"
    r"|andn\w?|bextr\w?|bls(?:i|r|msk)\w?|bzhi\w?|pdep\w?|pext\w?|mulx\w?|rorx\w?|s[ahr][rl]x\w?|ad[co]x\w?"
    r"|aes\w+|pclmul\w+|sha(?:1|256)\w+|k(?:mov|and|or|xor|not|test|shift|unpck|add)\w+"
)


#: by module and function, the instructions as (mnemonic, operands)
Disassembly: TypeAlias = dict[str, dict[str, list[tuple[str, str]]]]


@cache
def functions(module: str) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each function of a module, as (mnemonic, operands)."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", binary(module)], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in listing.splitlines():
        if head := FUNCTION.match(line):
            name = head[1]
        elif instruction := INSTRUCTION.match(line):
            found.setdefault(name, []).append((instruction[1], instruction[2]))
    return found


@pytest.fixture
def disassembly() -> Disassembly:
    """By module and function; the kernels' names prove that no symbol was stripped."""
    if not MODULES:
        pytest.skip("a build without extensions")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("one baseline for all instructions, or no ELF")
    if not shutil.which("objdump"):
        pytest.skip("needs objdump")
    modules = {name: functions(name) for name in MODULES}
    assert all(modules.values())
    if "xep419_rotate_once_avx2" not in modules["isa"]:
        pytest.skip("the symbols were stripped")
    return modules


def instructions(disassembly: Disassembly) -> Iterator[tuple[str, str, str, str]]:
    for module, found in disassembly.items():
        for function, listed in found.items():
            for mnemonic, operands in listed:
                yield module, function, mnemonic, operands


def test_every_kernel_is_there_and_uses_its_registers(
    disassembly: Disassembly,
) -> None:
    for operation, (isa, register) in itertools.product(
        OPERATIONS, {"sse2": "%xmm", "avx2": "%ymm", "avx512": "%zmm"}.items()
    ):
        kernel = disassembly["isa"][f"xep419_{operation}_{isa}"]
        assert any(register in operands for _, operands in kernel), (operation, isa)


def test_wide_registers_stand_only_in_functions_named_for_them(
    disassembly: Disassembly,
) -> None:
    astray = set()
    for module, function, _, operands in instructions(disassembly):
        suffix = VECTOR_FUNCTION.search(function)
        if ("%zmm" in operands and (not suffix or suffix[1] != "avx512")) or ("%ymm" in operands and not suffix):
            astray.add((module, function))
    assert astray == set()


def test_everything_else_is_compiled_for_the_baseline(
    disassembly: Disassembly,
) -> None:
    astray = set()
    for module, function, mnemonic, _ in instructions(disassembly):
        if VECTOR_FUNCTION.search(function):
            continue
        vex = mnemonic.startswith("v") and mnemonic not in ("verr", "verw")
        if vex or BEYOND_BASELINE.fullmatch(mnemonic):
            astray.add((module, function, mnemonic))
    assert astray == set()


def test_vector_functions_are_in_one_module_only(disassembly: Disassembly) -> None:
    """One table of them, not a copy per module for the linker or the loader to mix up."""
    holders = {
        module
        for module, found in disassembly.items()
        for name in found
        if name.startswith("xep419_") and re.search(r"_(sse2|avx2|avx512)\b", name)
    }
    assert holders == {"isa"}


def test_a_module_shows_its_initialiser_only() -> None:
    if not MODULES:
        pytest.skip("a build without extensions")
    if sys.platform != "linux" or not shutil.which("nm"):
        pytest.skip("needs nm and ELF")
    for name in MODULES:
        listing = subprocess.run(
            ["nm", "-D", "--defined-only", binary(name)], capture_output=True, text=True, check=True
        ).stdout
        symbols = {line.split()[-1] for line in listing.splitlines()}
        assert {symbol for symbol in symbols if not symbol.startswith("_")} == {f"PyInit_{name}"}


def test_the_build_tells_its_compiler() -> None:
    if xep419.isa == "python":
        assert _backend.build() == "pure Python"
    else:
        assert re.fullmatch(r"(GCC|Clang) \d+\.\d+.*, Cython 3\.\d+\.\d+", _backend.build())


# -- the core, its stubs and the twin ---------------------------------------------------------------------


def compiled(name: str) -> ModuleType:
    return importlib.import_module(f"xep419._core.{name}")


def public(module: ModuleType) -> dict[str, Any]:
    """What the module itself defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__
    }


TWINS = {
    "checking": pure_checking,
    "cipher": pure_cipher,
    "columns": pure_columns,
    "framing": pure_framing,
    "incremental": pure_incremental,
    "namespaces": pure_namespaces,
    "restoration": pure_restoration,
}
#: what the package takes from either
OFFERED = {
    "checking": {"DocumentChecker", "check_file", "check_stanza"},
    "cipher": {"rot13", "double_rot13", "rot13_into", "double_rot13_into", "rot13_inplace"},
    "columns": {"recode_values"},
    "framing": {"StanzaStream"},
    "incremental": {"Encryptor", "Decryptor", "NamespaceCensus", "recode_file"},
    "restoration": {"match_files", "match_upgraded"},
    "namespaces": {"scan", "upgrade", "downgrade", "encrypt", "decrypt", "encrypt_many"},
}

#: where what is not at the top is to be had
PUBLIC: dict[str, ModuleType] = {
    "DocumentChecker": xep419.stream,
    "check_stanza": xep419.stream,
    "NamespaceCensus": xep419.namespaces,
    "recode_values": columns,
    "match_upgraded": xep419.namespaces,
    "check_file": files,
    "match_files": files,
    "recode_file": files,
}

Arguments = list[tuple[str, str, bool]]  # name, kind, whether there is a default


def arguments(signature: inspect.Signature) -> Arguments:
    return [
        (parameter.name, parameter.kind.description, parameter.default is not parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]


def defaults(signature: inspect.Signature) -> dict[str, object]:
    return {
        parameter.name: parameter.default
        for parameter in signature.parameters.values()
        if parameter.default is not parameter.empty
    }


def documented(function: Callable[..., object]) -> inspect.Signature | None:
    """The signature in the first line of a compiled function's documentation, if it begins with one."""
    head = (function.__doc__ or "").partition("\n")[0].partition(" -> ")[0]
    if not re.match(r"\w+\(", head):
        return None
    namespace: dict[str, Any] = {"ALL": Scope.ALL}
    exec(f"def {re.sub(r'(str|size_t|int) (?=[a-z])', '', head)}: pass", namespace)
    return inspect.signature(namespace[head.partition("(")[0]])


def stub_definitions(name: str) -> dict[str, list[Arguments]]:
    """What a stub defines: functions, classes' constructors and methods, with the arguments of each overload."""
    path = CORE / f"{name}.pyi"
    found: dict[str, list[Arguments]] = {}
    for node in ast.parse(path.read_text()).body if path.exists() else ():
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(stub_arguments(node))
        elif isinstance(node, ast.ClassDef):
            for method in (member for member in node.body if isinstance(member, ast.FunctionDef)):
                key = node.name if method.name == "__init__" else f"{node.name}.{method.name}"
                found.setdefault(key, []).append(stub_arguments(method))
    return found


def stub_arguments(node: ast.FunctionDef) -> Arguments:
    listed = node.args
    positional = [*listed.posonlyargs, *listed.args]
    optional = positional[len(positional) - len(listed.defaults) :]
    optional += [name for name, default in zip(listed.kwonlyargs, listed.kw_defaults, strict=True) if default]
    return [
        (argument.arg, kind, argument in optional)
        for kind, group in (
            ("positional-only", listed.posonlyargs),
            ("positional or keyword", listed.args),
            ("keyword-only", listed.kwonlyargs),
        )
        for argument in group
        if argument.arg != "self"
    ]


@pytest.mark.parametrize("module", TWINS)
def test_the_twin_offers_what_the_package_takes(module: str) -> None:
    twin = TWINS[module]
    assert set(public(twin)) >= OFFERED[module]
    if hasattr(twin, "__all__"):
        assert set(twin.__all__) == OFFERED[module]
    for name in OFFERED[module]:
        assert getattr(PUBLIC.get(name, xep419), name) is getattr(getattr(_backend, module), name)


def test_the_package_takes_nothing_else() -> None:
    taken = {
        name
        for public_module in {xep419, *PUBLIC.values()}
        for name in public_module.__all__
        if getattr(getattr(public_module, name), "__module__", "").startswith(("xep419._core", "xep419._pure"))
    }
    assert taken - {"available_isas"} == set().union(*OFFERED.values())


@pytest.mark.core
@pytest.mark.parametrize("module", TWINS)
def test_the_core_offers_the_same_and_no_more(module: str) -> None:
    assert set(public(compiled(module))) == OFFERED[module]


@pytest.mark.core
@pytest.mark.parametrize("module", TWINS)
def test_the_core_documents_the_arguments_that_the_twin_has(module: str) -> None:
    twin = TWINS[module]
    for name in OFFERED[module]:
        signature = documented(getattr(compiled(module), name))
        if signature is None:
            assert isinstance(getattr(twin, name), type), name  # a class may leave it to its stub
            continue
        expected = inspect.signature(getattr(twin, name))
        assert arguments(signature) == arguments(expected), name
        assert defaults(signature) == defaults(expected), name


@pytest.mark.parametrize("module", TWINS)
def test_the_stub_describes_the_twin_as_well(module: str) -> None:
    twin, stub = TWINS[module], stub_definitions(module)
    assert {name.partition(".")[0] for name in stub} == OFFERED[module]
    for name, overloads in stub.items():
        described: Any = twin
        for part in name.split("."):
            described = getattr(described, part)
        if isinstance(described, property):
            described = described.fget
        for overload in overloads:
            assert overload == arguments(inspect.signature(described)), name
    for name in OFFERED[module]:
        if isinstance(getattr(twin, name), type):
            methods = {method for method in dir(getattr(twin, name)) if not method.startswith("_")}
            assert methods == {key.partition(".")[2] for key in stub if key.startswith(f"{name}.")}


@pytest.mark.core
def test_the_stubs_name_everything_that_the_compiled_modules_define() -> None:
    for name in MODULES:
        defined, stub = public(compiled(name)), stub_definitions(name)
        assert set(defined) == {key.partition(".")[0] for key in stub}, name
        for key, value in defined.items():
            signature = None if isinstance(value, type) else documented(value)
            if signature is not None:
                assert all(overload == arguments(signature) for overload in stub[key]), key


@pytest.mark.core
@pytest.mark.parametrize("module", ["checking", "framing", "incremental"])
def test_compiled_classes_have_the_methods_of_their_stub(module: str) -> None:
    stub = stub_definitions(module)
    offered = {name: getattr(compiled(module), name) for name in OFFERED[module]}
    for name, kind in offered.items():
        if not isinstance(kind, type):
            continue
        methods = {method for method in dir(kind) if not method.startswith("_")}
        assert methods == {key.partition(".")[2] for key in stub if key.startswith(f"{name}.")}
        with pytest.raises(TypeError):
            kind(True)  # keywords only


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(xep419.__file__).parent / "py.typed").is_file()
