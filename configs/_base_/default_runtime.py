_base_ = ["mmpretrain::_base_/default_runtime.py", "guards.py"]

# Not needed where smallvit is installed (MMEngine finds the scope by itself); it gives the
# stock tools of the MM libraries the bridge to torchvision's operators early enough.
custom_imports = dict(imports=["smallvit"], allow_failed_imports=False)

default_hooks = dict(**_base_.guards)
default_hooks["checkpoint"].update(max_keep_ckpts=3, save_best="auto")

# Inherited from another package it would carry that one's scope along, and MMPretrain's own tools
# hand all of it to the visualizer.
visualizer = dict(
    _delete_=True, type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")]
)

# The ranks draw different augmentations and drop paths; weights are broadcast from rank 0.
randomness = dict(seed=0, diff_rank_seed=True)
