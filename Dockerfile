# ticketd as an image: nobody's user, a root file system that may be read-only, one writable directory for the store.
#
#   docker build -t ticketd .
#   docker run --read-only --cap-drop ALL --stop-timeout 30 -p 9876:9876 \
#     -v ticketd:/var/lib/ticketd -v ./config.toml:/etc/ticketd/config.toml:ro ticketd
#
# Inside a container loopback reaches nobody, so it listens on every address, and therefore refuses to start until
# the configuration names tokens. Verified without an engine by tests/packaging/image_steps.sh.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY .ci/bootstrap.txt .ci/bootstrap.txt
COPY deploy/install.sh deploy/install.sh
COPY pyproject.toml uv.lock ./
RUN deploy/install.sh dependencies /opt/ticketd
COPY README.md LICENSE ./
COPY rules rules
COPY connectors connectors
COPY daemon daemon
RUN deploy/install.sh application /opt/ticketd

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="ticketd" \
      org.opencontainers.image.description="Turns alerts into prioritised tickets, tells people, never loses what it accepted" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/ticketd
COPY --from=build /opt/ticketd /opt/ticketd
COPY config.example.toml /etc/ticketd/config.toml
COPY deploy/rules.d /etc/ticketd/deploy/rules.d
ENV HOME=/var/lib/ticketd \
    PATH=/opt/ticketd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TICKETD_LISTEN=0.0.0.0:9876 \
    TICKETD_STORE=sqlite:////var/lib/ticketd/ticketd.db
VOLUME /var/lib/ticketd
WORKDIR /var/lib/ticketd
EXPOSE 9876
# A number, so that an orchestrator can see without a passwd file that it is not root.
USER 65532:65532
# Alive, not ready: a daemon that waits for its store is to be left alone, not restarted.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['TICKETD_LISTEN'].rpartition(':')[2] + '/-/healthy', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ticketd"]
CMD ["run", "--config", "/etc/ticketd/config.toml"]
