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
    init_cfg=dict(
        type="smallvit.FinalInit",
        modules=[f"backbone.exits.{i}" for i in range(3)],
        init_cfg=[
            dict(type="TruncNormal", layer="Linear", std=0.02),
            dict(
                type="smallvit.ParameterInit",
                names=["cls_token", "pos_embed"],
                distribution="trunc_normal",
                std=0.02,
            ),
        ],
    ),
)

# As in DeiT: 300 epochs, warm-up over 5, a total batch of 1024, repeated augmentation (3x)
train_cfg = dict(max_epochs=300)
train_dataloader = dict(sampler=dict(type="RepeatAugSampler", shuffle=True))
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
param_scheduler = dict(warmup=5)
