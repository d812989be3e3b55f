_base_ = [
    "mmpretrain::_base_/models/swin_transformer/tiny_224.py",
    "../_base_/datasets/cifar10_224_swin.py",
    "../_base_/schedules/dw_shortcut_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

model = dict(head=dict(num_classes=10))

optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
