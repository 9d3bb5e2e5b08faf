# One image for head, workers, the ticks of a schedule and pipeline steps.
#   docker build -t aunet .                          Ray's head and workers
#   docker build -t aunet-pipeline --target pipeline .   the same with kfp, for Kubeflow's steps
# The operator is compiled for CUDA by the first stage, which needs no GPU.

# A tag can be moved; the digest of an image cannot, so a build starts from these two or fails. `make digests` asks the
# registry for those of the tags today and writes them here. Other versions: give version and digest.
# The major version must be that of the torch in constraints.txt; the operator's build checks it.
ARG CUDA_VERSION=13.2.1
ARG CUDA_DIGEST=sha256:44a9504c6dfb50b1241464241b02a93871928f373de6f5a644cf5fe9f080aa63
# The oldest Python that pyproject.toml accepts and the tests run on.
ARG PYTHON_VERSION=3.11
ARG PYTHON_DIGEST=sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

# --- the operator's wheel -----------------------------------------------------------------------------------------
FROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu24.04@${CUDA_DIGEST} AS operator
RUN apt-get update && apt-get install --yes --no-install-recommends g++ python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY constraints.txt .
# Only torch's headers are needed: without its dependencies the download is a fifth. The wheel is for any Python.
RUN python3 -m venv /venv \
    && sed -n '/^uv==/,/[^\\]$/p' constraints.txt > uv.txt \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r uv.txt \
    && /venv/bin/uv pip install --no-cache --python /venv/bin/python -c constraints.txt setuptools \
    && /venv/bin/uv pip install --no-cache --python /venv/bin/python -c constraints.txt --no-deps torch
# GPU architectures; empty: those of ops/aunet_ops/build.py.
ARG TORCH_CUDA_ARCH_LIST=""
COPY ops ops
RUN AUNET_OPS_BUILD=require-cuda TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST}" \
    /venv/bin/uv build --wheel --no-build-isolation --python /venv/bin/python ops -o /wheels

# --- libraries and code -------------------------------------------------------------------------------------------
FROM python:${PYTHON_VERSION}-slim@${PYTHON_DIGEST} AS base
# rsync and ssh for Ray's cluster launcher, wget for KubeRay's probes, g++ for train.compile.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ openssh-client rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --gid users --home-dir /ray --create-home --shell /bin/bash ray
WORKDIR /app
COPY constraints.txt pyproject.toml ./
# Installed into the system's Python: login shells, which the cluster launcher uses, reset PATH to /usr/local/bin. Python
# compiles the modules now, because the user of the image may not write there: every process would do it again. Nobody
# links against Triton's static libraries (170 MB) or runs the libraries' tests (170 MB).
RUN --mount=type=bind,from=operator,source=/wheels,target=/wheels \
    --mount=type=bind,from=operator,source=/venv/bin,target=/installer \
    /installer/uv pip install --system --no-cache --compile-bytecode -c constraints.txt -r pyproject.toml \
    --extra pipelines --extra timm --extra samples /wheels/*.whl \
    && find /usr/local/lib \( -path '*/triton/*.a' -o -path '*/tests/*' \) -delete
COPY aunet aunet
COPY pipelines pipelines
COPY jobs jobs
# HOME is where the cluster launcher mounts its files; by PYTHONPATH jobs find the code from any directory.
ENV HOME=/ray \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
# If the code or the operator cannot be imported, the build fails here, not the job on the cluster.
RUN python -m compileall -q . \
    && python -m jobs --help > /dev/null \
    && python -c "import aunet_ops, ray; assert aunet_ops.kernel_status()[0].compiled"
USER 1000:100
WORKDIR /ray

# --- with kfp, which pins its libraries tightly: only for the steps of a pipeline -----------------------------------
FROM base AS pipeline
USER root
RUN --mount=type=bind,from=operator,source=/venv/bin,target=/installer \
    cd /app && /installer/uv pip install --system --no-cache --compile-bytecode -c constraints.txt -r pyproject.toml \
    --extra pipelines --extra kubeflow
USER 1000:100

# --- what `docker build` produces ---------------------------------------------------------------------------------
FROM base AS runtime
