# syntax=docker/dockerfile:1
# The major version of the server that is backed up, or a newer one: the image holds its pg_dump and
# the throwaway server of the drill.
ARG PG_MAJOR=15

FROM rust:1.95-bookworm AS build
# What ISA-L, the fastest deflate, is built with; an assembler is missing in this image.
RUN set -eu; \
    missing=''; \
    for package in autoconf automake libtool make nasm; do \
        dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"; \
    done; \
    [ -z "$missing" ] || { apt-get update; apt-get install -y --no-install-recommends $missing; }
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package hubvault && cp target/release/hubvault /hubvault

FROM postgres:${PG_MAJOR}-bookworm
ARG PG_MAJOR
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hubvault" \
      org.opencontainers.image.description="Backups of a product on PostgreSQL that come back" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/postgres:${PG_MAJOR}-bookworm"

RUN set -eu; \
    missing=''; \
    for package in ca-certificates tzdata; do \
        dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"; \
    done; \
    if [ -n "$missing" ]; then \
        apt-get update; \
        apt-get install -y --no-install-recommends $missing; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    groupadd --gid 1001 hubvault; \
    useradd --uid 1001 --gid 1001 --create-home --shell /bin/sh hubvault; \
    install -d -o hubvault -g hubvault -m 0700 /backups /scratch; \
    install -d -m 0755 /config; \
    touch /var/log/backup.log; \
    chown hubvault:hubvault /var/log /var/log/backup.log

COPY --from=build /hubvault /usr/local/bin/hubvault
COPY deploy/scripts/ /scripts/

# The log is renamed where it lies when it has grown large, so that its directory belongs to hubvault, too.
ENV BACKUP_DIR=/backups CONFIG_DIR=/config LOG_FILE=/var/log/backup.log
WORKDIR /home/hubvault
USER 1001:1001
VOLUME ["/backups", "/config"]
# The base image stops by SIGINT, which for hubvault is Ctrl-C.
STOPSIGNAL SIGTERM
# Both read the catalog and the file system alone; the rest of the checks is the service's own work.
HEALTHCHECK --interval=1h --timeout=10s --retries=3 CMD ["hubvault", "check", "time", "disk"]
ENTRYPOINT ["hubvault"]
CMD ["serve"]
