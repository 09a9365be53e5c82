# Trains a release and ends. TensorFlow makes it some 2 GB; nothing of it reaches the other images.
#   docker build -f broker/containers/trainer.Dockerfile -t fedtiny-trainer:local .
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --without-pip /opt/fedtiny
COPY . /src
RUN pip --python /opt/fedtiny/bin/python install --no-cache-dir '/src[train]'

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 fedtiny \
    && useradd --uid 10001 --gid fedtiny --home-dir /var/lib/fedtiny --no-create-home --shell /usr/sbin/nologin fedtiny \
    && install -d -o fedtiny -g fedtiny -m 0700 /var/lib/fedtiny
COPY --from=build /opt/fedtiny /opt/fedtiny
ENV PATH=/opt/fedtiny/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/fedtiny
VOLUME /var/lib/fedtiny
STOPSIGNAL SIGTERM
# It answers to nobody and ends by itself.
HEALTHCHECK NONE
ENTRYPOINT ["/opt/fedtiny/bin/fedtiny"]
CMD ["train", "--out", "/var/lib/fedtiny/release.tflite"]
