_base_ = "./dvt-t2t-12_in1k.py"

network = dict(type="VisionTransformer", arch="deit-small", drop_path_rate=0.1)
model = dict(
    backbone=dict(
        exits=[
            dict(patch_size=32, **network),
            # 10x10 tokens of 224 pixels
            dict(patch_cfg=dict(kernel_size=23, stride=23, padding=3), **network),
            dict(patch_size=16, **network),
        ],
        feature_reuse=dict(norm_eps=1e-6),
    ),
    head=dict(in_channels=384),
)

# 300 epochs with a total batch of 1024, as DeiT
train_cfg = dict(max_epochs=300)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
