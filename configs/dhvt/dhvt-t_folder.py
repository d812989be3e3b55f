_base_ = [
    "../_base_/models/dhvt_classifier.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# No Mixup and CutMix, which require more epochs than small datasets are trained for.
model = dict(train_cfg=None)
