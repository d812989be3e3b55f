_base_ = [
    "../_base_/models/cait_classifier.py",
    "../_base_/datasets/cifar10_224_swin.py",
    "../_base_/schedules/dw_shortcut_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

model = dict(head=dict(num_classes=10))

# Weight decay applies to the layer scale, as in the official code, where it is not a vector.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={".gamma": dict(decay_mult=1.0)}))
