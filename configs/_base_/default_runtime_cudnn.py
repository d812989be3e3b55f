# cuDNN benchmarks its algorithms on the first batch and keeps the fastest, as in the official code.
# This helps if all batches have the same shape.
_base_ = "./default_runtime.py"

env_cfg = dict(cudnn_benchmark=True)
