#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds replicafs and runs every test: unit, mounted, iSCSI against tgtd and istgt, fault and crash tests.
# The last line printed is `N passed, N failed, N skipped`.

set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib/packages.sh

usage() {
    cat <<EOF
usage: tests/run.sh [OPTION...]
  --sanitize=address,undefined   the same suite in a build with these sanitizers (also: thread); any report is a failure
  --only=NAME                    only tests whose name contains NAME; may be given several times
  --quick                        unit tests and checks only: nothing is mounted
EOF
}

fail() {
    echo "$*" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}

sanitize=
pass=()
quick=0
for arg in "$@"; do
    case $arg in
        --sanitize=address,undefined | --sanitize=thread) sanitize=${arg#*=} ;;
        --only=?*) pass+=("$arg") ;;
        --quick) pass+=("$arg") quick=1 ;;
        --help | -h) usage; exit 0 ;;
        *) echo "tests/run.sh does not know $arg" >&2; usage >&2; exit 2 ;;
    esac
done

rfs_packages_install || fail "packages are missing"
if [ "$quick" -eq 0 ]; then
    [ "$(id -u)" -eq 0 ] || fail "The mounted tests need root (FUSE mounts, loop devices). Run as root, or with --quick."
    [ -c /dev/fuse ] || modprobe fuse 2>/dev/null
    [ -c /dev/fuse ] || fail "There is no /dev/fuse here: load the fuse module, or give the container --device /dev/fuse --cap-add SYS_ADMIN; or use --quick."
fi

build=build
options=(-Dwerror=true -Dtests=enabled)
if [ -n "$sanitize" ]; then
    build=build-${sanitize//,/-}
    options+=("-Db_sanitize=$sanitize" -Db_lundef=false)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ -f "$build/build.ninja" ]; then
    meson configure "$build" "${options[@]}" >"$log" 2>&1 || { cat "$log"; fail "meson cannot configure $build"; }
else
    meson setup "$build" "${options[@]}" >"$log" 2>&1 || { tail -n 40 "$log"; fail "meson cannot set up $build"; }
fi
ninja -C "$build" >"$log" 2>&1 || { tail -n 60 "$log"; fail "$build does not build"; }
echo "built $build"

exec_env=(env)
# With address-space randomisation of 32 bits (kernels since 6.6) gcc 12's TSan cannot place its shadow.
if [ "$sanitize" = thread ] && setarch -R true 2>/dev/null; then
    exec_env=(setarch -R env)
fi
"${exec_env[@]}" python3 -B tests/lib/runner.py --build "$build" --sanitize "$sanitize" "${pass[@]}"
