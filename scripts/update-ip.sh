#!/bin/sh
# Keeps the addresses of one name right, from cron or by hand, with dig and nsupdate.
# No word of what is found may be taken for a pattern of file names.
set -uf
LC_ALL=C
export LC_ALL

usage() {
    cat <<'END'
usage: update-ip.sh -s SERVER[:PORT] -k KEYFILE [options] HOST [ADDRESS...]

Makes HOST point to the ADDRESSes: one signed update when the server holds others, nothing when it
already holds them. IPv4 and IPv6 are set apart: a kind that is neither given nor found stays as it is.

Without an ADDRESS it looks for this machine's own: the source addresses of the default routes.

  -s SERVER[:PORT]  the DNS server; [2001:db8::1]:5300 for IPv6 with a port; port 53 unless given
  -k KEYFILE        the key, in the form that nsupdate -k reads
  -z ZONE           the zone of HOST; otherwise nsupdate asks the server
  -t TTL            seconds that others may keep the answer (default 120)
  -u URL            find the addresses by asking URL (curl or wget), over IPv4 and over IPv6
  -c COMMAND        take the addresses that COMMAND prints
  -p                accept private and link-local addresses that were found; given ones always are
  -h                this text

Silent when nothing changes, one line when something does. Exit code: 0 right now, 1 not found or
refused, 2 wrong usage.

crontab: */5 * * * * /usr/local/bin/update-ip.sh -s ns.example.com -k /etc/router.key router.example.com
END
}

fail() {
    printf 'update-ip.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

need() {
    command -v "$1" >/dev/null 2>&1 || fail "cannot run $1: not installed; install the package $2"
}

# A or AAAA by the look of the address; nothing where it is neither. What is spelt like an address
# and still is none (1:2:3) is nsupdate's to refuse.
family() {
    case $1 in
    *[!0-9a-fA-F:.]*) ;;
    *:*:*) echo AAAA ;;
    *:*) ;;
    *.*.*.*)
        echo "$1" | awk -F. 'NF == 4 { for (i = 1; i <= 4; i++) if ($i !~ /^[0-9][0-9]?[0-9]?$/ || $i > 255) exit; print "A" }'
        ;;
    esac
}

# The addresses on standard input in one spelling each, sorted: 2001:DB8::0:1 equals 2001:db8::1.
canonical() {
    tr 'A-F' 'a-f' | awk '
        function group(text) { sub(/^0+/, "", text); return text == "" ? "0" : text }
        /:/ {
            address = $1
            # ::ffff:192.0.2.1: the last two groups as four decimal numbers.
            if (match(address, /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/)) {
                split(substr(address, RSTART), d, ".")
                address = substr(address, 1, RSTART - 1) sprintf("%x:%x", d[1] * 256 + d[2], d[3] * 256 + d[4])
            }
            gap = index(address, "::")
            left = gap ? substr(address, 1, gap - 1) : address
            right = gap ? substr(address, gap + 2) : ""
            n = split(left, l, ":"); m = split(right, r, ":")
            text = ""
            for (i = 1; i <= n; i++) text = text ":" group(l[i])
            for (i = n + m; gap && i < 8; i++) text = text ":0"
            for (i = 1; i <= m; i++) text = text ":" group(r[i])
            print substr(text, 2)
            next
        }
        NF { print $1 }' | sort -u
}

# True for an address that nobody elsewhere can reach: RFC 1918, 6598, 3927, 4193, 4291 and the like.
private() {
    case $1 in
    0.* | 10.* | 127.* | 169.254.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].*) return 0 ;;
    100.6[4-9].* | 100.[7-9][0-9].* | 100.1[01][0-9].* | 100.12[0-7].* | 22[4-9].* | 2[345][0-9].*) return 0 ;;
    :: | ::1 | 0:* | ::[fF][fF][fF][fF]:* | [fF][cCdDfF][0-9a-fA-F][0-9a-fA-F]:*) return 0 ;;
    [fF][eE][89abAB][0-9a-fA-F]:*) return 0 ;;
    esac
    return 1
}

# The addresses of this machine, one a line, by the way the user chose.
find_addresses() {
    if [ -n "$command" ]; then
        sh -c "$command" || fail "cannot find addresses: the command given with -c failed"
    elif [ -n "$url" ]; then
        if command -v curl >/dev/null 2>&1; then
            # One of the two families may be missing; both missing is noticed below.
            curl -4 -fsS -m 20 "$url" 2>/dev/null
            echo
            curl -6 -fsS -m 20 "$url" 2>/dev/null
        else
            need wget 'wget (or curl)'
            wget -4 -q -T 20 -t 1 -O - "$url" 2>/dev/null
            echo
            wget -6 -q -T 20 -t 1 -O - "$url" 2>/dev/null
        fi
    else
        need ip iproute2
        # Nothing is sent: the kernel is asked which address it would send from.
        for route in '-4 route get 192.0.2.1' '-6 route get 2000::1'; do
            # shellcheck disable=SC2086 # several words on purpose
            ip -o $route 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p'
        done
    fi
    return 0
}

server='' key='' zone='' ttl=120 url='' command='' allow_private=no
while getopts s:k:z:t:u:c:ph option; do
    case $option in
    s) server=$OPTARG ;;
    k) key=$OPTARG ;;
    z) zone=${OPTARG%.}. ;;
    t) ttl=$OPTARG ;;
    u) url=$OPTARG ;;
    c) command=$OPTARG ;;
    p) allow_private=yes ;;
    h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))

[ $# -ge 1 ] || fail 'no host given; see update-ip.sh -h' 2
[ -n "$server" ] || fail 'no server given; name it with -s SERVER[:PORT]' 2
[ -n "$key" ] || fail 'no key file given; name it with -k KEYFILE' 2
[ -z "$url" ] || [ -z "$command" ] || fail '-u and -c exclude each other; keep one' 2
case $ttl in
'' | *[!0-9]* | ???????????*) fail "cannot use $ttl as a TTL: not a number of seconds" 2 ;;
esac
# What follows becomes lines of nsupdate's input, so nothing may pass that ends a word there.
for name in "$1" "$zone" "$server"; do
    case $name in
    *[!]0-9A-Za-z._:*[%-]*) fail "cannot use '$name' as a name: it has a character that no host name has" 2 ;;
    esac
done
[ -r "$key" ] || fail "cannot read key file $key; check its path and who may read it" 2
host=${1%.}.
shift
need dig bind9-dnsutils
need nsupdate bind9-dnsutils

port=53
case $server in
\[*\]:*) port=${server##*:} server=${server#\[} server=${server%%\]*} ;;
\[*\]) server=${server#\[} server=${server%\]} ;;
*:*:*) ;;
*:*) port=${server##*:} server=${server%:*} ;;
esac
case $port in
'' | *[!0-9]*) fail "cannot use '$port' as a port: not a number" 2 ;;
esac

origin=given
if [ $# -eq 0 ]; then
    origin=found
    found=$(find_addresses) || exit 1
    # shellcheck disable=SC2046 # one word is one address
    set -- $(printf '%s\n' "$found" | tr '\r,' '  ')
fi
v4='' v6='' left_out=''
for address; do
    kind=$(family "$address")
    if [ -z "$kind" ]; then
        case $origin,$address in
        given,*) fail "cannot use '$address' as an address: neither IPv4 nor IPv6" 2 ;;
        # fe80::1%eth0
        found,[fF][eE][89abAB]?:*%*) left_out="$left_out $address" ;;
        # An error page that happens to hold four numbers must not become the address.
        *) fail "cannot use what was found: '$address' is no address; let -u or -c give addresses and nothing else" ;;
        esac
    elif [ "$origin" = found ] && [ "$allow_private" = no ] && private "$address"; then
        left_out="$left_out $address"
    elif [ "$kind" = A ]; then
        v4="$v4 $address"
    else
        v6="$v6 $address"
    fi
done
if [ -z "$v4$v6" ]; then
    [ -z "$left_out" ] ||
        fail "found only addresses that nobody outside can reach:$left_out; give the address, find it with -u URL, or allow it with -p"
    fail 'found no address; check the default route, or give the address, -u URL or -c COMMAND'
fi

script='' changed=''
for kind in A AAAA; do
    case $kind in
    A) wanted=$v4 ;;
    AAAA) wanted=$v6 ;;
    esac
    # A kind without an address is left alone: no IPv6 today is no reason to erase yesterday's.
    [ -n "$wanted" ] || continue
    answer=$(dig +short +norecurse +time=3 +tries=2 -p "$port" "@$server" "$host" "$kind" 2>&1) ||
        fail "cannot ask $server port $port for $host $kind: $(echo "$answer" | sed -n '/./{s/^;; *//p;q;}'); check -s and that the server runs"
    # shellcheck disable=SC2086 # one word is one address
    wanted=$(printf '%s\n' $wanted)
    # A CNAME's target stands in the answer too.
    held=$(for address in $answer; do [ -z "$(family "$address")" ] || echo "$address"; done)
    [ "$(echo "$wanted" | canonical)" != "$(echo "$held" | canonical)" ] || continue
    # The old and the new in one message: nobody ever sees the name without an address.
    script="$script
update delete $host $kind"
    for address in $wanted; do
        script="$script
update add $host $ttl $kind $address"
    done
    changed="$changed $kind $(echo "$wanted" | paste -sd, -) (was $(echo "${held:-nothing}" | paste -sd, -))"
done
[ -n "$script" ] || exit 0

answer=$(printf 'server %s %s\n%s%s\nsend\n' "$server" "$port" "${zone:+zone $zone}" "$script" | nsupdate -k "$key" 2>&1) ||
    fail "cannot change $host on $server port $port: $(echo "$answer" | paste -sd' ' -); if it was refused, the server's log names the rule"
printf '%s%s%s\n' "$host" "$changed" "${left_out:+; left out, not reachable from outside:$left_out}"
