# Vigie and its producer, the ONNX runtime and the bundle `card`, on Debian 12.
#
#   docker build --tag vigie:local .
#
# What each stage does stands in docker/build.sh and docker/runtime.sh, which also run without a container engine:
# docker/try_in_debian.sh follows this file step by step in a clean Debian root.

FROM rust:1.95.0-slim-bookworm AS build
# The image's own toolchain: rust-toolchain.toml also names formatter and lints, which nobody needs here.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
# What changes seldom comes first.
COPY docker/build.sh docker/
RUN docker/build.sh packages
COPY scripts/requirements.txt scripts/
COPY scripts/stack/downloads.sh scripts/stack/
RUN docker/build.sh library /out
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    docker/build.sh binaries /out

FROM debian:bookworm-slim
RUN --mount=type=bind,source=docker/runtime.sh,target=/tmp/runtime.sh /tmp/runtime.sh
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build /out/lib/ /usr/local/lib/
COPY models/card/ /srv/vigie/models/card/
ENV VIGIE_MODEL__ONNXRUNTIME=/usr/local/lib/libonnxruntime.so
WORKDIR /srv/vigie
USER 10001:10001
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["vigie", "check", "--live"]
ENTRYPOINT ["vigie"]
CMD ["run"]
