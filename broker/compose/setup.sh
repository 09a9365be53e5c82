#!/bin/sh
# Makes the fleet's certificates at the first start, and lays each container's share of them into its volume.
# usage: setup.sh [FOLDER]    where the volumes are mounted
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-/setup}"
fleet=fleet/plant

give() { # VOLUME USER FILE...: copies that this user alone can read, and nobody in the container can change
    volume=$1 user=$2
    shift 2
    for file; do
        copy=$volume/${file##*/}
        rm -f "$copy.new" # of a start that was cut short: it may not be root's
        cp "$file" "$copy.new"
        chmod 0400 "$copy.new"
        chown "$user:$user" "$copy.new" # after the mode: from now on it is not root's
        mv -f "$copy.new" "$copy"
    done
}

scraped() { # FILE PORT: a configuration whose figures Prometheus can get at from its own container
    if grep -q "^port = $2\$" "$1"; then return; fi
    grep -q '^\[metrics\]' "$1" || printf '\n[metrics]\n' >>"$1"
    sed -i "/^\[metrics\]/a host = \"0.0.0.0\"\nport = $2" "$1"
}

[ -d $fleet ] || fedtiny fleet init plant --host "${BROKER_HOST:-broker}" --out $fleet
scraped $fleet/coordinator/fedtiny.toml 9464
for device in agent-1 agent-2 agent-3; do
    [ -d $fleet/devices/$device ] || fedtiny fleet add $device --in $fleet
    scraped $fleet/devices/$device/fedtiny.toml 9465
    sed -i 's/^#repeat = 1$/repeat = 0/' $fleet/devices/$device/fedtiny.toml # the simulated machine lives again
    give $device 10001 $fleet/devices/$device/*
done
give coordinator 10001 $fleet/coordinator/*
give operator 10001 $fleet/operator/*

# Mosquitto's image runs as 1883, Grafana's as 472.
grep -q '^listener 1883 ' $fleet/broker/mosquitto.conf || cat "$here/health.conf" >>$fleet/broker/mosquitto.conf
give broker 1883 $fleet/broker/* "$here/acl-health"
chown 1883:1883 broker-data

if ! [ -e password/password ]; then
    head -c 18 /dev/urandom | base64 >fleet/password
    give password 472 fleet/password
fi
