# docker build -t lf_experiments . && docker run --gpus all -v $PWD:/work lf_experiments model=bloom-560m
# Results, caches and downloads stay in the folder that is mounted as /work.
FROM pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime

WORKDIR /opt/lf_experiments
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY conf conf
COPY hydra_plugins hydra_plugins
COPY lf_experiments lf_experiments
RUN grep -vE '^(torch|nvidia|triton)' constraints.txt > /tmp/constraints.txt \
    && pip install --no-cache-dir -c /tmp/constraints.txt '.[gguf,quantization,trackio]'

ENV LF_EXPERIMENTS_CACHE=/work/.cache/lf_experiments HF_HOME=/work/.cache/huggingface
WORKDIR /work
ENTRYPOINT ["python", "-m", "lf_experiments"]
