# 300 epochs, warm-up over 20, then a cosine; a total batch of 1024 at a learning rate of 1e-3.
_base_ = "./in1k_adamw_300e.py"

param_scheduler = dict(warmup_prefix=True)
