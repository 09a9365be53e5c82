# The agent on a device, amd64 and arm64. From the root of the repository:
#   docker build -f broker/containers/agent.Dockerfile -t fedtiny-agent:local .
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --without-pip /opt/fedtiny
COPY . /src
RUN pip --python /opt/fedtiny/bin/python install --no-cache-dir --no-compile '/src[metrics,serial]'
# What LiteRT brings along for graphics processors and for makers of models.
RUN rm -r /opt/fedtiny/lib/python3.11/site-packages/ai_edge_litert/libLiteRtWebGpuAccelerator.so \
        /opt/fedtiny/lib/python3.11/site-packages/ai_edge_litert/tools \
    && python3 -OO -m compileall -q /opt/fedtiny/lib

FROM debian:bookworm-slim
# Compiled as the agent runs it: the file system is read-only, and every start would compile anew.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && find /usr/lib/python3.11 -name '*.pyc' -delete \
    && python3 -OO -m compileall -q /usr/lib/python3.11
RUN groupadd --gid 10001 fedtiny \
    && useradd --uid 10001 --gid fedtiny --home-dir /var/lib/fedtiny --no-create-home --shell /usr/sbin/nologin fedtiny \
    && install -d -o fedtiny -g fedtiny -m 0700 /var/lib/fedtiny
COPY --from=build /opt/fedtiny /opt/fedtiny
# /dev/shm is the one place that can be written to in every container, and that no disk wears out for.
ENV PATH=/opt/fedtiny/bin:$PATH \
    PYTHONOPTIMIZE=2 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 MALLOC_ARENA_MAX=1 \
    FEDTINY_HEARTBEAT=/dev/shm/fedtiny-alive
USER 10001:10001
WORKDIR /var/lib/fedtiny
VOLUME /var/lib/fedtiny
EXPOSE 9465
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "test -n \"$(find /dev/shm/fedtiny-alive -mmin -1)\""]
ENTRYPOINT ["/opt/fedtiny/bin/fedtiny"]
CMD ["edge", "run", "--config", "/etc/fedtiny/fedtiny.toml", "--state", "/var/lib/fedtiny"]
