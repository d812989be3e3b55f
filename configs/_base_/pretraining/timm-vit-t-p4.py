# timm's ViT-Ti for 32x32 images, with patches of 4x4 pixels.
network = dict(
    type="smallvit.TimmBackbone",
    model_name="vit_tiny_patch16_224",
    img_size=32,
    patch_size=4,
    dynamic_img_size=True,
)
