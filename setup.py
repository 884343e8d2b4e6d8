"""Builds the extension modules. Options are environment variables:

XEP419_NO_EXTENSIONS=1  installs the pure-Python package, without a C compiler
XEP419_WERROR=1         makes C and Cython warnings errors (CI)
XEP419_SANITIZE=1       builds with AddressSanitizer and UndefinedBehaviorSanitizer
XEP419_FUZZ=1           adds the coverage instrumentation that the fuzzers read (Clang)
XEP419_DEBUG=1          keeps debugging symbols
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

CORE = Path("xep419/_core")


def option(name: str) -> bool:
    return os.environ.get(f"XEP419_{name}", "0") not in ("", "0")


class BuildPython(build_py):
    """Marks a build without extensions as asked for, so that import need not guess."""

    def run(self) -> None:
        super().run()
        if option("NO_EXTENSIONS"):
            marker = Path(self.build_lib, "xep419/_pure/built_without_extensions.py")
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text('"""This package was built with XEP419_NO_EXTENSIONS=1."""\n')


def extensions() -> list:
    from Cython.Build import cythonize
    from Cython.Compiler import Options

    Options.warning_errors = option("WERROR")
    compile_args = ["-std=c11", "-O3", "-fvisibility=hidden"]
    link_args = []
    if option("WERROR"):
        compile_args += ["-Wall", "-Wextra", "-Werror"]
    if option("SANITIZE"):
        flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
        compile_args += [*flags, "-g", "-O1"]
        link_args += flags
    if option("FUZZ"):
        compile_args += ["-fsanitize=fuzzer-no-link", "-g"]
        link_args += ["-fsanitize=fuzzer-no-link"]
    if option("DEBUG"):
        compile_args += ["-g"]
    headers = sorted(map(str, (*Path("csrc").glob("*.h"), *CORE.glob("*.pxd"))))
    modules = [
        Extension(
            f"xep419._core.{source.stem}",
            [str(source)],
            include_dirs=["csrc"],
            depends=headers,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for source in sorted(CORE.glob("*.pyx"))
    ]
    return cythonize(
        modules,
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "binding": False,
            "embedsignature": True,
        },
    )


setup(ext_modules=[] if option("NO_EXTENSIONS") else extensions(), cmdclass={"build_py": BuildPython})
