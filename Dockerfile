# sfe serve in a container; docs/guides/serve.md has the commands.
#   docker build -t sfe .                              PyTorch for CPUs
#   docker build -t sfe --build-arg DEVICE=cuda .      and for NVIDIA GPUs
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG DEVICE=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 SFE_CACHE=/cache
COPY constraints.txt /tmp/
# pip's own torch is the one for CUDA.
RUN if [ "$DEVICE" = cpu ]; then torch="--index-url https://download.pytorch.org/whl/cpu"; fi && \
    pip install -c /tmp/constraints.txt $torch torch
COPY --from=build /wheels /wheels
RUN pip install -c /tmp/constraints.txt "$(ls /wheels/*.whl)[faces,app]"
RUN useradd --create-home sfe && install -d -o sfe /cache
USER sfe
WORKDIR /home/sfe
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["sfe"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
