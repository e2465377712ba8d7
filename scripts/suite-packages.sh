#!/bin/bash
# Installs packages of the suite that the images use on this older Debian: suite-packages.sh PACKAGE...
# Only for packages without dependencies to speak of. apt's own sources and lists stay as they are.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$(scripts/mirror.sh)" "$SUITE" >"$work/sources.list"
options=(
    -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o APT::Sandbox::User=root
)
apt-get "${options[@]}" update
cd "$work"
apt-get "${options[@]}" download "$@"
(
    lock apt
    dpkg -i ./*.deb
)
