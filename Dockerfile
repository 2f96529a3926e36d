# One image for every part of Fleetcast: `docker build -t fleetcast .`, then `docker run fleetcast edge --help`.
# No `# syntax=` line: it would fetch a frontend from a registry, and the engine's own knows all that is used here.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Without pip: it stays in this stage and installs into the environment from outside.
RUN python -m venv --without-pip /opt/fleetcast
# uvloop's wheel carries 14 MB of debug information.
RUN apt-get update -qq && apt-get install -qq --no-install-recommends binutils >/dev/null
WORKDIR /src
# The dependencies alone, so that this layer is kept until pyproject.toml changes. dumb-init comes with them: not every
# engine brings an init of its own for `init: true` (Debian's leaves it to another package).
RUN --mount=type=bind,source=pyproject.toml,target=pyproject.toml \
    --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /tmp/dependencies.txt \
    && pip --python /opt/fleetcast/bin/python install --no-compile -r /tmp/dependencies.txt dumb-init==1.2.5.post1 \
    && strip --strip-unneeded /opt/fleetcast/lib/python*/site-packages/uvloop/*.so
# The dashboard is built with the package, by Node from PyPI that stays in this stage.
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY dashboard dashboard
COPY common common
COPY services services
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=cache,target=/root/.npm \
    FLEETCAST_REQUIRE_DASHBOARD=1 \
    pip --python /opt/fleetcast/bin/python install --no-compile --no-deps .
# Compiled here once: a read-only container could not keep what it compiles, and would do it at every start. By hash,
# not by time stamp, so that what was compiled stays valid however the layers are copied.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/fleetcast/lib

FROM python:3.13-slim
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Fleetcast" \
      org.opencontainers.image.description="Live metrics and container control for a fleet of Docker hosts" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      fleetcast.protect="true"
# What a volume mounted here takes its owner from: the secrets', the public key's, which others may read, and the
# server's data.
RUN mkdir -p /var/lib/fleetcast/secret /var/lib/fleetcast/verify /var/lib/fleetcast/redis /run/fleetcast \
    && chown -R 10001:10001 /var/lib/fleetcast /run/fleetcast \
    && chmod 0700 /var/lib/fleetcast/secret /var/lib/fleetcast/redis
COPY --from=build /opt/fleetcast /opt/fleetcast
ENV PATH=/opt/fleetcast/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FLEETCAST_RUN_DIR=/run/fleetcast
USER 10001:10001
WORKDIR /var/lib/fleetcast
EXPOSE 8080
STOPSIGNAL SIGTERM
# As process 1, Python would not hear SIGTERM before it has set its handler, and would not reap what others leave behind.
ENTRYPOINT ["dumb-init", "--", "fleetcast"]
CMD ["--help"]
