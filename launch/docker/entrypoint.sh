#!/bin/bash
# What a container of the image starts with: a worker, a Flex Template's launcher, or a command.
#
# Dataflow calls a worker with the options of Beam's boot program, which has to run last
# (cloud.google.com/dataflow/docs/guides/build-container-image, "Modify the container entrypoint").
# It starts containers as root and mounts folders that only root can write to
# (github.com/pangeo-data/pangeo-docker-images/pull/360), so an image whose USER is another one fails.
# Hence root gives the worker its folder here, and then gives up being root: what decodes other
# people's audio has no rights.
#
# The launcher writes its log below /var/log and fails as anybody but root
# (github.com/GoogleCloudPlatform/python-docs-samples/issues/13213). It plans and submits, and decodes nothing.
set -euo pipefail

boot=/opt/apache/beam/boot
launcher=/opt/google/dataflow/python_template_launcher
user=${L3FLOW_WORKER_USER:-l3flow}

as_user() {
    if [[ $EUID -ne 0 || $user == root ]]; then
        exec "$@"
    fi
    local uid gid
    uid=$(id -u "$user")
    gid=$(id -g "$user")
    HOME=$(getent passwd "$user" | cut -d: -f6)
    export HOME
    exec setpriv --reuid="$uid" --regid="$gid" --init-groups --inh-caps=-all --no-new-privs -- "$@"
}

if [[ $# -gt 0 && $1 != -* ]]; then
    as_user "$@" # docker run IMAGE l3flow doctor
fi

worker=
folder=
for argument in "$@"; do
    case $argument in
        --id=* | -id=* | --worker_pool | -worker_pool) worker=yes ;;
        --semi_persist_dir=* | -semi_persist_dir=*) folder=${argument#*=} ;;
    esac
done
if [[ ! $worker ]]; then
    exec "$launcher" "$@"
fi
if [[ $EUID -eq 0 && $folder ]]; then
    mkdir -p "$folder"
    chown "$user:" "$folder"
fi
as_user "$boot" "$@"
