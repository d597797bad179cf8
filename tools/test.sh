#!/bin/sh
# Run the suite on each of CPython 3.11, 3.12 and 3.13 that is found: on one at least, and on all three where
# CASCADE_REQUIRE_ALL=1. The first runs all of it; the others leave out what a Python cannot change (CASCADE_AGAIN=1: see
# tests/conftest.py). Arguments go to pytest.
set -eu
unset PYTHONDONTWRITEBYTECODE # the suite starts hundreds of Pythons: what is compiled once is kept
cd "$(dirname "$0")/.."
sh tools/venv.sh .venv
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
found=$(sh tools/find_pythons.sh)

ready='' missing=''
for version in 3.11 3.12 3.13; do
    python=$(echo "$found" | sed -n "s/^$version //p")
    if [ "$version" = "$own" ]; then ready="$ready $version:.venv"
    elif [ -n "$python" ]; then
        sh tools/venv.sh ".venv-$version" "$python"
        ready="$ready $version:.venv-$version"
    else missing="$missing $version"; fi
done
[ -z "$missing" ] || echo "Not found on this machine: Python$missing." >&2
[ -n "$ready" ] || exit 1
[ -z "$missing" ] || [ "${CASCADE_REQUIRE_ALL:-}" != 1 ] || { echo "CASCADE_REQUIRE_ALL=1 asks for it." >&2; exit 1; }

failed='' again=''
for each in $ready; do
    echo "== Python ${each%%:*}"
    CASCADE_AGAIN=$again "${each#*:}/bin/python" -m pytest --numprocesses auto "$@" || failed="$failed ${each%%:*}"
    again=1
done
[ -z "$failed" ] || { echo "The tests failed on Python$failed." >&2; exit 1; }
