#!/bin/bash
# Two hosts on one machine: login (192.0.2.1) -- veth -- compute (192.0.2.2), which has no other link and no route.
# two_hosts.sh up|down DIR NAME [FOLDER...]   FOLDERs (Python, its environment, this checkout) stay readable on compute
# Compute has its own files under /srv/proj and /home, its own user and an ssh server; DIR/login is not there.
set -eu
action=$1 dir=$2 name=$3; shift 3
login=explm-l-$name compute=explm-c-$name
if [ "$action" = down ]; then
    [ ! -f "$dir/etc/sshd.pid" ] || kill "$(cat "$dir/etc/sshd.pid")" 2>/dev/null || true
    for namespace in "$compute" "$login"; do
        ip netns pids "$namespace" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns del "$namespace" 2>/dev/null || true
    done
    exit 0
fi
mkdir -p "$dir"/{login,compute,etc,keep}
chown 4242:4242 "$dir/compute"
ip netns add "$login"; ip netns add "$compute"
ip link add veth-l netns "$login" type veth peer name veth-c netns "$compute"
ip -n "$login" addr add 192.0.2.1/24 dev veth-l; ip -n "$compute" addr add 192.0.2.2/24 dev veth-c
for end in "$login:veth-l" "$compute:veth-c"; do
    ip -n "${end%:*}" link set lo up; ip -n "${end%:*}" link set "${end#*:}" up
done
ssh-keygen -q -t ed25519 -N '' -f "$dir/etc/host"; ssh-keygen -q -t ed25519 -N '' -f "$dir/etc/id"
{ grep -v '^researcher:' /etc/passwd; echo 'researcher:*:4242:4242::/home/researcher:/bin/bash'; } > "$dir/etc/passwd"
cat > "$dir/etc/sshd_config" <<END
Port 2222
ListenAddress 192.0.2.2
HostKey $dir/etc/host
AuthorizedKeysFile /home/researcher/.ssh/authorized_keys
AllowUsers researcher
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile $dir/etc/sshd.pid
END
cat > "$dir/etc/ssh_config" <<END
Host compute
  HostName 192.0.2.2
  Port 2222
  User researcher
  IdentityFile $dir/etc/id
  UserKnownHostsFile $dir/etc/known_hosts
  StrictHostKeyChecking accept-new
  LogLevel ERROR
  ConnectTimeout 5
END
cat > "$dir/etc/compute.sh" <<'END'
set -eu
dir=$1; shift
hostname compute
mount --make-rprivate /
mount --bind "$dir/etc/passwd" /etc/passwd
mount -t tmpfs none /srv; mkdir /srv/proj; mount --bind "$dir/compute" /srv/proj
mount -t tmpfs none /home; mkdir -p /home/researcher/.ssh; cp "$dir/etc/id.pub" /home/researcher/.ssh/authorized_keys
chown -R 4242:4242 /home/researcher
kept=()
for folder; do # what lies in root's own home is not for another user to see, except these
    case $folder in /root/*)
        keep="$dir/keep/${#kept[@]}"; mkdir -p "$keep"; mount --bind "$folder" "$keep"; kept+=("$folder") ;;
    esac
done
mount -t tmpfs -o mode=755 none /root
for index in "${!kept[@]}"; do
    mkdir -p "${kept[$index]}"; mount --bind "$dir/keep/$index" "${kept[$index]}"
done
mount -t tmpfs none /run; mkdir /run/sshd
mount -t tmpfs none "$dir/login"
exec /usr/sbin/sshd -D -e -f "$dir/etc/sshd_config"
END
setsid nsenter --net="/run/netns/$compute" unshare --mount --uts bash "$dir/etc/compute.sh" "$dir" "$@" \
    </dev/null >"$dir/sshd.log" 2>&1 &
for _ in $(seq 100); do
    nsenter --net="/run/netns/$login" ssh -F "$dir/etc/ssh_config" compute true 2>/dev/null && exit 0
    sleep 0.1
done
cat "$dir/sshd.log" >&2
exit 1
