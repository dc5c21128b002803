#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The main job, from nothing to a proven copy, on this machine alone: two real iSCSI targets on loopback, one LUN each;
# an ext4 file system with files on the first one; replicafs mounted; both LUNs added; a replica attached by writing one
# line; the copy watched, awaited and proven. Everything is taken down again, unless --keep is given.

set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib/packages.sh
. tests/lib/targets.sh

keep=0
case ${1:-} in
    "") ;;
    --keep) keep=1 ;;
    *) echo "usage: examples/quickstart.sh [--keep]"; [ "$1" = --help ]; exit ;;
esac

bold="" plain=""
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi
work=""
mnt=""

step() {
    printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

stop() {
    printf '\nquickstart: %s\n' "$*" >&2
    exit 1
}

daemon_pid() {
    pgrep -f -- "replicafs --state-dir=$work/state " || true
}

clean_up() {
    local try pid
    trap - EXIT INT TERM HUP
    exec 3>&-
    [ -n "$work" ] || return
    if mountpoint -q "$work/check"; then umount "$work/check"; fi
    if mountpoint -q "$mnt"; then umount "$mnt" || umount -l "$mnt"; fi
    for try in $(seq 1 100); do
        pid=$(daemon_pid)
        [ -n "$pid" ] || break
        [ "$try" -lt 100 ] || kill -9 "$pid"
        sleep 0.05
    done
    targets_end
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# Shows a command as one would type it in the mounted tree, and runs it there.
at_mount() {
    printf '  $ %s\n' "$1"
    (cd "$mnt" && eval "$1") || stop "this failed; the reason: $(cat "$mnt/last_status" 2>/dev/null)"
}

digests() { # of all files below a folder, by relative name
    (cd "$1" && find . -type f -not -path './lost+found/*' -print0 | sort -z | xargs -0 xxhsum -q -H2 2>/dev/null)
}

preconditions() {
    [ "$(id -u)" -eq 0 ] || stop "This needs root: it installs packages, mounts a FUSE file system and a disk image. Try: sudo examples/quickstart.sh"
    [ -c /dev/fuse ] || modprobe fuse 2>/dev/null
    [ -c /dev/fuse ] || stop "There is no /dev/fuse: load the fuse module, or, in a container, add --device /dev/fuse --cap-add SYS_ADMIN."
    rfs_packages_install || exit 1
}

build() {
    local log=$work/build.log
    { [ -f build/build.ninja ] || meson setup build; } >"$log" 2>&1 && ninja -C build >>"$log" 2>&1 && return
    tail -n 30 "$log" >&2
    stop "replicafs does not build; above is the end of what meson and ninja said."
}

# In memory where there is room for three GiB of it, else where temporary files go.
work_folder() {
    local shm=0 memory
    memory=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
    [ -w /dev/shm ] && shm=$(df -m --output=avail /dev/shm | tail -n 1)
    if [ "$shm" -gt 3500 ] && [ "$memory" -gt 4500 ]; then
        mktemp -d /dev/shm/quickstart.XXXXXX
    else
        mktemp -d "${TMPDIR:-/tmp}/quickstart.XXXXXX"
    fi
}

make_files() { # a gigabyte volume two thirds full: some large files and many small ones
    local i
    mkdir -p "$work/files/photos" "$work/files/letters"
    for i in 1 2 3 4 5; do
        head -c 128M /dev/urandom >"$work/files/photos/$i.raw" || return
    done
    for i in $(seq 1 300); do
        echo "letter number $i, written on $(date)" >"$work/files/letters/$i.txt"
    done
    truncate -s 1G "$work/source.img" "$work/target.img" &&
        mkfs.ext4 -q -L quickstart -d "$work/files" "$work/source.img"
}

start_targets() {
    targets_begin "$work/targets"
    tgtd_start alpha && tgtd_lun alpha "$work/source.img" && tgtd_start beta && tgtd_lun beta "$work/target.img" ||
        stop "the iSCSI targets do not start"
}

attach() {
    local reply
    cat <<'EOF'
  $ exec 3<>service/attach_replica
  $ echo 'source_element=elements/a target_element=elements/b copy_type=Sync name=db' >&3
  $ cat <&3
EOF
    exec 3<>"$mnt/service/attach_replica" &&
        echo 'source_element=elements/a target_element=elements/b copy_type=Sync name=db' >&3 ||
        stop "the request was refused: $(cat "$mnt/last_status")"
    reply=$(cat <&3)
    exec 3>&-
    printf '%s\n' "$reply"
    job=$(sed -n 's/^job=//p' <<<"$reply")
    [ -n "$job" ] || stop "the reply names no job"
}

watch_job() {
    local line
    printf '  $ cat %s/progress\n' "$job"
    while line=$(cat "$mnt/$job/progress") && case $(cat "$mnt/$job/job_state") in New | Starting | Running) true ;; *) false ;; esac; do
        printf '%s\n' "$line"
        sleep 0.25
    done
    printf '%s\n' "$line"
}

prove() {
    cmp "$work/source.img" "$work/target.img" || stop "source and target differ"
    echo "  the two backing files are equal, byte for byte (cmp), $(stat -c %s "$work/target.img") bytes"
    e2fsck -fn "$work/target.img" >"$work/fsck.log" 2>&1 || { cat "$work/fsck.log"; stop "e2fsck finds faults on the target"; }
    echo "  e2fsck -fn finds no fault in the target's file system"
    mkdir "$work/check"
    if mount -o loop,ro "$work/target.img" "$work/check" 2>"$work/mount.log"; then
        digests "$work/check" >"$work/target.xxh"
        umount "$work/check"
    else
        echo "  (no loop device here: the files are read with debugfs instead)"
        debugfs -R "rdump / $work/check" "$work/target.img" >/dev/null 2>&1
        digests "$work/check" >"$work/target.xxh"
    fi
    digests "$work/files" >"$work/source.xxh"
    cmp -s "$work/source.xxh" "$work/target.xxh" || { diff "$work/source.xxh" "$work/target.xxh" | head; stop "files differ"; }
    echo "  $(wc -l <"$work/target.xxh") files on the target have the XXH128 digests of those written to the source"
}

# Folders on lines of their own, what is in them run together; LC_ALL for an order that is the same everywhere.
show_tree() {
    (cd "$mnt" && find . -mindepth 1 -maxdepth 3 -not -path './service/*/*' -printf '%P %y\n' | LC_ALL=C sort) | awk '
        function flush() { if (row != "") print row; row = "" }
        {
            depth = gsub("/", "/", $1); n = split($1, part, "/"); name = part[n]
            indent = sprintf("  %" (4 * depth) "s", "")
            if ($2 == "d") { flush(); print indent name "/"; next }
            if ($2 == "l") name = name "@"
            if (depth != at || length(row) + length(name) > 110) flush()
            at = depth
            row = row == "" ? indent name : row "  " name
        }
        END { flush() }'
}

keep_running() {
    cat >"$work/stop.sh" <<EOF
#!/bin/sh
umount "$mnt" || umount -l "$mnt"
sleep 1
kill -9 $(target_pid alpha) $(target_pid beta)
rm -rf "$work"
EOF
    chmod +x "$work/stop.sh"
    cat <<EOF

It is still running. Play with it, for example:
  cd $mnt
  cat README status
  cat relationships/db/operation                     # what can be done now
  echo 'ResyncReplica wait_for_copy_state=Synchronized timeout=60' > relationships/db/operation
  echo nonsense > relationships/db/operation; cat last_status
  echo Detach > relationships/db/operation
Stop it and remove everything with:
  $work/stop.sh
EOF
    trap - EXIT
}

step "1. What is needed"
preconditions
began=$SECONDS # the packages are there: from here on it is ours
work=$(work_folder) || stop "no temporary folder can be made"
mnt=$work/mnt
mkdir "$mnt"
build
echo "  $(build/replicafs --version), LUNs and state in $work"

step "2. Two iSCSI targets; an ext4 file system with files on the LUN of the first"
make_files || stop "the source's file system cannot be made"
start_targets
echo "  source: $(tgtd_url alpha)"
echo "  target: $(tgtd_url beta)"

step "3. Mount"
printf '  $ replicafs --state-dir=%s %s\n' "$work/state" "$mnt"
build/replicafs --state-dir="$work/state" "$mnt" || stop "replicafs did not start"

step "4. Add both LUNs"
at_mount "mkdir elements/a elements/b"
at_mount "echo $(tgtd_url alpha) > elements/a/url"
at_mount "echo $(tgtd_url beta) > elements/b/url"
at_mount "cat elements/a/state elements/a/size"

step "5. Attach a replica: one line in, the answer on the same descriptor"
attach

step "6. Watch the job"
watch_job
at_mount "echo 'Synchronized timeout=60' > relationships/db/wait"
at_mount "cat relationships/db/copy_state relationships/db/percent_synced $job/job_state $job/bytes_done"

step "7. The tree"
show_tree
at_mount "cat status"

step "8. The proof"
prove

step "Done in $((SECONDS - began)) s: an ext4 volume of 1 GiB went from one iSCSI LUN to another, each block read back and compared, and is the same."
[ "$keep" -eq 0 ] || keep_running
