_base_ = [
    "../_base_/models/dwnet_classifier.py",
    "../_base_/datasets/cifar100_224_swin.py",
    "../_base_/schedules/dw_shortcut_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

model = dict(head=dict(num_classes=100))
