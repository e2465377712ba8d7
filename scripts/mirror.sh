#!/bin/bash
# Prints the address of the Debian mirror this machine's apt uses.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if is_root; then apt_update; fi
# apt expands these names, not the shell
# shellcheck disable=SC2016
mirror="$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    awk '$1 ~ /^https?:/ && $2 !~ /-/ && !found++ { print $1 }')"
[[ -n "$mirror" ]] || die "apt on this machine names no Debian mirror: run 'apt-get update' and check the sources in /etc/apt."
printf '%s\n' "$mirror"
