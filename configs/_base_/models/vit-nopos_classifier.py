_base_ = "./vit_classifier.py"

# MMPretrain's VisionTransformer always has a position embedding; timm's can do without.
model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.TimmBackbone",
        model_name="vit_tiny_patch16_224",
        pos_embed="none",
        qkv_bias=False,
        norm_eps=1e-5,
    )
)
