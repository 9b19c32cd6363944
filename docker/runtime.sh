#!/usr/bin/env bash
# The last stage of the Dockerfile: what the binaries need of Debian 12, and the user they run as.
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# Security fixes that are younger than the base image. The certificates for mail and webhooks; the zones for business
# days elsewhere than in UTC; OpenSSL for Kafka; the C++ library for the ONNX runtime.
apt-get upgrade -q -y
apt-get install -q -y --no-install-recommends ca-certificates tzdata libssl3 zlib1g libstdc++6
groupadd --gid 10001 vigie
useradd --uid 10001 --gid vigie --home-dir /srv/vigie --no-create-home --shell /usr/sbin/nologin vigie
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
