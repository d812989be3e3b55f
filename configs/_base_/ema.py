# Averaged weights, stored in checkpoints but not evaluated, with DHVT's decay of 0.99996: _base_ =
# ["smallvit::dhvt/dhvt-t-p4_cifar100.py", "smallvit::_base_/ema.py"]
custom_hooks = [dict(type="smallvit.KeptEMAHook", momentum=4e-5, priority="ABOVE_NORMAL")]
