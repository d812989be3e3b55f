_base_ = [
    "mmseg::_base_/models/upernet_swin.py",
    "mmseg::_base_/datasets/ade20k.py",
    "../_base_/schedules/ade20k_adamw_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)

optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"relative_position_bias_table": dict(decay_mult=0.0)})
)

# 8 GPUs with 2 images each
train_dataloader = dict(batch_size=2)
