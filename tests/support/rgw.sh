#!/usr/bin/env bash
# A real Ceph object gateway (Debian: radosgw ceph-mon ceph-osd ceph-common) on loopback, without systemd.
#   rgw.sh up DIR PORT ACCESS_KEY SECRET_KEY        10 to 13 s
#   rgw.sh down DIR
set -euo pipefail
action=$1 dir=$2
if [[ $action == down ]]; then
    for name in client.admin osd.0 mon.a; do
        file=$dir/run/$name.pid
        [[ -f $file ]] || continue
        pid=$(cat "$file")
        kill -9 "$pid" 2>/dev/null || true
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        rm -f "$file"
    done
    exit 0
fi
port=$3 key=$4 secret=$5
mkdir -p "$dir"/{mon,osd,run,log,rgw}
cluster=$(cat /proc/sys/kernel/random/uuid)
conf=(-c "$dir/ceph.conf")
cat > "$dir/ceph.conf" <<X
[global]
fsid = $cluster
mon host = [v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
# radosgw's built-in default is 'secure' alone, which cannot be had without authentication: it would hang for 300 s
ms mon client mode = crc secure
ms mon service mode = crc secure
keyring = $dir/keyring
run dir = $dir/run
pid file = $dir/run/\$name.pid
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
osd pool default size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
[mon.a]
mon data = $dir/mon
[osd.0]
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd class update on start = false
osd crush update on start = false
[client]
rgw frontends = beast endpoint=127.0.0.1:$port
rgw data = $dir/rgw
X
touch "$dir/keyring"
ceph-authtool --create-keyring "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' >/dev/null
ceph-authtool --gen-key -n mon. --cap mon 'allow *' "$dir/keyring"
monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" "$dir/monmap" >/dev/null
ceph-mon "${conf[@]}" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring"
ceph-mon "${conf[@]}" -i a --setuser root --setgroup root
osd=$(cat /proc/sys/kernel/random/uuid)
timeout 30 ceph "${conf[@]}" osd new "$osd" 0 >/dev/null
ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
timeout 20 ceph "${conf[@]}" osd crush add osd.0 1 root=default host=h >/dev/null 2>&1
ceph-osd "${conf[@]}" -i 0 >/dev/null 2>&1
timeout -s KILL 100 radosgw-admin "${conf[@]}" user create --uid=t --display-name=t --access-key="$key" --secret-key="$secret" >/dev/null
timeout -s KILL 100 radosgw "${conf[@]}" -n client.admin
for _ in $(seq 200); do
    curl -s -o /dev/null "http://127.0.0.1:$port/" && exit 0
    sleep 0.1
done
exit 1
