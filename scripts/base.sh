#!/bin/bash
# Makes the tar of the stand-in for the public base image, for machines that reach Debian's packages but no registry:
# base.sh FILE. Apt in it uses this machine's mirror and proxy and trusts this machine's private authorities.
# shellcheck disable=SC2016  # "$1" in single quotes is for mmdebstrap: the folder of the system being made
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target="$1"
is_root || die "No container registry can be reached, and making a base image from Debian's packages needs root: run 'make up' once as root."
has mmdebstrap || apt_install mmdebstrap
mkdir -p "$(dirname "$target")"

options=(
    --variant=minbase --include=ca-certificates --quiet
    # the lists of packages stay, for six builds read them again
    --skip=cleanup/apt/lists
    # a frozen mirror's Release file may be past its date
    --aptopt='Acquire::Check-Valid-Until "false"'
    --aptopt='Acquire::Languages "none"'
    # what the public image does to stay small; as an --aptopt it would run on this machine as well
    --customize-hook='echo "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb || true\"; };" >"$1/etc/apt/apt.conf.d/90clean"'
    --dpkgopt=force-unsafe-io
    --dpkgopt='path-exclude=/usr/share/doc/*'
    --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/info/*'
    --dpkgopt='path-exclude=/usr/share/locale/*'
)
while read -r line; do
    options+=(--aptopt="$line")
done < <(apt-config dump 2>/dev/null | grep -iE '^Acquire::https?::Proxy(::[^ ]+)? "[^"]+";$' | sed 's/;$//' || true)
if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    options+=(
        --customize-hook='cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/"'
        --customize-hook='chroot "$1" update-ca-certificates'
    )
fi
mmdebstrap --format=tar "${options[@]}" "$SUITE" "$target.part" "$(scripts/mirror.sh)"
mv "$target.part" "$target"
