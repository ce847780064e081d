# The one binary: a hub by default, a region's node with `region --config …`.

FROM rust:1.95-bookworm AS build
# aws-lc needs cmake, some of the store's crates clang.
RUN apt-get update && apt-get install -y --no-install-recommends cmake clang && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/probemesh /probemesh

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/probemesh --create-home probemesh
COPY --from=build /probemesh /usr/local/bin/probemesh
USER probemesh
WORKDIR /var/lib/probemesh
COPY --chown=probemesh Rocket.toml services.json ./
COPY --chown=probemesh regions ./regions
# Made here so that a volume laid over them belongs to the user.
RUN mkdir -p data logs
VOLUME ["/var/lib/probemesh/data", "/var/lib/probemesh/logs"]
EXPOSE 8000
# A container is reached through its own network alone, and publishes no port by itself. In front of it put TLS (ROCKET_TLS) or
# a proxy, and name the proxy's header in PROBEMESH_API__PROXY_HEADER; or say that plain HTTP is wanted, as docker-compose.yml does.
ENV ROCKET_ADDRESS=0.0.0.0
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["probemesh", "check", "http://127.0.0.1:8000/healthz"]
ENTRYPOINT ["probemesh"]
