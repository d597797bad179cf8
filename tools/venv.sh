#!/bin/sh
# Put Cascade, editable, and its development tools into a virtual environment, made if need be.
# Usage: tools/venv.sh [DIRECTORY [PYTHON]]; without a Python, the oldest that is found and fits.
set -eu
cd "$(dirname "$0")/.."
directory=${1:-.venv}
python=${2:-}

stamp=$({ pwd; cat pyproject.toml constraints.txt tools/venv.sh; } | cksum)
runs() { "$directory/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if [ "$(cat "$directory/.stamp" 2>/dev/null)" = "$stamp" ] && runs; then exit 0; fi

if ! runs; then
    [ -n "$python" ] || python=$(sh tools/find_pythons.sh | head -n 1 | cut -d ' ' -f 2-)
    [ -n "$python" ] || { echo "No CPython 3.11 or newer, with venv and pip, was found on PATH or in pyenv." >&2; exit 1; }
    echo "$directory: $python"
    "$python" -m venv --clear "$directory"
fi
install() { "$directory/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt "$@"; }
install hatchling editables  # builds run on the pinned versions, not in an isolated environment
install --no-build-isolation -e '.[dev]'
echo "$stamp" >"$directory/.stamp"
