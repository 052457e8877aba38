# shellcheck shell=sh disable=SC2034,SC2154,SC2086
# The servers that scripts/bench compares, one set of functions each; it sources this file.
#
#   NAME_program            the program that must be there
#   NAME_version            what to call it in a table
#   NAME_prepare DIR PORT   writes its configuration into DIR, in which zone.$hosts is the zone file
#   NAME_run DIR            becomes the server, in the foreground, on the core that $pin says
#
# Each gets one worker, for it has one core; signed updates with $key and $secret where it takes them; and
# no limit that the load would meet: what is compared is work, not policy. Zone files are not written again
# while updates come (a journal keeps them), where a server leaves the choice.

dyndns_program=target/release/dyndns
dyndns_version() { echo "dyndns $(target/release/dyndns --version | cut -d' ' -f2)"; }
dyndns_prepare() {
    cat >"$1/dyndns.toml" <<END
state-dir = "$1/state"
listen = ["127.0.0.1:$2"]
log-level = "warn"
[[key]]
name = "$key"
secret = "$secret"
all-zones = true
[[zone]]
name = "$zone"
file = "$1/zone"
END
}
dyndns_run() { exec $pin "$root/target/release/dyndns" serve --config "$1/dyndns.toml"; }

knot_program=knotd
knot_version() { knotd --version | sed 's/.*), version /Knot /; q'; }
knot_prepare() {
    mkdir -p "$1/db"
    cat >"$1/knot.conf" <<END
server:
    rundir: "$1"
    listen: 127.0.0.1@$2
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "$1/db"
log:
  - target: stderr
    any: error
key:
  - id: $key.
    algorithm: hmac-sha256
    secret: $secret
acl:
  - id: update
    key: $key.
    action: update
zone:
  - domain: $zone.
    file: "$1/zone"
    zonefile-sync: -1
    journal-content: changes
    acl: update
END
}
knot_run() { exec $pin knotd -c "$1/knot.conf"; }

nsd_program=nsd
nsd_version() { nsd -v 2>&1 | sed 's/ version//; q'; }
nsd_prepare() {
    cat >"$1/nsd.conf" <<END
server:
    ip-address: 127.0.0.1@$2
    server-count: 1
    username: ""
    database: ""
    zonesdir: "$1"
    pidfile: "$1/nsd.pid"
    xfrdfile: "$1/xfrd.state"
    zonelistfile: "$1/zone.list"
    tcp-count: 100
    rrl-ratelimit: 0
    verbosity: 0
remote-control:
    control-enable: no
zone:
    name: $zone
    zonefile: "$1/zone"
END
}
nsd_run() { exec $pin nsd -d -c "$1/nsd.conf"; }

bind_program=named
bind_version() { named -v | sed 's/^BIND \([0-9.]*\).*/BIND \1/'; }
bind_prepare() {
    cat >"$1/named.conf" <<END
options {
    directory "$1";
    pid-file "$1/named.pid";
    session-keyfile "$1/session.key";
    managed-keys-directory "$1";
    listen-on port $2 { 127.0.0.1; };
    listen-on-v6 { none; };
    recursion no;
    dnssec-validation no;
    notify no;
    empty-zones-enable no;
    update-quota 1000;
};
controls { };
logging { category default { null; }; };
key "$key" { algorithm hmac-sha256; secret "$secret"; };
zone "$zone" { type primary; file "$1/zone"; allow-update { key "$key"; }; };
END
}
bind_run() { exec $pin named -f -n 1 -c "$1/named.conf"; }

pdns_program=pdns_server
pdns_version() { echo "PowerDNS $(dpkg-query -W -f '${Version}' pdns-server | sed 's/-.*//') (LMDB)"; }
pdns_prepare() {
    cat >"$1/pdns.conf" <<END
launch=lmdb
lmdb-filename=$1/pdns.lmdb
lmdb-shards=1
local-address=127.0.0.1
local-port=$2
socket-dir=$1
receiver-threads=1
max-tcp-connections=100
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
loglevel=3
security-poll-suffix=
END
    # Each of these is one transaction; the first is the import.
    timeout "$patience" pdnsutil --config-dir="$1" load-zone "$zone" "$1/zone" &&
        pdnsutil --config-dir="$1" import-tsig-key "$key" hmac-sha256 "$secret" &&
        pdnsutil --config-dir="$1" set-meta "$zone" TSIG-ALLOW-DNSUPDATE "$key"
}
pdns_run() { exec $pin pdns_server --config-dir="$1" --daemon=no --guardian=no --write-pid=no; }

yadifa_program=yadifad
yadifa_version() { echo "YADIFA $(dpkg-query -W -f '${Version}' yadifa | sed 's/-.*//')"; }
yadifa_prepare() {
    mkdir -p "$1/xfr"
    cat >"$1/yadifad.conf" <<END
<main>
    chroot off
    daemonize off
    datapath "$1"
    keyspath "$1"
    logpath "$1"
    xfrpath "$1/xfr"
    pidfile "$1/yadifad.pid"
    uid "$(id -u)"
    gid "$(id -g)"
    port $2
    listen 127.0.0.1 port $2
    thread-count-by-address 1
    max-tcp-queries 100
    statistics off
</main>
<rrl>
    enabled off
</rrl>
<key>
    name $key
    algorithm hmac-sha256
    secret $secret
</key>
<zone>
    domain $zone
    type master
    file zone
    allow-update key $key
</zone>
END
}
yadifa_run() { exec $pin yadifad -c "$1/yadifad.conf"; }
