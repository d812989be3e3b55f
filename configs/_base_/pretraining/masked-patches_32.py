# Masked autoencoder: 75% of the 8x8 patches of 4x4 pixels are dropped.
_base_ = "./masked_32.py"

model = dict(
    type="MAE",
    backbone=dict(type="smallvit.MaskedBackbone", mask_ratio=0.75),
    neck=dict(
        type="MAEPretrainDecoder",
        num_patches=64,
        patch_size=4,
        in_chans=3,
        embed_dim=192,
        decoder_embed_dim=128,
        decoder_depth=2,
        decoder_num_heads=4,
    ),
    head=dict(
        type="MAEPretrainHead",
        norm_pix=True,
        patch_size=4,
        in_channels=3,
        loss=dict(type="PixelReconstructionLoss", criterion="L2"),
    ),
)
