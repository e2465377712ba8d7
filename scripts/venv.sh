#!/bin/bash
# Makes sure of .venv: Python 3.11 or newer with exactly the packages of requirements-dev.lock, checked by hash.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

LOCK=requirements-dev.lock

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$name" && "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

main() {
    local python wanted
    if ! python="$(find_python)"; then
        say "Installing Python with venv"
        apt_install python3 python3-venv
        python="$(find_python)" || die "Python 3.11 or newer is missing: this Debian is too old, or install python3.11 and python3.11-venv."
    fi
    wanted="$("$python" --version) $(sha256sum "$LOCK" docker/uv.lock | sha256sum | cut -c1-32)"
    if [[ "$(cat .venv/.made-from 2>/dev/null)" == "$wanted" ]]; then return; fi
    say "Making .venv from $LOCK ($("$python" --version))"
    mkdir -p var/log
    # another Python than the one it was made with
    if [[ "$(.venv/bin/python --version 2>/dev/null)" != "$("$python" --version)" ]]; then rm -rf .venv; fi
    if [[ ! -x .venv/bin/python ]]; then quietly var/log/venv.log "$python" -m venv --without-pip .venv; fi
    rm -rf var/tools
    quietly var/log/venv.log "$python" -m venv var/tools
    quietly var/log/venv.log var/tools/bin/pip install --require-hashes --requirement docker/uv.lock
    quietly var/log/venv.log var/tools/bin/uv pip sync --require-hashes --python .venv/bin/python "$LOCK"
    # the package itself lies beside the environment, as in the image
    echo "$ROOT/src" >"$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/ringline.pth"
    printf '#!%s/.venv/bin/python\nfrom ringline.cli import app\n\napp()\n' "$ROOT" >.venv/bin/ringline
    chmod +x .venv/bin/ringline
    echo "$wanted" >.venv/.made-from
    say ".venv is ready"
}

main
