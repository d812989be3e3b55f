_base_ = [
    "../_base_/models/cvt-13_classifier.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]
