#!/bin/sh
# The tests of the compiled core under AddressSanitizer and UndefinedBehaviorSanitizer: on the fastest instruction set
# here, and on every one those of memory beside buffers. (test_native.py has the vector operations of each by themselves.)
#
#     PYTHON=python3 tests/sanitize.sh [pytest arguments]
#
# Needs gcc with libasan and libubsan; PYTHON must have the test tools (Cython and setuptools are fetched if it lacks
# them). The tree is copied and built aside, so the modules that stand in it are neither used nor replaced. Exits as
# pytest does.
set -eu
PYTHON=${PYTHON:-python3}
CC=${CC:-gcc}
EXAMPLES=${EXAMPLES:-15} # of each hypothesis test that does not state its own number
tree=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=$("$PYTHON" -c 'import sys; print(sys.executable)')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$scratch/tree"
# by name: what others make in the tree meanwhile would be missed or half there
tar -C "$tree" -cf - --exclude=__pycache__ --exclude='*.so' csrc xep419 tests examples setup.py pyproject.toml README.md \
    LICENSE | tar -C "$scratch/tree" -xf -
if [ -d "$tree/../shared" ]; then ln -s "$(cd "$tree/../shared" && pwd)" "$scratch/shared"; fi
cd "$scratch/tree"

tools=
if ! "$PYTHON" -c 'import Cython, setuptools' 2>/dev/null; then
    tools=$scratch/tools
    "$PYTHON" -m pip install --quiet --target "$tools" 'setuptools>=77' 'Cython>=3.1'
fi
# CPython's -fwrapv would hide signed overflow from the sanitizer
PYTHONPATH=$tools CC=$CC CFLAGS="${CFLAGS:-} -fno-wrapv" XEP419_SANITIZE=1 "$PYTHON" setup.py --quiet build_ext --inplace \
    >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

# Hostile inputs once each, and small: how the time grows is told without sanitizers.
cat >fewer_examples.py <<PROFILE
import sys

from hypothesis import HealthCheck, settings

settings.register_profile("fewer", max_examples=$EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
sys.path.insert(0, "tests")
import growth

growth.assert_linear = lambda work_of, smallest=1 << 13, largest=None: work_of(smallest)()
PROFILE

asan=$("$CC" -print-file-name=libasan.so)
ubsan=$("$CC" -print-file-name=libubsan.so)
case $asan in /*) ;; *) echo "$CC has no libasan" >&2; exit 1 ;; esac

# PYTHONMALLOC: each bytes object is a block of its own, with red zones around it. Leaks: the interpreter has its own.
# Reports go to files, since pytest would swallow what is written just before the process ends; none of a fault on a
# guarded page, which a control in test_guard_pages.py wants.
sanitized() {
    LD_PRELOAD="$asan $ubsan" PYTHONMALLOC=malloc PYTHONPATH=. \
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:handle_segv=0:log_path=$scratch/report" \
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:log_path=$scratch/report" "$PYTHON" "$@"
}

sanitized - "$scratch/tree" <<'CHECK'
import sys
import xep419._core.isa as core
assert core.__file__.startswith(sys.argv[1]), core.__file__
assert b"__asan_report_load" in open(core.__file__, "rb").read(), "not instrumented"
print("under sanitizers:", *core.available_isas())
CHECK

# Left out: what is marked outer or starts processes (build, examples), has sanitizers of its own (native), tests plain
# Python, compares thousands of documents with an XML parser (examples of all XEPs), or measures memory, which here is
# kept from use for a while after it was given back.
leave_out=--deselect=tests/test_corpus.py::test_examples_of_all_xeps
leave_out="$leave_out --deselect=tests/test_incremental.py::test_memory_is_constant"
leave_out="$leave_out --deselect=tests/test_stream.py::test_memory_is_bounded_and_idle_streams_are_small"
leave_out="$leave_out --deselect=tests/test_census.py::test_memory_is_bounded"
leave_out="$leave_out --deselect=tests/test_checking.py::test_an_element_of_any_size_is_checked_in_constant_memory"
python=$(cd tests && echo test_archive_*.py test_audit*.py test_iana.py test_policy*.py test_prosody_*.py test_re*istr*.py test_xep0227.py)
for file in $python; do leave_out="$leave_out --ignore=tests/$file"; done
for name in asyncio build docs elements examples native slixmpp stanza; do leave_out="$leave_out --ignore=tests/test_$name.py"; done
test_sanitized() {
    sanitized -m pytest -q -p no:cacheprovider -p fewer_examples --hypothesis-profile=fewer -m "not slow and not outer" "$@"
}
status=0
if [ $# -gt 0 ]; then
    test_sanitized "$@" || status=$?
else
    beside="tests/test_guard_pages.py tests/test_cipher.py"
    # shellcheck disable=SC2086
    test_sanitized --fastest-only $leave_out $(for file in $beside; do echo "--ignore=$file"; done) || status=$?
    # shellcheck disable=SC2086
    test_sanitized $beside || status=$?
fi
if [ "$status" -ne 0 ]; then
    for report in "$scratch"/report.*; do
        if [ -f "$report" ]; then echo "--- $report"; head -n 60 "$report"; fi
    done
fi
exit "$status"
