_base_ = ["mmdet::_base_/default_runtime.py", "guards.py"]

# Not needed where smallvit is installed (MMEngine finds the scope by itself); it gives the
# stock tools of the MM libraries the bridge to torchvision's operators early enough.
custom_imports = dict(imports=["smallvit"], allow_failed_imports=False)

default_hooks = dict(**_base_.guards)
default_hooks["checkpoint"].update(max_keep_ckpts=3, save_best="auto")

# The ranks draw different augmentations and drop paths; weights are broadcast from rank 0.
randomness = dict(seed=0, diff_rank_seed=True)
