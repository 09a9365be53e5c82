#!/bin/sh
# An arm64 Debian 12 user land with Python 3.11 and Python packages, to run under qemu-user. No root, no chroot.
# usage: PYTHON=python3 rootfs.sh DIR REQUIREMENT...      then: qemu-aarch64-static -L DIR DIR/usr/bin/python3.11
# DIR/wheels holds the packages. Nothing is done when DIR was made by this script from these requirements before.
set -eu
dir=$1
shift
python=${PYTHON:-python3}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg

stamp="$(sha256sum < "$0") $*"
[ "$(cat "$dir/stamp" 2>/dev/null || true)" != "$stamp" ] || exit 0
for needed in apt-get dpkg-deb qemu-aarch64-static $keys; do
    command -v "$needed" >/dev/null || [ -e "$needed" ] || {
        echo "$needed not found: sudo apt install qemu-user-static debian-archive-keyring" >&2
        exit 1
    }
done

new=$dir.new
apt=$new/apt
rm -rf "$dir" "$new"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
echo '*' > "$new/.gitignore"
echo "deb [arch=arm64 signed-by=$keys] $mirror bookworm main" > "$apt/sources.list"
: > "$apt/status"
private_apt() { # an apt of its own: another architecture, nothing installed, the host's lists and cache untouched
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root \
        -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        "$@"
}
private_apt update
private_apt install -y --no-install-recommends --download-only python3.11 libstdc++6 >/dev/null
for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$new"
done
rm -rf "$apt"

platforms=$(for glibc in 17 24 26 27 28 31 34 35 36; do echo "--platform=manylinux_2_${glibc}_aarch64"; done)
# shellcheck disable=SC2086 # a list of words
"$python" -m pip install --quiet --disable-pip-version-check --no-compile --target "$new/wheels" \
    --only-binary=:all: --implementation=cp --python-version=3.11 $platforms --platform=manylinux2014_aarch64 "$@"

echo "$stamp" > "$new/stamp"
mv "$new" "$dir"
