# At 64x64, to which 32x32 images are enlarged, because the network has no smaller patches.
_base_ = [
    "../_base_/models/pvtv2-b0_classifier.py",
    "../_base_/datasets/folder_64.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]
