# shellcheck shell=sh disable=SC2013,SC2034,SC2086,SC2154
# What scripts/bench measures with: programs, servers that come and go, figures and their medians. It sources this file
# and sets the variables that are used here.

say() { printf '%s\n' "$*" >&2; }

# ---- what is needed ----

installed() {
    eval "program=\$${1}_program"
    command -v "$program" >/dev/null 2>&1
}

install_peers() {
    packages=''
    for entry in knot:knot nsd:nsd bind:bind9 pdns:pdns-server pdns:pdns-backend-lmdb yadifa:yadifa; do
        installed "${entry%%:*}" || packages="$packages ${entry#*:}"
    done
    command -v strace >/dev/null 2>&1 || packages="$packages strace"
    [ -n "$packages" ] && [ $install = yes ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "not root, or no apt-get: nothing is installed; to compare with all: apt-get install$packages"
        return 0
    fi
    say "installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q </dev/null >"$work/apt" 2>&1
    # Nobody asked for these to serve this machine, now or at the next boot.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    for package in $packages; do
        apt-get install -q -y --no-install-recommends "$package" </dev/null >"$work/apt" 2>&1 || tail -n 2 "$work/apt" >&2
        case $package in
        bind9) service=named ;;
        pdns-server) service=pdns ;;
        *) service=$package ;;
        esac
        systemctl --quiet disable "$service" >/dev/null 2>&1
    done
    [ -z "$policy" ] || rm -f "$policy"
    policy=''
}

build() {
    say 'building'
    cargo build --locked --release --quiet --bin dyndns || exit 2
    load=$(cargo build --locked --release --quiet --bench load --message-format=json |
        sed -n 's/.*"name":"load".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
    [ -x "$load" ] || { say 'the load generator was not built' && exit 2; }
    [ "$sync_delay" = 0 ] || cc -O2 -Wall -shared -fPIC -o "$work/slow_sync.so" tests/benches/slow_sync.c -ldl || exit 2
}

# ---- servers: each has a directory, a port, and a file with the number of its process ----

port() {
    number=$first_port
    for one in echo $everyone; do
        [ "$one" != "$1" ] || break
        number=$((number + 1))
    done
    echo $number
}

# A process and all below it, with commas between.
family() {
    printf '%s' "$1"
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
        printf ',%s' "$(family "$child")"
    done
}

pids() { family "$(cat "$work/$1.pid")"; }

# The load has the second core. All that asks is bounded: a server that hangs must not hang this.
ask() { ${pin:+taskset -c 1} timeout $((seconds + 20)) "$load" "$@"; }

# How often, a hundred times a second, a processor was wanted that the host had given to others.
stolen() { awk '$1 == "cpu" { print $9 }' /proc/stat; }

# The same for latencies, of $1: a tail shows what the host does as well. So it is asked again, eight times at most, where the
# host took a processor away for more than a four-hundredth of the time; the least disturbed counts.
ask_undisturbed() {
    whom=$1
    shift
    least=''
    tries=0
    while [ $tries -lt 8 ] && { [ -z "$least" ] || [ "$least" -gt $((seconds / 4)) ]; }; do
        before=$(stolen)
        got=$(ask "$@")
        taken=$(($(stolen) - before))
        if [ -z "$least" ] || [ $taken -lt "$least" ]; then
            least=$taken
            kept=$got
        fi
        tries=$((tries + 1))
    done
    [ "$least" -le $((seconds / 4)) ] || remark "$whom: latencies beside a host that took so many ms of a processor, in a round" "${least}0"
    echo "$kept"
}

# Has what this shell starts from now on sync more slowly, where that was asked for; counted for a row.
slow() {
    [ "$sync_delay" = 0 ] || export LD_PRELOAD="$work/slow_sync.so" SYNC_DELAY="$sync_delay" SYNC_COUNT="$work/$1.syncs"
}

# How many syncs of a server have taken longer.
delayed() {
    if [ -e "$work/$1.syncs" ]; then od -An -t u8 -N 8 "$work/$1.syncs" | tr -d ' '; else echo 0; fi
}

# Writes the configuration; for some this is the import.
prepare() {
    dir=$work/$1
    rm -rf "$dir"
    mkdir -p "$dir"
    [ -e "$work/zone.$2" ] || "$load" zone $zone "$2" >"$work/zone.$2"
    # A copy: some servers write to it.
    cp "$work/zone.$2" "$dir/zone"
    "${1}_prepare" "$dir" "$(port "$1")" >"$dir/prepared" 2>&1
}

# Starts a prepared server and waits for its first answer; leaves the milliseconds in $took.
start() {
    dir=$work/$1
    address=127.0.0.1:$(port "$1")
    if [ "$1" = echo ]; then
        $pin "$load" echo "$address" </dev/null >/dev/null 2>&1 &
        echo $! >"$work/$1.pid"
        sleep 0.3
        return 0
    fi
    (cd "$dir" && slow "$1" && "${1}_run" "$dir" </dev/null >>"$dir/out" 2>&1) &
    echo $! >"$work/$1.pid"
    ready=$(${pin:+taskset -c 1} timeout $((patience + 5)) "$load" ready "$address" --zone $zone --hosts "$2" --timeout "$patience" 2>>"$dir/out") || {
        say "$1 does not answer for $2 hosts within $patience s: $(tail -n 1 "$dir/out")"
        stop "$1"
        return 1
    }
    took=${ready#*=}
}

stop() {
    [ -e "$work/$1.pid" ] || return 0
    pid=$(cat "$work/$1.pid")
    rm -f "$work/$1.pid"
    kill "$pid" 2>/dev/null
    # As long as a server may take that has a table to write.
    left=600
    while kill -0 "$pid" 2>/dev/null && [ $left -gt 0 ]; do
        # What ended and was not waited for still has a number.
        case $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) in Z*) break ;; esac
        sleep 0.1
        left=$((left - 1))
    done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

stop_all() {
    for one in echo $everyone; do stop "$one"; done
}

# Starts all that are there with a zone of so many hosts; leaves in $running who answers.
start_all() {
    running=''
    for one in $only; do
        installed "$one" || continue
        say "  starting $one with $1 hosts"
        prepare "$one" "$1" || { say "$one: $(tail -n 1 "$work/$one/prepared")" && continue; }
        start "$one" "$1" && running="$running $one"
    done
}

clean_up() {
    stop_all
    [ -z "$policy" ] || rm -f "$policy"
    rm -rf "$work"
}

# ---- figures: lines of ROW COLUMN NUMBER ----

note() { echo "$1 $2 $3" >>"$work/figures"; }

# The number of this name in the line that the load printed.
value() { echo "$line" | tr ' ' '\n' | sed -n "s/^$1=//p"; }

# Median and spread of a column of a row, each divided by $3, with $4 decimals; - where there is none.
cell() {
    awk -v row="$1" -v column="$2" '$1 == row && $2 == column { print $3 }' "$work/figures" | sort -g |
        awk -v by="${3:-1}" -v places="${4:-0}" '
            { v[NR] = $1 / by }
            END {
                if (NR == 0) { print "-"; exit }
                m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
                f = "%." places "f"
                if (NR == 1) printf f "\n", m
                else printf f " (" f "-" f ")\n", m, v[1], v[NR]
            }'
}

# The same without the spread.
median() { cell "$@" | cut -d' ' -f1; }

row() {
    printf '|'
    for text in "$@"; do printf ' %s |' "$text"; done
    echo
}

header() {
    row "$@"
    row "$@" | sed 's/[^|]\{1,\}/---/g'
}

# The row's name; of one that is not there, the whole row.
name_of() {
    if installed "$1"; then "${1}_version"; else echo "$1: not installed"; fi
}
