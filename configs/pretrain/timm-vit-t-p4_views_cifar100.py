_base_ = "../_base_/pretraining/views_32.py"

model = dict(
    backbone=dict(
        type="smallvit.TimmBackbone",
        model_name="vit_tiny_patch16_224",
        img_size=32,
        patch_size=4,
        dynamic_img_size=True,
    ),
)
