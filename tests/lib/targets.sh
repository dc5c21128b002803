# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Real iSCSI targets on loopback for shell scripts: several tgtd and istgt side by side, each with a run-time folder,
# control socket and port of its own, so that targets of the system are neither used nor disturbed. Source it.
#
#   targets_begin DIR            where they keep their things; the caller's trap has to call targets_end
#   tgtd_start NAME              then tgtd_lun NAME FILE [PARAMS], tgtd_url NAME [LUN], tgtd_adm NAME ARGS...
#   istgt_start NAME FILE...     its disks are LUN 0, 1, ...; istgt_url NAME [LUN]
#   target_pid NAME, target_stop NAME
#   targets_end                  stops all of them

declare -A RFS_TARGET_PID=() RFS_TARGET_PORT=() RFS_TARGET_LUNS=() RFS_TARGET_NUMBER=()
RFS_TARGETS_DIR=

targets_begin() {
    RFS_TARGETS_DIR=$1
    mkdir -p "$RFS_TARGETS_DIR" && chmod 0700 "$RFS_TARGETS_DIR"
}

# Below the ephemeral range: a port that clients are given at random could be taken while a target restarts.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

tgtd_adm() {
    local name=$1
    shift
    TGT_IPC_SOCKET=$RFS_TARGETS_DIR/$name.ipc timeout 10 tgtadm -C "${RFS_TARGET_NUMBER[$name]}" --lld iscsi "$@"
}

rfs_target_run() { # NAME COMMAND...: in the background, in a session of its own, out of reach of a terminal's ^C
    local name=$1
    shift
    setsid "$@" >>"$RFS_TARGETS_DIR/$name.log" 2>&1 </dev/null &
    RFS_TARGET_PID[$name]=$!
    disown $!
}

rfs_target_answers() { # NAME TRY...: until TRY succeeds, at most 10 s
    local name=$1 end=$((SECONDS + 10))
    shift
    until "$@" >/dev/null 2>&1; do
        kill -0 "${RFS_TARGET_PID[$name]}" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

rfs_tcp_answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# tgtd goes on without its port when somebody else has it: then another one is tried.
tgtd_start() {
    local name=$1 try
    RFS_TARGET_NUMBER[$name]=$((${#RFS_TARGET_NUMBER[@]} + 1))
    for try in 1 2 3 4 5; do
        RFS_TARGET_PORT[$name]=$(free_port)
        : >"$RFS_TARGETS_DIR/$name.log"
        TGT_IPC_SOCKET=$RFS_TARGETS_DIR/$name.ipc rfs_target_run "$name" tgtd -f \
            -C "${RFS_TARGET_NUMBER[$name]}" --iscsi "portal=127.0.0.1:${RFS_TARGET_PORT[$name]}"
        rfs_target_answers "$name" tgtd_adm "$name" --op show --mode target || continue
        if ! grep -q 'unable to bind' "$RFS_TARGETS_DIR/$name.log"; then
            tgtd_adm "$name" --op new --mode target --tid 1 -T "iqn.2026-01.org.replicafs:$name" &&
                tgtd_adm "$name" --op bind --mode target --tid 1 -I ALL
            return
        fi
        target_stop "$name"
    done
    echo "tgtd does not start; it said:" >&2
    tail -n 5 "$RFS_TARGETS_DIR/$name.log" >&2
    return 1
}

tgtd_lun() {
    local name=$1 file=$2 params=${3:-} lun=$((${RFS_TARGET_LUNS[$1]:-0} + 1))
    tgtd_adm "$name" --op new --mode logicalunit --tid 1 --lun "$lun" -b "$file" || return
    RFS_TARGET_LUNS[$name]=$lun
    [ -z "$params" ] || tgtd_adm "$name" --op update --mode logicalunit --tid 1 --lun "$lun" --params "$params"
}

tgtd_url() {
    echo "iscsi://127.0.0.1:${RFS_TARGET_PORT[$1]}/iqn.2026-01.org.replicafs:$1/${2:-1}"
}

rfs_istgt_conf() { # NAME PORT CONTROL-PORT FILE...
    local name=$1 port=$2 control=$3 lun=0 file
    shift 3
    cat <<EOF
[Global]
  NodeBase "iqn.2026-01.org.replicafs"
  PidFile $RFS_TARGETS_DIR/$name.pid
  AuthFile $RFS_TARGETS_DIR/$name.auth
  MediaDirectory $RFS_TARGETS_DIR
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod None
  MaxSessions 32
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  DefaultTime2Wait 2
  DefaultTime2Retain 60
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  InitialR2T Yes
  ImmediateData Yes
  DataPDUInOrder Yes
  DataSequenceInOrder Yes
  ErrorRecoveryLevel 0
[UnitControl]
  AuthMethod None
  Portal UC1 127.0.0.1:$control
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:$port
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName $name
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UseDigest Auto
  UnitType Disk
  UnitInquiry "replicafs" "istgt" "0" "$name-$port"
  QueueDepth 64
EOF
    for file in "$@"; do
        echo "  LUN$lun Storage $file Auto"
        lun=$((lun + 1))
    done
}

istgt_start() {
    local name=$1 try
    shift
    (umask 077 && : >"$RFS_TARGETS_DIR/$name.auth")
    for try in 1 2 3 4 5; do
        RFS_TARGET_PORT[$name]=$(free_port)
        (umask 077 && rfs_istgt_conf "$name" "${RFS_TARGET_PORT[$name]}" "$(free_port)" "$@" >"$RFS_TARGETS_DIR/$name.conf")
        rfs_target_run "$name" istgt -D -c "$RFS_TARGETS_DIR/$name.conf"
        rfs_target_answers "$name" rfs_tcp_answers "${RFS_TARGET_PORT[$name]}" && return
        target_stop "$name"
    done
    echo "istgt does not start; it said:" >&2
    tail -n 5 "$RFS_TARGETS_DIR/$name.log" >&2
    return 1
}

istgt_url() {
    echo "iscsi://127.0.0.1:${RFS_TARGET_PORT[$1]}/iqn.2026-01.org.replicafs:$1/${2:-0}"
}

target_pid() {
    echo "${RFS_TARGET_PID[$1]}"
}

# What a target has acknowledged is in the page cache: SIGKILL loses nothing and does not take a second.
target_stop() {
    local pid=${RFS_TARGET_PID[$1]:-}
    [ -n "$pid" ] || return 0
    unset "RFS_TARGET_PID[$1]"
    kill -9 "$pid" 2>/dev/null
    return 0
}

targets_end() {
    local name
    for name in "${!RFS_TARGET_PID[@]}"; do
        target_stop "$name"
    done
}
