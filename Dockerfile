# docker build -t llmrec-bench .                       (CPU; for CUDA 12.8: --build-arg TORCH=cu128)
# docker run --rm -v "$PWD:/project" llmrec-bench run --suite quick
FROM python:3.12-slim
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 BENCH_CACHE=/project/.bench/cache
COPY . /src
RUN pip install --extra-index-url "https://download.pytorch.org/whl/$TORCH" -c /src/constraints.txt /src
WORKDIR /project
ENTRYPOINT ["bench"]
CMD ["--help"]
