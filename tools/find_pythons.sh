#!/bin/sh
# Print "3.11 /path/to/python", one line for each CPython version from 3.11 on that runs on this machine.
#
# A name on PATH proves little: a version manager's shim may stand there and refuse to run. So every
# candidate is run, and says itself which version it is, and which interpreter is behind it.
set -eu

probe='
import ensurepip, sys, sysconfig, venv
if sys.version_info >= (3, 11) and sys.implementation.name == "cpython":
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        print("%d.%d" % sys.version_info[:2], getattr(sys, "_base_executable", "") or sys.executable)
'

candidates() {
    IFS=:
    for dir in $PATH; do
        ls -d "$dir"/python3.1[1-9] "$dir/python3" "$dir/python" || true
    done
    for root in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        ls -d "$root"/versions/3.1[1-9].*/bin/python || true
    done
}

candidates 2>/dev/null | while IFS= read -r python; do
    "$python" -I -c "$probe" </dev/null 2>/dev/null || true
done | awk '!seen[$1]++' | sort -t . -k 2,2n
