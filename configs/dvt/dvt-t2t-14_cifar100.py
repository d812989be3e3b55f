_base_ = "./dvt-t2t-12_cifar100.py"

model = dict(
    backbone=dict(
        exits=[dict(exit, arch="14") for exit in _base_.model.backbone.exits],
        init_cfg=dict(checkpoint="work_dirs/dvt-t2t-14_in1k/epoch_310.pth"),
    ),
    head=dict(in_channels=384),
)
