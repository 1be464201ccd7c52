# fieldlevel with everything but the GPU driver: docker build -t fieldlevel . ; docker run --gpus all -v "$PWD":/data -w /data fieldlevel infer MockTNG maps.npy
FROM python:3.12-slim
# Triton compiles the launchers of its kernels with a C compiler.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/fieldlevel
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY src ./src
# TORCH=torch==2.13.0+cpu with INDEX=<PyTorch's index of CPU builds> makes a small image without CUDA.
ARG TORCH=torch==2.13.0
ARG INDEX=
RUN pip install --no-cache-dir ${INDEX:+--extra-index-url "$INDEX"} "$TORCH" \
    && pip install --no-cache-dir --constraint constraints.txt '.[letter,snapshots,flows]'
ENV XDG_CACHE_HOME=/tmp/cache
ENTRYPOINT ["fieldlevel"]
CMD ["--help"]
