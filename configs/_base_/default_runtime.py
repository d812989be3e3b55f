_base_ = ["mmpretrain::_base_/default_runtime.py", "guards.py"]

# MMEngine finds the scope without this import; it activates the bridge to torchvision's operators
# early enough for the tools of the MM libraries.
custom_imports = dict(imports=["smallvit"], allow_failed_imports=False)

default_hooks = dict(**_base_.guards)
default_hooks["checkpoint"].update(max_keep_ckpts=3, save_best="auto")

# If inherited from another package, it would include the scope of that package, which MMPretrain's
# tools would pass to the visualizer.
visualizer = dict(
    _delete_=True, type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")]
)

# Ranks use different random augmentations and drop paths; weights are broadcast from rank 0.
randomness = dict(seed=0, diff_rank_seed=True)
