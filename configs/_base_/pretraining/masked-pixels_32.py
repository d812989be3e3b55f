# SimMIM for networks whose patches cannot be dropped: 60% of the 4x4 pixel squares are masked.
_base_ = "./masked_32.py"

crop, flip, pack = _base_.train_pipeline
mask = dict(
    type="SimMIMMaskGenerator",
    input_size=32,
    mask_patch_size=4,
    model_patch_size=4,
    mask_ratio=0.6,
)
train_dataloader = dict(dataset=dict(pipeline=[crop, flip, mask, pack]))

model = dict(
    type="SimMIM",
    backbone=dict(type="smallvit.MaskedBackbone"),
    neck=dict(type="SimMIMLinearDecoder", in_channels=192, encoder_stride=4),
    head=dict(
        type="SimMIMHead",
        patch_size=4,
        loss=dict(type="PixelReconstructionLoss", criterion="L1", channel=3),
    ),
)
