#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that building, testing and the examples need, as far as they are missing. Idempotent,
# takes no arguments, prints nothing where there is nothing to do. Can be run, or sourced for rfs_packages_install.

RFS_PACKAGES=(
    build-essential meson ninja-build pkg-config
    libfuse3-dev fuse3 libiscsi-dev libiscsi-bin libxxhash-dev libcmocka-dev libuv1-dev libsqlite3-dev libinih-dev
    libjansson-dev libblkid-dev uthash-dev libsystemd-dev
    tgt istgt qemu-utils qemu-block-extra fio e2fsprogs xfsprogs util-linux fdisk mount xxhash python3 procps
)

rfs_packages_missing() {
    local package
    for package in "${RFS_PACKAGES[@]}"; do
        dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

# Packages of daemons start them on installation where an init runs. Tests start their own; nothing of the system is
# to change, so starting is refused while apt works (unless somebody else already has a policy).
rfs_packages_apt() {
    local log=$1 policy=/usr/sbin/policy-rc.d rc=0
    shift
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 0755 "$policy"
    fi
    {
        apt-get -qq -o Acquire::Retries=3 update &&
            DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
                apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install --no-install-recommends -y "$@"
    } >"$log" 2>&1 </dev/null || rc=$?
    [ -z "$policy" ] || rm -f "$policy"
    return "$rc"
}

rfs_packages_install() {
    local log
    local -a missing
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "Packages are installed with apt, which is not here. On another system install the like of:" >&2
        echo "  ${RFS_PACKAGES[*]}" >&2
        return 1
    fi
    # shellcheck disable=SC2207
    missing=($(rfs_packages_missing))
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "These packages are missing, and installing them takes root. Run as root, or install them first:" >&2
        echo "  apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing: ${missing[*]}"
    log=$(mktemp) || return 1
    if ! rfs_packages_apt "$log" "${missing[@]}"; then
        echo "apt-get could not install them; the end of what it said:" >&2
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -u
    rfs_packages_install
fi
