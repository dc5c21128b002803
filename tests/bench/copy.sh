#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Our copy and our copy with verification against `qemu-img convert` and `qemu-img compare` on the same two LUNs, in
# turn, on two tgtd and on two istgt: wall and CPU seconds, medians, ratios. Prints a markdown table.
#
#   tests/bench/copy.sh [--size=2G] [--rounds=3] [--target=tgt|istgt|both]

set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/packages.sh
case " $* " in *" --help "* | *" -h "*) sed -n '4,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
rfs_packages_install || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { { [ -f build/build.ninja ] || meson setup build; } && ninja -C build; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    exit 1
fi
python3 -B tests/bench/copy.py "$@"
