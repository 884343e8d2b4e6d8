#!/bin/sh
# What a user installs: the sdist builds a wheel, the wheel is installed in an empty environment, and the tests of the
# build, of the cipher and of what the pages say pass against it outside this tree (noxfile.py runs the others against
# the sdist). Also a build without extensions. PYTHON must have pip, build and the test tools' index.
set -eu
PYTHON=${PYTHON:-python3}
tree=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
cd "$tree"

"$PYTHON" -m build --sdist --outdir "$scratch/dist" . >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
"$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$scratch/dist" "$scratch"/dist/*.tar.gz
ls -l "$scratch/dist"

"$PYTHON" -m venv "$scratch/env"
bin=$scratch/env/bin
"$bin/python" -m pip install --quiet "$scratch"/dist/*.whl
cd "$scratch"
"$bin/python" -c 'import xep419; assert xep419.isa != "python", xep419.isa; print("imports alone:", xep419.isa)'
if "$bin/xep419" --help >out 2>&1; then echo "the command must ask for its extra"; exit 1; fi
grep -q 'xep419\[cli\]' out

"$bin/python" -m pip install --quiet --upgrade pip
"$bin/python" -m pip install --quiet --group "$tree/pyproject.toml:test"
"$bin/python" -m pip install --quiet "$(ls "$scratch"/dist/*.whl)[cli]"
mkdir outside
cp -r "$tree/tests" "$tree/examples" "$tree/pyproject.toml" outside/
cd outside
"$bin/python" -m pytest --fastest-only -q -p no:cacheprovider -m "not any_python" \
    tests/test_build.py tests/test_cipher.py tests/test_docs.py

"$PYTHON" -m venv "$scratch/pure"
XEP419_NO_EXTENSIONS=1 CC=/bin/false "$scratch/pure/bin/python" -m pip install --quiet "$scratch"/dist/*.tar.gz
cd "$scratch"
"$scratch/pure/bin/python" -c '
import xep419
assert xep419.isa == "python" and xep419.available_isas() == ("python",)
assert xep419.encrypt("<a xmlns=\"http://x\"/>") == "<a xmlns=\"https://x\"/>"
print("without extensions:", xep419.isa)'
