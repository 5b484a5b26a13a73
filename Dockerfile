# forgetmi in a container: nothing of it runs as root, and nothing of it needs a network at run time.
#
#   docker build -t forgetmi .                                                                    CPU
#   docker build -t forgetmi:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 . CUDA (run with --gpus all)
#
# How to run it: compose.yaml and docs/containers.md.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
# Where PyTorch comes from: the CPU's wheels, or those of a version of CUDA, which bring its libraries along
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=dicom,pdf,sweep
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
COPY docs docs
RUN python -m venv /opt/forgetmi \
 && /opt/forgetmi/bin/pip install --no-cache-dir --index-url "${TORCH_INDEX}" "$(grep '^torch==' constraints.txt)" \
 && /opt/forgetmi/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
# What prints pages as PDF (extra pdf)
RUN apt-get update \
 && apt-get install -y --no-install-recommends fonts-dejavu-core libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/forgetmi /opt/forgetmi

# Give your own number with --user: the key must belong to it and be closed to everybody else
RUN useradd --uid 10001 --create-home forgetmi && mkdir /runs /cohort && chown forgetmi /runs
USER forgetmi
WORKDIR /runs
VOLUME /runs
ENV PATH=/opt/forgetmi/bin:$PATH \
    HOME=/tmp \
    FORGETMI_CACHE=/runs/cache \
    FORGETMI_KEY_FILE=/key \
    HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1 \
    WANDB_MODE=offline \
    PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["forgetmi"]
CMD ["--help"]
