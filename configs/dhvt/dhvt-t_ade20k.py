_base_ = [
    "../_base_/models/upernet_dhvt.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)
