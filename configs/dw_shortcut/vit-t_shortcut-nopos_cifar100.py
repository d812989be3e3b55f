_base_ = "./vit-t_shortcut_cifar100.py"

# Without position embedding: MMPretrain's VisionTransformer always has one, timm's is the same
# network otherwise. The last shortcut is left out, since only the class token is read behind it.
model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DWConvShortcut",
        host="smallvit.TimmBackbone",
        shortcut=dict(with_last=False),
        model_name="vit_tiny_patch16_224",
        pos_embed="none",
        qkv_bias=False,
        norm_eps=1e-5,
    ),
)
