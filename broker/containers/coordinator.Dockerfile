# The coordinator, and all commands of operators. From the root of the repository:
#   docker build -f broker/containers/coordinator.Dockerfile -t fedtiny-coordinator:local .
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --without-pip /opt/fedtiny
COPY . /src
RUN pip --python /opt/fedtiny/bin/python install --no-cache-dir --no-compile '/src[metrics,monitor]'
# It runs no model: the interpreter is for devices.
RUN pip --python /opt/fedtiny/bin/python uninstall -y ai-edge-litert ml_dtypes protobuf flatbuffers tqdm \
    && python3 -m compileall -q /opt/fedtiny/lib

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 fedtiny \
    && useradd --uid 10001 --gid fedtiny --home-dir /var/lib/fedtiny --no-create-home --shell /usr/sbin/nologin fedtiny \
    && install -d -o fedtiny -g fedtiny -m 0700 /var/lib/fedtiny
COPY --from=build /opt/fedtiny /opt/fedtiny
# /dev/shm is the one place that can be written to in every container.
ENV PATH=/opt/fedtiny/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1 \
    FEDTINY_HEARTBEAT=/dev/shm/fedtiny-alive
USER 10001:10001
WORKDIR /var/lib/fedtiny
VOLUME /var/lib/fedtiny
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "test -n \"$(find /dev/shm/fedtiny-alive -mmin -1)\""]
ENTRYPOINT ["/opt/fedtiny/bin/fedtiny"]
CMD ["coordinator", "--config", "/etc/fedtiny/fedtiny.toml", "--release", "/release/release.tflite", "--state", "/var/lib/fedtiny"]
