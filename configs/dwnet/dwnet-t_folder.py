_base_ = [
    "../_base_/models/dwnet_classifier.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# Without Mixup and CutMix, which ask for more epochs than so few images get.
model = dict(train_cfg=None)
