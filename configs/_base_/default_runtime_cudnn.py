# cuDNN tries its algorithms out at the first batch and keeps the fastest, as the official codes
# let it do. It pays for batches of one size.
_base_ = "./default_runtime.py"

env_cfg = dict(cudnn_benchmark=True)
