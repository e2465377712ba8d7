#!/bin/bash
# Formatting, lint, types and the direction of imports; all of them, even when one fails.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/venv.sh
failed=()
check() {
    local name="$1"
    shift
    if "$@"; then say "$name: fine"; else failed+=("$name"); fi
}
check "ruff" .venv/bin/ruff check
check "ruff format" .venv/bin/ruff format --check
check "mypy" .venv/bin/mypy
check "import-linter" .venv/bin/lint-imports
((${#failed[@]} == 0)) || die "Not clean: ${failed[*]}."
